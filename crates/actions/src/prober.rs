//! Probes: how Rekindle measures a living system.

mod files;
mod http;
mod sql;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rekindle_engine::StepContext;
use rekindle_model::failure::{Failure, code};
use rekindle_model::shown::line;
use rekindle_model::source::Claim;
use rekindle_model::system::{Probe, System};
use rekindle_plan::expr::{self, Scope};
use rekindle_sources::place::{Root, below, resolve};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::checks::{self, Check, Numbers};
use crate::params::BAD_PARAMETER;
use crate::process::{self, Ended, OUTPUT_BYTES, Program, Stdout};
use crate::site::Site;
use crate::step_log;
use crate::views::Fared;

/// Runs probes in one step.
pub(crate) struct Prober<'a> {
    site: &'a Site,
    cx: &'a StepContext,
    scope: Scope,
    cwd: PathBuf,
    /// Where the data are that the probe measures.
    root: Root,
    /// What a program gets as `REKINDLE_BASELINE`; none on the living system.
    env: BTreeMap<String, String>,
    /// How long a probe may take that has no timeout of its own.
    limit: Option<Duration>,
}

/// How many characters of a useless output its error shows.
const SHOWN: usize = 200;
/// The variable with the baseline, a JSON object of numbers, for the program of a probe.
const BASELINE: &str = "REKINDLE_BASELINE";

impl<'a> Prober<'a> {
    /// Returns a prober of the data at `root`. The default is the recovery's target, or the living system if the run
    /// recovers nothing.
    pub(crate) fn new(
        site: &'a Site,
        cx: &'a StepContext,
        root: Option<PathBuf>,
        component: Option<&str>,
    ) -> Self {
        let root = root
            .or_else(|| site.target_root().map(Path::to_path_buf))
            .map_or_else(|| site.data_root(), |root| resolve(&site.system_dir().join(root)));
        let scope = scope(site, cx, &root, component);
        Self {
            site,
            cx,
            scope,
            cwd: site.system_dir().to_path_buf(),
            root: site.root(root),
            env: BTreeMap::new(),
            limit: None,
        }
    }

    /// Lets programs know the numbers of the living system, as its capture measured them.
    pub(crate) fn with_baseline(mut self, baseline: &Numbers) -> Self {
        if !baseline.is_empty() {
            self.env.insert(BASELINE.to_owned(), json!(baseline).to_string());
        }
        self
    }

