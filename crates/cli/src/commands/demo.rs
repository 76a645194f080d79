//! `rekindle demo` and `rekindle factoria`: the crate `rekindle-demo` through this program's face.

use std::path::Path;
use std::process::Command;

use rekindle_demo::factoria::{self, FactoriaCommand};
use rekindle_demo::{Args, Face, Shown};
use serde_json::Value;

use crate::exit::Exit;
use crate::{App, CONFIG_DIR_VAR, PASSPHRASE_VAR, WORKSPACE_VAR};
use rekindle_workspace::Error;

impl Face for App {
    fn say(&self, text: &str) {
        self.printer.say(text);
    }

    fn data(&self, data: &Value, text: &str) -> Result<(), Error> {
        self.printer.data(data, || text.to_owned())
    }

    fn line(&self, data: &Value, text: &str) -> Result<(), Error> {
        self.printer.line(data, || text.to_owned())
    }

    fn command(&self, dir: &Path, config_dir: &Path) -> Command {
        let mut command = Command::new(&self.application.executable);
        command
            .args(["--json", "-w"])
            .arg(dir)
            .env(CONFIG_DIR_VAR, config_dir)
            .env_remove(WORKSPACE_VAR)
            .env_remove(PASSPHRASE_VAR);
        command
    }
}

fn shown(app: &App) -> Shown<'_> {
    Shown {
        face: app,
        application: &app.application,
    }
}

/// Shows the story.
pub(crate) async fn run(app: &App, args: Args) -> Result<Exit, Error> {
    let whole = rekindle_demo::run(shown(app), args).await?;
    Ok(if whole { Exit::Done } else { Exit::Partial })
}

/// Makes, runs, probes or damages the system that ships.
pub(crate) async fn factoria(app: &App, command: FactoriaCommand) -> Result<Exit, Error> {
    factoria::run(shown(app), command).await?;
    Ok(Exit::Done)
}
