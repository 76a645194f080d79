//! Finds the processes that have files open which a recovery in place is about to move. Such a process continues to
//! write to the moved files, and nobody notices until the data is gone.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rekindle_model::run::RunState;

use super::running_system::while_running;
use crate::error::Error;
use crate::notice::Notices;
use crate::replica;
use crate::run_spec::ReadyRun;
use rekindle_model::problem::ProblemKind;

/// How many processes a refusal names.
const NAMED: usize = 5;

/// Refuses to start, or to resume, a recovery in place that would move files which a process has open. `state` is the
/// state of a resumed run. Does nothing for any other run.
pub fn refuse_in_use(notices: &Notices, ready: &ReadyRun, state: Option<&RunState>) -> Result<(), Error> {
    let Some(root) = ready.may_displace() else {
        return Ok(());
    };
    let kept = ready.site.kept();
    let mut paths: Vec<PathBuf> = Vec::new();
    for step in ready.plan.steps.iter().filter(|step| step.uses == "set-aside") {
        let over = state.is_some_and(|state| state.step(&step.id).state.is_final());
        let component = step.each.get("component");
        let component = component.and_then(|name| ready.spec.system.components.get(name));
        if let Some(source) = component.filter(|_| !over).and_then(|it| it.source.as_ref()) {
            let placed = rekindle_sources::place(source, &ready.site.root(root.to_owned()))?;
            let existing = placed.source.existing(&placed.root, &kept.never)?;
            paths.extend(existing.paths().map(|path| placed.root.join(path)));
        }
    }
    // The system's file is copied, not moved: a person who edits it continues to edit the file that counts.
    let stays = |path: &PathBuf| {
        let named = kept
            .copied
            .iter()
            .filter(|copied| copied.file_name() == path.file_name());
        named
            .filter_map(|copied| copied.canonicalize().ok())
            .any(|copied| path.canonicalize().is_ok_and(|path| path == copied))
    };
    paths.retain(|path| !stays(path));
    let found = match find(Path::new("/proc"), paths.into_iter()) {
        Ok(found) => found,
        Err(error) => {
            notices.warn(format!(
                "/proc cannot be read ({error}): whether somebody has files open there is not known"
            ));
            return Ok(());
        }
    };
    match (found.refusal(), state) {
        (Some(refusal), None) => Err(refusal
            .with_advice("stop them first; nothing was touched")
            .with_next(while_running(ready), "recovers although they are open")),
        (Some(refusal), Some(state)) => {
            let again = replica::way_on(ready.site.workspace_dir(), state.id);
            Err(refusal.with_next(again, "continues, once they are stopped"))
        }
        (None, _) => {
            if found.unseen > 0 {
                notices.say(found.blind());
            }
            Ok(())
        }
    }
}

/// A process, and one of the files that it has open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    pid: u32,
    name: String,
    path: PathBuf,
}

/// The result of a look at all processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    holders: Vec<Holder>,
    /// How many processes hide their open files from this user.
    unseen: usize,
}

impl Found {
    /// Returns the refusal, if there is a process to name.
    fn refusal(&self) -> Option<Error> {
        if self.holders.is_empty() {
            return None;
        }
        let mut named: Vec<String> = self
            .holders
            .iter()
            .take(NAMED)
            .map(|holder| {
                format!(
                    "{} (pid {}) has {}",
                    holder.name,
                    holder.pid,
                    holder.path.display()
                )
            })
            .collect();
        if self.holders.len() > NAMED {
            named.push(format!("{} more", self.holders.len() - NAMED));
        }
        let unseen = match self.unseen {
            0 => String::new(),
            _ => format!("; {}", self.blind()),
        };
        let message = format!("what would be moved is in use: {}{unseen}", named.join(", "));
        Some(Error::new(ProblemKind::Invalid, "in_use", message))
    }

    /// Says how many processes could not be looked at.
    fn blind(&self) -> String {
        let s = if self.unseen == 1 { "" } else { "es" };
        format!(
            "{} process{s} of other users could not be looked at; root may look at all",
            self.unseen
        )
    }
}

