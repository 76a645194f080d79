//! The options of every command.

use std::path::PathBuf;

/// The heading of these options in each command's help, after those of the command itself.
const HEADING: &str = "Options of every command";

/// Options of every command.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Global {
    /// The folder with .rekindle and system.yaml [default: found upward from here]
    #[arg(short, long, global = true, help_heading = HEADING, env = crate::WORKSPACE_VAR, value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// The system file [default: system.yaml in the workspace]
    #[arg(short, long, global = true, help_heading = HEADING, value_name = "FILE")]
    pub system: Option<PathBuf>,
    /// Print JSON on stdout, and narration as JSON lines on stderr
    #[arg(long, global = true, help_heading = HEADING)]
    pub json: bool,
    /// Print only results, warnings and errors
    #[arg(short, long, global = true, help_heading = HEADING)]
    pub quiet: bool,
    /// Log each transition of a step to stderr, with its time; twice for internals, three times for all
    #[arg(short, long, global = true, help_heading = HEADING, action = clap::ArgAction::Count)]
    pub verbose: u8,
}
