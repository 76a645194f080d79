//! Runs the programs of components' sources: under the supervisor, with the step's log.

use async_trait::async_trait;
use rekindle_engine::StepContext;
use rekindle_model::failure::{Failure, code};
use rekindle_plan::expr;
use rekindle_sources::{Program, ProgramRunner};
use serde_json::json;

use crate::prober::{self, word};
use crate::process::{self, Stdout};
use crate::site::Site;

/// Runs the programs of one component's source in one step.
#[derive(Clone, Copy)]
pub(crate) struct SourcePrograms<'a> {
    pub(crate) site: &'a Site,
    pub(crate) cx: &'a StepContext,
    pub(crate) name: &'a str,
}

#[async_trait]
impl ProgramRunner for SourcePrograms<'_> {
    async fn run(&self, program: &Program<'_>) -> Result<(), Failure> {
        let about = |mut failure: Failure| {
            failure.message = format!("{} of {}: {}", program.purpose, self.name, failure.message);
            failure
        };
        let scope = prober::scope(self.site, self.cx, program.folder, Some(self.name));
        let words = expr::render(&json!(program.words), &scope)
            .map_err(|error| about(Failure::permanent(code::EXPRESSION, error.to_string())))?;
        let words: Vec<String> = words.as_array().into_iter().flatten().map(word).collect();
        let process = process::Program {
            words: &words,
            cwd: program.folder,
            env: program.env,
            secrets: &Default::default(),
            timeout: None,
            detach: false,
            stdin: program.stdin,
            stdout: program.stdout.map_or(Stdout::Log, Stdout::New),
        };
        let ended = process::run(self.site, self.cx, &process).await.map_err(about)?;
        if ended.status.success() {
            return Ok(());
        }
        let name = words.first().map_or("", String::as_str);
        let message = format!("{name}: {}", ended.account());
        let failure = about(Failure::transient("command_failed", message)).with_hint(format!(
            "run it by hand in {}: {}",
            program.folder.display(),
            words.join(" ")
        ));
        Err(ended.redactor.failure(failure))
    }
}
