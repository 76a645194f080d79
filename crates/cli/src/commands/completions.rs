//! `rekindle completions`

use clap_complete::Shell;
use rekindle_workspace::Error;

use crate::App;
use crate::complete;
use crate::exit::Exit;

/// Print a shell's completion script
///
/// It completes commands and options, and the runs, sets, snapshots, components, tiers and workflows of the workspace. For
/// that it calls the `rekindle` of the PATH. For bash: rekindle completions bash > /etc/bash_completion.d/rekindle
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let shell = args.shell.to_string();
    let script = complete::script(&shell)
        .ok_or_else(|| Error::usage(format!("there is no completion for {shell}")))?;
    let body = serde_json::json!({ "shell": shell, "script": script });
    app.printer.document(&body, || script.clone())?;
    Ok(Exit::Done)
}
