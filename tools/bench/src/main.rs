//! Measures the journal and the engine: against the disk below, against sled alone, and against durable-execution
//! engines that others run. `tools/bench/journal` does it all in one command.
//!
//! | module | what it measures |
//! |---|---|
//! | `steps` | chains of no-op steps, on the journal in memory and on disk |
//! | `disk` | what the disk allows: append + fdatasync; sled's insert + flush |
//! | `scale` | large journals and large plans, each in a process of its own |
//! | `figure` | nothing: one measurement, as a line of JSON |
//! | `table` | nothing: figures of one run as a table with ratios and targets |

#![expect(
    clippy::print_stdout,
    reason = "a measuring program prints its figures; JSON lines and tables are its output"
)]

mod disk;
mod figure;
mod scale;
mod steps;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What went wrong, in words; a measurement that fails has no figure.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures Rekindle's journal and engine
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Raw appends, sled alone and Rekindle, one after another; a line of JSON for each case
    Steps {
        /// Where the files are put; its disk is what is measured
        #[arg(long)]
        dir: PathBuf,
        /// How often all of it is measured; the table takes the median
        #[arg(long, default_value_t = 3)]
        rounds: u32,
        /// Only so many runs at once, a hundred steps each, and only Rekindle on disk: for a profiler
        #[arg(long, hide = true)]
        only: Option<u32>,
    },
    /// Large journals and large plans; a line of JSON for each case
    Scale {
        /// Where the files are put
        #[arg(long)]
        dir: PathBuf,
    },
    /// One part of `scale`, in the process that is measured
    #[command(hide = true)]
    Part {
        #[command(subcommand)]
        part: scale::Part,
    },
    /// Figures in files as a Markdown table with ratios and targets; exits 1 where a target is missed
    Table {
        /// Files of JSON lines
        files: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            // The figures are on stdout; why there are no more of them is not one.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("error: {error}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Outcome<ExitCode> {
    match args.command {
        Command::Steps {
            dir,
            rounds,
            only: Some(runs),
        } => {
            for round in 0..rounds {
                steps::measure_one(&dir, round, runs, 100)?;
            }
        }
        Command::Steps {
            dir,
            rounds,
            only: None,
        } => {
            for round in 0..rounds {
                disk::measure(&dir, round)?;
                steps::measure(&dir, round)?;
            }
        }
        Command::Scale { dir } => scale::measure(&dir)?,
        Command::Part { part } => scale::part(part)?,
        Command::Table { files } => return table::print(&files),
    }
    Ok(ExitCode::SUCCESS)
}
