//! `rekindle schema`

use rekindle_plan::schema;
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;

/// The shapes of all that `--json` prints.
const OUTPUT: &str = include_str!("../../output.schema.json");

/// Print the JSON Schema of a kind of file, for editors, or of what --json prints, for programs
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is described
    #[arg(value_enum)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// system.yaml
    System,
    /// A workflow
    Workflow,
    /// The JSON output of each command, under its name in $defs
    Output,
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
        Kind::System => {
            let schema = schema::system(&actions, rekindle_workspace::SYSTEM_KINDS.sources);
            format!("{schema:#}\n")
        }
        Kind::Workflow => format!("{:#}\n", schema::workflow(&actions)),
        Kind::Output => OUTPUT.to_owned(),
    };
    // It is JSON for everybody, and no result of this program's own shape.
    app.printer.bytes(schema.as_bytes())?;
    Ok(Exit::Done)
}