    /// Returns a component that the probe reads, if its files are absent and this run does not recover it.
    pub(crate) fn absent<'p>(
        &self,
        system: &System,
        probe: &'p Probe,
        fared: &BTreeMap<String, Fared>,
    ) -> Result<Option<&'p str>, Failure> {
        for name in &probe.reads {
            let Some((own, component)) = system.component(name) else {
                continue;
            };
            let Some(source) = component.source.as_ref().filter(|_| !fared.contains_key(own)) else {
                continue;
            };
            // If the data are no files, there is no file to look for.
            let claim = rekindle_sources::open(source)?.claim();
            let there = |claim: Claim| places(&claim).iter().any(|place| self.root.place(place).exists());
            if !claim.is_none_or(there) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Ends a probe without a timeout of its own after `limit`.
    pub(crate) fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    fn timeout(&self, probe: &Probe) -> Option<Duration> {
        probe.timeout.map(|period| period.0).or(self.limit)
    }

    /// Measures the probe's numbers.
    pub(crate) async fn measure(&self, probe: &Probe) -> Result<Numbers, Failure> {
        match probe.probe.as_str() {
            "command" => self.command(probe).await,
            "http" => {
                let params = self.rendered(
                    probe,
                    json!({
                        "url": probe.url, "headers": probe.headers, "values": probe.values,
                    }),
                )?;
                let measured = http::measure(self.cx, &params, self.timeout(probe)).await;
                measured.map_err(|failure| about(probe, failure))
            }
            "sql" => {
                let database = self.place(probe, probe.database.as_deref())?;
                let query: String = self.rendered(probe, json!(probe.query))?;
                let scratch = self.site.staging_dir(
                    &self.cx.run.to_string(),
                    &step_log::safe(self.cx.step.id.as_str()),
                );
                let measured = sql::measure(self.cx, &database, &query, self.timeout(probe), scratch).await;
                measured.map_err(|failure| about(probe, failure))
            }
            "files" => {
                let params = files::Params {
                    path: self.place(probe, probe.path.as_deref())?,
                    include: self.rendered(probe, json!(probe.include))?,
                    exclude: self.rendered(probe, json!(probe.exclude))?,
                    digest: self.rendered(probe, json!(probe.digest))?,
                };
                let measured =
                    files::measure(self.cx, params, self.site.never_captured(), self.timeout(probe)).await;
                measured.map_err(|failure| about(probe, failure))
            }
            other => Err(
                Failure::permanent("unknown_probe", format!("there is no probe {other:?}"))
                    .with_hint("the probes are command, http, sql and files, and across components also set"),
            ),
        }
    }

    /// Evaluates the expressions in a command line.
    pub(crate) fn words(&self, said: &Value) -> Result<Vec<String>, expr::ExprError> {
        let words = expr::render(said, &self.scope)?;
        Ok(words.as_array().into_iter().flatten().map(word).collect())
    }

    /// Runs a program to its end.
    pub(crate) async fn program(
        &self,
        words: &[String],
        timeout: Option<Duration>,
    ) -> Result<Ended, Failure> {
        let program = Program {
            words,
            cwd: &self.cwd,
            env: &self.env,
            secrets: &Default::default(),
            timeout,
            detach: false,
            stdin: None,
            stdout: Stdout::Log,
        };
        process::run(self.site, self.cx, &program).await
    }

    /// Evaluates the expressions in a probe's settings, and reads the result.
    fn rendered<P: DeserializeOwned>(&self, probe: &Probe, said: Value) -> Result<P, Failure> {
        let name = checks::name(probe);
        let rendered = expr::render(&said, &self.scope)
            .map_err(|error| Failure::permanent(code::EXPRESSION, format!("probe {name}: {error}")))?;
        serde_json::from_value(rendered)
            .map_err(|error| Failure::permanent(BAD_PARAMETER, format!("probe {name} does not fit: {error}")))
    }

    /// Returns the path of the file or folder that a probe reads. A path with `${{ target.root }}` is in that folder
    /// already.
    fn place(&self, probe: &Probe, path: Option<&str>) -> Result<PathBuf, Failure> {
        let path: String = self.rendered(probe, json!(path.unwrap_or(".")))?;
        Ok(match Path::new(&path).strip_prefix(self.root.folder()) {
            Ok(inside) => below(self.root.folder(), inside),
            Err(_) => self.root.place(&path),
        })
    }

    async fn command(&self, probe: &Probe) -> Result<Numbers, Failure> {
        let name = checks::name(probe);
        let words = self.words(&json!(probe.run));
        let words =
            words.map_err(|error| Failure::permanent(code::EXPRESSION, format!("probe {name}: {error}")))?;
        let ended = self.program(&words, self.timeout(probe)).await;
        let ended = ended.map_err(|failure| about(probe, failure))?;
        let failed = |why: String| {
            let failure = Failure::transient("probe_failed", format!("probe {name}: {why}"))
                .with_hint(format!("run it by hand: {}", words.join(" ")));
            ended.redactor.failure(failure)
        };
        if !ended.status.success() {
            return Err(failed(ended.account()));
        }
        if !ended.stdout.is_whole() {
            let bytes = ended.stdout.bytes;
            return Err(failed(format!(
                "it printed {bytes} bytes, more than the {OUTPUT_BYTES} that are read"
            )));
        }
        let numbers = checks::numbers(&ended.stdout.text).map_err(failed)?;
        let mut expected = probe.expect.keys();
        if !probe.expect.is_empty() && !expected.any(|measure| numbers.contains_key(measure)) {
            let expected: Vec<&str> = probe.expect.keys().map(String::as_str).collect();
            let printed: String = line(ended.stdout.text.trim()).chars().take(SHOWN).collect();
            return Err(failed(format!(
                "it printed none of the expected numbers ({}): {printed}",
                expected.join(", ")
            )));
        }
        Ok(numbers)
    }
}

/// Returns the values for the expressions in the system's own programs; `root` is their target.
pub(crate) fn scope(site: &Site, cx: &StepContext, root: &Path, component: Option<&str>) -> Scope {
    let mut scope = Scope::of(&site.scope());
    let path = component.and_then(|name| site.system().components.get(name)?.source.as_ref()?.path());
    let place = path.map(|path| site.root(root.to_owned()).place(path));
    let place = place.map(|place| place.to_string_lossy().into_owned());
    scope.set(
        &["target"],
        &json!({ "root": root.to_string_lossy(), "place": place }),
    );
    scope.set(&["disaster"], &site.disaster());
    let run = json!({ "id": cx.run.to_string(), "disaster_at": cx.disaster_at });
    scope.set(&["run"], &run);
    scope.set(&["each"], &cx.step.each_values());
    if let Some(name) = component {
        scope.set_named(&["component"], name, &["system", "components", name]);
    }
    scope
}

fn about(probe: &Probe, mut failure: Failure) -> Failure {
    failure.message = format!("probe {}: {}", checks::name(probe), failure.message);
    failure
}

/// Returns a rendered argument as the text that a program gets.
pub(crate) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns the failure for measured numbers that miss their expectations.
pub(crate) fn missed(what: &str, checks: &[Check]) -> Failure {
    Failure::permanent(
        code::INVALID,
        format!("{what} is not valid: {}", checks::missed(checks)),
    )
    .with_hint("the numbers are in the step's last checkpoint, in the run's history")
}

/// Returns the places of a component's files, as the system's file has them: the path of its claim, or the part of each glob before
/// its first wildcard.
fn places(claim: &Claim) -> Vec<PathBuf> {
    let path = Path::new(&claim.path);
    if claim.include.is_empty() {
        return vec![path.to_owned()];
    }
    let literal = |glob: &String| {
        let parts = Path::new(glob).components();
        parts
            .take_while(|part| !has_wildcard(part.as_os_str()))
            .collect::<PathBuf>()
    };
    claim
        .include
        .iter()
        .map(literal)
        .map(|place| path.join(place))
        .collect()
}

fn has_wildcard(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().contains(['*', '?', '[', '{'])
}
