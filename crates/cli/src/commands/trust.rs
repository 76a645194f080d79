//! `rekindle trust`

use std::path::PathBuf;

use rekindle_workspace::Error;
use rekindle_workspace::trust;
use serde_json::json;

use crate::App;
use crate::exit::Exit;

/// Trust a workspace or a workflow that other users can change: it may run programs as you
///
/// Rekindle refuses a workspace, a system file or a workflow if another user owns it or can write it, or a folder above
/// it. The trust covers the path and everything below it, and lasts as long as the same user owns the path. The list
/// is trusted.json in your config folder. Without a path, print the list.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of the workspace, or a file
    path: Option<PathBuf>,
    /// Trust it no longer
    #[arg(long, requires = "path")]
    remove: bool,
}

/// Changes the list, or prints it.
pub(crate) fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let application = &app.application;
    let Some(path) = &args.path else {
        let paths = trust::list(application)?;
        app.printer.data(&json!({ "trusted": paths }), || {
            if paths.is_empty() {
                return "no path is trusted".to_owned();
            }
            let line = |one: &trust::TrustedPath| format!("{} (uid {})\n", one.path.display(), one.uid);
            paths.iter().map(line).collect()
        })?;
        return Ok(Exit::Done);
    };
    let path = application.selection.absolute(path)?;
    if args.remove {
        let removed = trust::remove(application, &path)?;
        let body = json!({ "path": path, "removed": removed });
        app.printer.data(&body, || match removed {
            true => format!("{} is no longer trusted", path.display()),
            false => format!("{} was not in the list", path.display()),
        })?;
        return Ok(if removed { Exit::Done } else { Exit::Failed });
    }
    let added = trust::add(application, &path)?;
    app.printer.data(&added, || {
        format!(
            "trusts {} as long as uid {} owns it: programs that are named there run as you",
            added.path.display(),
            added.uid
        )
    })?;
    Ok(Exit::Done)
}
