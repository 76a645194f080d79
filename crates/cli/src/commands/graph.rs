//! `rekindle graph`

use std::collections::BTreeMap;
use std::path::Path;

use rekindle_model::id::StepId;
use rekindle_plan::{Plan, builtin, graph};
use serde_json::json;

use crate::App;
use crate::commands::plan::plan_of;
use crate::error::CliError;
use crate::exit::Exit;
use crate::pinned::Pinned;
use crate::session::Session;

/// Draw the steps of a workflow, or of a run with their states
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run (a unique beginning of its id, or latest), a workflow file, or the name of a built-in workflow
    #[arg(value_name = "RUN|FILE")]
    what: String,
    /// How to draw it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// For a terminal
    Text,
    /// For Graphviz
    Dot,
}

/// Draws.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    let named = builtin::WORKFLOWS.iter().any(|(name, _)| *name == args.what);
    let (plan, labels) = if named || Path::new(&args.what).is_file() || args.what.ends_with(".yaml") {
        (plan_of(app, &args.what)?, BTreeMap::new())
    } else {
        of_run(app, &args.what).await?
    };
    let drawn = match args.format {
        Format::Text => graph::text_with(&plan, &labels),
        Format::Dot => graph::dot_with(&plan, &labels),
    };
    app.printer.data(
        &json!({ "plan": plan, "states": labels, "drawing": drawn }),
        || drawn.clone(),
    )?;
    Ok(Exit::Done)
}

async fn of_run(app: &App, word: &str) -> Result<(Plan, BTreeMap<StepId, String>), CliError> {
    let session = Session::look_here(app).await?;
    let run = session.run(word).await?;
    let evidence = session.evidence(run).await?;
    let pinned = Pinned::read(&*session.journal, &evidence.state, &evidence.inputs).await?;
    session.close().await;
    let plan = pinned.plan()?;
    let labels = plan.steps.iter().map(|step| {
        (
            step.id.clone(),
            evidence.state.step(&step.id).state.name().to_owned(),
        )
    });
    Ok((plan.clone(), labels.collect()))
}
