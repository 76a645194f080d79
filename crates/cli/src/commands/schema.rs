//! `rekindle schema`

use rekindle_plan::schema;
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;

/// Print the JSON Schema of a kind of file, for editors
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The kind of file
    #[arg(value_enum)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// system.yaml
    System,
    /// A workflow
    Workflow,
}

/// Prints the schema.
pub(crate) fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let mut actions = rekindle_actions::shapes();
    // The engine handles this one itself: the question to a person.
    actions.insert(
        rekindle_engine::APPROVE.to_owned(),
        json!({
            "type": "object", "additionalProperties": false, "required": ["message"],
            "properties": {"message": {"type": "string", "description": "What a person is asked"}},
        }),
    );
    let schema = match args.kind {
        Kind::System => schema::system(&actions, rekindle_workspace::SYSTEM_KINDS.sources),
        Kind::Workflow => schema::workflow(&actions),
    };
    app.printer.document(&schema, || format!("{schema:#}"))?;
    Ok(Exit::Done)
}
