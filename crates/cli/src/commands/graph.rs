//! `rekindle graph`

use std::collections::BTreeMap;
use std::path::Path;

use rekindle_model::id::StepId;
use rekindle_plan::{Plan, builtin, graph};
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;
use rekindle_workspace::open::ReadOnlyWorkspace;
use rekindle_workspace::operations::plan::plan;
use rekindle_workspace::run_spec::LoadedSpec;
use rekindle_workspace::yaml_file;

/// Draw the steps of a workflow, or of a run with their states
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run (a unique beginning or end of its id, or latest), a workflow file, or the name of one in the workspace's
    /// workflows/ or of a built-in one
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
    /// For GitHub and wikis
    Mermaid,
    /// A picture for a browser
    Svg,
}

/// Draws.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let built_in = builtin::WORKFLOWS.iter().any(|(name, _)| *name == args.what);
    let named = built_in || yaml_file::of_workspace(&app.application, &args.what).is_some();
    let (plan, labels) = if named || Path::new(&args.what).is_file() || args.what.ends_with(".yaml") {
        (plan(&app.application, &args.what)?, BTreeMap::new())
    } else {
        of_run(app, &args.what).await?
    };
    let drawn = match args.format {
        Format::Text => graph::text_with(&plan, &labels),
        Format::Dot => graph::dot_with(&plan, &labels),
        Format::Mermaid => graph::mermaid_with(&plan, &labels),
        Format::Svg => graph::svg_with(&plan, &labels),
    };
    app.printer.document(
        &json!({ "plan": rekindle_actions::shown(&plan), "states": labels, "drawing": drawn }),
        || drawn.clone(),
    )?;
    Ok(Exit::Done)
}

async fn of_run(app: &App, word: &str) -> Result<(Plan, BTreeMap<StepId, String>), Error> {
    let look = ReadOnlyWorkspace::open_and_notice(&app.application).await?;
    let run = look.context.run(word).await?;
    let evidence = look.context.evidence(run).await?;
    let pinned = LoadedSpec::read(&*look.context.journal, &evidence.state, &evidence.inputs).await?;
    look.close().await;
    let plan = pinned.plan()?;
    let labels = plan.steps.iter().map(|step| {
        (
            step.id.clone(),
            evidence.state.step(&step.id).state.name().to_owned(),
        )
    });
    Ok((plan.clone(), labels.collect()))
}
