//! `rekindle completions`

use clap_complete::Shell;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;

/// Print a shell's completion script
///
/// For bash: rekindle completions bash > /etc/bash_completion.d/rekindle
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script, which completes the words of `command`.
pub(crate) fn run(app: &App, args: &Args, command: &mut clap::Command) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "rekindle", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let body = serde_json::json!({ "shell": args.shell.to_string(), "script": script });
    app.printer.document(&body, || script.clone())?;
    Ok(Exit::Done)
}
