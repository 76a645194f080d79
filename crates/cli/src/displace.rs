//! A recovery in place: what stands at the targets moves to `<root>.before-<run>/` before the first restore.
//!
//! It is done once the run exists and before it is driven, and again before a resumed run is driven: a
//! component whose restore has begun is never touched again, so what was restored is never moved. Each move
//! is one rename that replaces nothing, so a kill between two leaves every file in one of two known places.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rekindle_model::entry::{EntryKind, TreeSource};
use rekindle_model::id::RunId;
use rekindle_model::run::RunState;
use rekindle_model::system::Source;
use rekindle_sources::files::FilesSource;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::Value;

use crate::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::pinned::Ready;
use crate::session::Session;

/// The files that SQLite keeps beside a database; they belong to the one that moves.
const SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Moves aside what a run in place is going to write over; does nothing for every other run.
pub(crate) async fn displace(
    app: &App,
    session: &Session,
    ready: &Ready,
    run: RunId,
) -> Result<(), CliError> {
    let in_place = ready.plan.params.get("in_place").and_then(Value::as_bool) == Some(true);
    let (true, Some(root)) = (in_place, ready.site.target_root()) else {
        return Ok(());
    };
    let records = session.journal.read(run).await?;
    let state = RunState::from_records(&records)?;
    let aside = aside(root, run);
    let untouched = ready
        .plan
        .steps
        .iter()
        .filter(|step| step.uses == "restore" && state.step(&step.id).attempts == 0);
    let mut moved = 0;
    for component in untouched.filter_map(|step| step.each.get("component")) {
        let Some(source) = ready
            .pinned
            .system
            .components
            .get(component)
            .and_then(|c| c.source.clone())
        else {
            continue;
        };
        let (root, aside, never) = (root.to_owned(), aside.clone(), ready.site.never_captured());
        moved += tokio::task::spawn_blocking(move || take(&root, &aside, &source, &never))
            .await
            .map_err(|error| {
                CliError::new(Exit::Failed, "internal", format!("moving aside broke: {error}"))
            })??;
    }
    if moved > 0 {
        app.printer
            .say(format!("moved {moved} files aside to {}", aside.display()));
    }
    Ok(())
}

/// Removes what a recovery has made and not used: the folder for displaced files, where it holds none.
pub(crate) fn tidy(ready: &Ready, run: RunId) {
    let Some(root) = ready.site.target_root() else {
        return;
    };
    remove_empty(&aside(root, run));
}

/// Removes a folder and those below it as far as they are empty; whatever is not stays, and that is no error.
fn remove_empty(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(folder);
}

/// Returns the files and links at a component's target, relative to `root`, and its folders, outermost first.
pub(crate) fn standing(root: &Path, source: &Source, never: &[PathBuf]) -> Result<Standing, CliError> {
    let own: PathBuf = Path::new(source.path())
        .components()
        .filter(|part| !matches!(part, std::path::Component::CurDir))
        .collect();
    let place = root.join(&own);
    let mut found = Standing::default();
    match source {
        Source::Sqlite { .. } => {
            let sidecars = SIDECARS.iter().map(|suffix| {
                let mut name: OsString = own.clone().into_os_string();
                name.push(suffix);
                PathBuf::from(name)
            });
            found.files.extend(
                std::iter::once(own.clone())
                    .chain(sidecars)
                    .filter(|path| is_there(&root.join(path))),
            );
        }
        Source::Files { include, exclude, .. } if is_there(&place) => {
            // A link is moved as the link that it is.
            if place.is_symlink() || !place.is_dir() {
                found.files.push(own);
                return Ok(found);
            }
            let mut walk = FilesSource::open(&place, include, exclude, never)?;
            while let Some(entry) = walk.next_entry()? {
                let path = own.join(std::ffi::OsStr::from_bytes(entry.path.as_bytes()));
                match entry.kind {
                    EntryKind::Dir => found.folders.push(path),
                    EntryKind::File { .. } | EntryKind::Symlink { .. } => found.files.push(path),
                }
            }
        }
        Source::Files { .. } => {}
    }
    Ok(found)
}