/// Looks at every process but this one, as far as this user may.
///
/// Compares files by device and inode. So it also finds a file that a process has reached through another mount, a
/// link or a container's own tree.
///
/// # Errors
/// `proc` cannot be listed.
fn find(proc: &Path, paths: impl Iterator<Item = PathBuf>) -> io::Result<Found> {
    let wanted: HashSet<(u64, u64)> = paths
        .filter_map(|path| path.symlink_metadata().ok())
        .map(|meta| (meta.dev(), meta.ino()))
        .collect();
    let mut found = Found::default();
    if wanted.is_empty() {
        return Ok(found);
    }
    for entry in fs::read_dir(proc)?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid == std::process::id() {
            continue;
        }
        let of_process = entry.path();
        match held(&of_process, &wanted) {
            Ok(Some(path)) => {
                let name = fs::read_to_string(of_process.join("comm")).unwrap_or_default();
                found.holders.push(Holder {
                    pid,
                    name: name.trim().to_owned(),
                    path,
                });
            }
            Ok(None) => {}
            // Kernel threads have no command line, and no files.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let command = fs::read(of_process.join("cmdline")).unwrap_or_default();
                found.unseen += usize::from(!command.is_empty());
            }
            // The process has ended in the meantime.
            Err(_) => {}
        }
    }
    found.holders.sort_by_key(|holder| holder.pid);
    Ok(found)
}

/// Returns the first of the wanted files that a process has open.
fn held(of_process: &Path, wanted: &HashSet<(u64, u64)>) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(of_process.join("fd"))? {
        let fd = entry?.path();
        // Sockets and pipes have no path. This guard does not check whether they answer.
        let Ok(path) = fs::read_link(&fd) else { continue };
        if !path.is_absolute() {
            continue;
        }
        if fs::metadata(&fd).is_ok_and(|meta| wanted.contains(&(meta.dev(), meta.ino()))) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use rekindle_model::next_action::Action;
    use serde_json::json;

    use super::super::fixture::Shop;
    use super::*;

    #[test]
    fn a_recovery_in_place_is_refused_while_a_process_has_a_file_of_it_open() {
        let shop = Shop::new("");
        let note = fs::File::open(shop.data("notes/1.txt")).unwrap();
        let mut holder = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(note)
            .spawn()
            .unwrap();
        let check = |component: &str, params| {
            let ready = shop.ready("recover", &[component], &params);
            refuse_in_use(&shop.context.notices, &ready, None)
        };
        let in_place = json!({"in_place": true});
        let refused = check("notes", in_place.clone());
        let others = [
            check("orders", in_place),
            check("notes", json!({"in_place": true, "while_running": true})),
            check("notes", json!({"to": shop.beside("out")})),
        ];
        drop(holder.stdin.take());
        holder.wait().unwrap();
        let error = refused.unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("cat (pid {}) has ", holder.id())),
            "{error}"
        );
        assert!(
            matches!(error.next()[1].action, Some(Action::Recover(_))),
            "{error:?}"
        );
        assert_eq!(others, [Ok(()), Ok(()), Ok(())]);
    }

    #[test]
    fn a_process_that_hides_its_files_is_counted_and_a_kernel_thread_is_not() {
        let proc = tempfile::tempdir().unwrap();
        let wanted = proc.path().join("ledger");
        fs::write(&wanted, "rows").unwrap();
        let process = |pid: &str, command: &str| {
            let folder = proc.path().join(pid);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("cmdline"), command).unwrap();
            fs::write(folder.join("comm"), "shop\n").unwrap();
            folder
        };
        let open = process("41", "shop").join("fd");
        fs::create_dir(&open).unwrap();
        std::os::unix::fs::symlink(&wanted, open.join("3")).unwrap();
        std::os::unix::fs::symlink("socket:[7]", open.join("4")).unwrap();
        process("42", "gone");
        fs::create_dir(process("43", "idle").join("fd")).unwrap();
        let found = find(proc.path(), std::iter::once(wanted.clone())).unwrap();
        let holder = Holder {
            pid: 41,
            name: "shop".to_owned(),
            path: wanted,
        };
        assert_eq!((found.holders.as_slice(), found.unseen), (&[holder][..], 0));
        let refusal = found.refusal().unwrap().to_string();
        assert!(refusal.contains("shop (pid 41) has "), "{refusal}");

        let blind = Found {
            holders: Vec::new(),
            unseen: 1,
        };
        assert!(blind.refusal().is_none());
        assert!(
            blind.blind().starts_with("1 process of other users"),
            "{}",
            blind.blind()
        );
    }
}
