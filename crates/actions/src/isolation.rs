//! How the programs of a drill are kept away from the living system and the tiers.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rekindle_model::failure::Failure;
use rekindle_sources::place::resolve;
use tokio::process::Command;

use crate::failures;
use crate::supervise::{self, Isolation, isolated};

/// Returns the isolation for the programs of a drill, after it was tried once; or why the machine does not allow it, for
/// people. The reason is kept beside the sandbox: a drill that was isolated in part for a while was not isolated.
///
/// # Errors
/// It could not be tried.
pub(crate) async fn of_drill(
    executable: &Path,
    sandbox: &Path,
) -> Result<Result<Isolation, String>, Failure> {
    let temporary = temporary(sandbox);
    for folder in [sandbox, &temporary] {
        let made = tokio::fs::create_dir_all(folder).await;
        made.map_err(|error| failures::io(&folder.display().to_string(), &error))?;
    }
    let isolation = Isolation {
        writable: vec![resolve(sandbox), resolve(&temporary)],
    };
    let tried = Command::new(executable)
        .arg(supervise::SUBCOMMAND)
        .arg(supervise::TRY)
        .args(isolated(&isolation))
        .args([supervise::PROGRAM, "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .await;
    let tried = tried.map_err(|error| failures::io(&executable.display().to_string(), &error))?;
    if tried.status.success() {
        return Ok(Ok(isolation));
    }
    let why = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
    let kept = tokio::fs::write(reason(sandbox), &why).await;
    kept.map_err(|error| failures::io(&temporary.display().to_string(), &error))?;
    Ok(Err(why))
}

/// Returns why a program of a drill was not isolated, in whichever process; none if all were.
pub(crate) async fn lacking(sandbox: &Path) -> Option<String> {
    tokio::fs::read_to_string(reason(sandbox)).await.ok()
}

fn reason(sandbox: &Path) -> PathBuf {
    temporary(sandbox).join("not-isolated")
}

/// Returns where the programs of a drill have their temporary files.
pub(crate) fn temporary(sandbox: &Path) -> PathBuf {
    let mut name = sandbox.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
