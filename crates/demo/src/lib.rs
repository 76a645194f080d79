//! `rekindle demo`: the whole story, on real files and real databases, by real processes.
//!
//! 1. A La Factoria system is generated and started.   2. `rekindle backup`, while it writes.
//! 3. It is killed, and its data is deleted.   4. `rekindle recover` is killed by SIGKILL half-way.
//! 5. `rekindle resume`.   6. Every byte is compared with what was backed up.
//! 7. The system is started again, healthy and without a gap in what it had written.
//!
//! Each command is a process of its own, and so is the system. The demo knows only their output, the journal and the
//! files that the killed system left. `rekindle factoria` makes, runs, probes and damages the same system by hand.

mod child;
mod compare;
mod database;
pub mod factoria;
mod service;
mod story;
mod witness;

use std::path::{Path, PathBuf};
use std::process::Command;

use rekindle_factoria::{GenerateOptions, generate};
use rekindle_plan::builtin;

use rekindle_workspace::{Application, Error};
use serde_json::Value;

/// The face that a person uses: it shows the story and starts commands.
pub trait Face {
    /// Shows what is going on.
    fn say(&self, text: &str);

    /// Shows the result: `text` to people, `data` to programs.
    ///
    /// # Errors
    /// It cannot be written.
    fn data(&self, data: &Value, text: &str) -> Result<(), Error>;

    /// Shows one of many results; to programs each is one line.
    ///
    /// # Errors
    /// It cannot be written.
    fn line(&self, data: &Value, text: &str) -> Result<(), Error>;

    /// Returns a command of this program, to be completed with arguments, that works in the workspace at `dir` with the
    /// keys in `config_dir` and answers in JSON.
    fn command(&self, dir: &Path, config_dir: &Path) -> Command;
}

/// The application, and the face through which a person uses it.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// The face.
    pub face: &'a dyn Face,
    /// The application.
    pub application: &'a Application,
}

/// Watch it happen: run a system, back it up, destroy it, recover it, killed half-way and resumed, and run it again
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave everything in this new or empty folder; every other command works there
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// How much data to make: 5MB, 1.5GiB …
    #[arg(long, value_name = "SIZE", default_value = "40MB", value_parser = rekindle_factoria::size::parse)]
    size: u64,
}

/// Shows the story, and returns whether every component came back valid.
///
/// # Errors
/// A command of the story failed, or the data that came back is not the data that was backed up.
pub async fn run(app: Shown<'_>, args: Args) -> Result<bool, Error> {
    match &args.keep {
        Some(dir) => {
            std::fs::create_dir_all(dir)
                .map_err(|error| Error::io(format_args!("make {}", dir.display()), &error))?;
            let mut entries = std::fs::read_dir(dir)
                .map_err(|error| Error::io(format_args!("read {}", dir.display()), &error))?;
            if entries.next().is_some() {
                return Err(Error::usage(format!("{} is not empty", dir.display()))
                    .with_advice("the demo deletes the data that it has made: name a new folder"));
            }
            let dir = dir
                .canonicalize()
                .map_err(|error| Error::io(format_args!("find {}", dir.display()), &error))?;
            story::tell(app, &dir, args.size, true).await
        }
        None => {
            let temp = tempfile::Builder::new()
                .prefix("rekindle-demo-")
                .tempdir()
                .map_err(|error| Error::io("make a temporary folder", &error))?;
            let dir = temp.path().to_owned();
            story::tell(app, &dir, args.size, false).await
        }
    }
}

/// Makes the system and its system.yaml.
fn make_system(dir: &Path, size_bytes: u64) -> Result<rekindle_factoria::Generated, Error> {
    let made = generate(&GenerateOptions {
        root: dir.join("data"),
        seed: 1,
        size_bytes,
    })
    .map_err(factoria::error)?;
    let file = dir.join(rekindle_workspace::layout::SYSTEM_FILE);
    std::fs::write(&file, builtin::LA_FACTORIA)
        .map_err(|error| Error::io(format_args!("write {}", file.display()), &error))?;
    Ok(made)
}
