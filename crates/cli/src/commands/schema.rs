//! `rekindle schema`

use rekindle_plan::schema;

use crate::App;
use crate::error::CliError;
use crate::exit::Exit;

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
pub(crate) fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    let schema = match args.kind {
        Kind::System => schema::system(),
        Kind::Workflow => schema::workflow(),
    };
    app.printer.data(&schema, || format!("{schema:#}"))?;
    Ok(Exit::Done)
}