/// What stands at a target, as paths below the root.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Files and links.
    pub(crate) files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

fn aside(root: &Path, run: RunId) -> PathBuf {
    let mut name = root.as_os_str().to_owned();
    name.push(format!(".before-{run}"));
    PathBuf::from(name)
}

fn take(root: &Path, aside: &Path, source: &Source, never: &[PathBuf]) -> Result<usize, CliError> {
    let standing = standing(root, source, never)?;
    for path in &standing.files {
        let (from, to) = (root.join(path), aside.join(path));
        move_aside(&from, &to).map_err(|error| {
            let error = CliError::io(format_args!("move {} to {}", from.display(), to.display()), &error);
            match error.hint() {
                None => error.with_hint("nothing was overwritten; clear the cause and run `rekindle resume`, or recover --to another folder"),
                Some(_) => error,
            }
        })?;
    }
    // A folder that still holds something that is not the component's stays where it is.
    for path in standing
        .folders
        .iter()
        .rev()
        .filter(|path| !path.as_os_str().is_empty())
    {
        let _ = std::fs::create_dir_all(aside.join(path));
        let _ = std::fs::remove_dir(root.join(path));
    }
    if !standing.files.is_empty() {
        sync(root)
            .and_then(|()| sync(aside))
            .map_err(|error| CliError::io("make the move durable", &error))?;
    }
    Ok(standing.files.len())
}

/// Renames without replacing: a name that is taken from an earlier move gets a number.
fn move_aside(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut target = to.to_owned();
    for n in 2_u32.. {
        match renameat_with(CWD, from, CWD, &target, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::EXIST) => {
                let mut name = to.as_os_str().to_owned();
                name.push(format!(".{n}"));
                target = PathBuf::from(name);
            }
            result => return result.map_err(io::Error::from),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

/// Makes all that was renamed below a folder durable at once.
fn sync(folder: &Path) -> io::Result<()> {
    rustix::fs::syncfs(std::fs::File::open(folder)?).map_err(io::Error::from)
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(path: &str, include: &[&str]) -> Source {
        let include = include.iter().map(|glob| (*glob).to_owned()).collect();
        Source::Files {
            path: path.to_owned(),
            include,
            exclude: Vec::new(),
        }
    }

    #[test]
    fn only_what_the_component_claims_moves_and_nothing_is_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let (root, aside) = (temp.path().join("data"), temp.path().join("data.before-x"));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("a/one.md", "1");
        write("a/deep/two.md", "2");
        write("a/other.bin", "stays");
        write("db/x.sqlite", "db");
        write("db/x.sqlite-wal", "wal");
        assert_eq!(take(&root, &aside, &files("a", &["**/*.md"]), &[]).unwrap(), 2);
        assert_eq!(
            take(
                &root,
                &aside,
                &Source::Sqlite {
                    path: "db/x.sqlite".to_owned()
                },
                &[]
            )
            .unwrap(),
            2
        );
        assert!(root.join("a/other.bin").exists() && !root.join("a/deep").exists());
        assert_eq!(std::fs::read_to_string(aside.join("a/deep/two.md")).unwrap(), "2");
        assert_eq!(
            std::fs::read_to_string(aside.join("db/x.sqlite-wal")).unwrap(),
            "wal"
        );

        // Cut off after the first move and made again, with a new file under the old name.
        write("a/one.md", "new");
        assert_eq!(take(&root, &aside, &files("a", &["**/*.md"]), &[]).unwrap(), 1);
        assert_eq!(std::fs::read_to_string(aside.join("a/one.md")).unwrap(), "1");
        assert_eq!(std::fs::read_to_string(aside.join("a/one.md.2")).unwrap(), "new");
    }
}
