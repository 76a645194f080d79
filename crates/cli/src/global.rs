//! The options of every command.

use std::path::PathBuf;

/// Options of every command.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Global {
    /// The folder with .rekindle and system.yaml [default: found upward from here]
    #[arg(short, long, global = true, env = crate::WORKSPACE_VAR, value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// The system file [default: system.yaml in the workspace]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub system: Option<PathBuf>,
    /// Print JSON on stdout, and narration as JSON lines on stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only results, warnings and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log each transition of a step to stderr, with its time; twice for internals, three times for all
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}
