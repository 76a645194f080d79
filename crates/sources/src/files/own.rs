//! Tells what Rekindle left in a tree from the user's own files with such a name.
//!
//! Rekindle gives everything that it makes for a while the attribute `user.rekindle.temporary`
//! ([`Xattr::TEMPORARY`]), and removes it before the file gets its final name. A name alone proves nothing: a user
//! may have a `list.rekindle-new`. If the file system has no such attributes, a name counts if it has the id of a
//! run, or the hash, that Rekindle puts into it.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rekindle_model::entry::Xattr;
use rekindle_model::id::RunId;
use rustix::fs::{Mode, OFlags, XattrFlags};
use rustix::io::Errno;

/// How many hexadecimal digits the name of an unfinished file has.
const HASH_DIGITS: usize = 24;
/// How many characters a run's id has.
const RUN_ID: usize = 36;

/// Marks a file or a folder that Rekindle removes or renames later. If the file system has no attributes, the name
/// has to do.
pub fn mark_temporary(path: &Path) {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(open) = rustix::fs::open(path, flags, Mode::empty()) {
        mark(open);
    }
}

/// Marks what is open.
pub(crate) fn mark(open: impl AsFd) {
    let _ = rustix::fs::fsetxattr(open, Xattr::TEMPORARY, b"1", XattrFlags::empty());
}

/// Removes the mark, if there is one.
pub(crate) fn unmark(path: &Path) {
    let _ = rustix::fs::lremovexattr(path, Xattr::TEMPORARY);
}

/// Returns whether Rekindle made this name in a folder, for a while.
pub(super) fn is_own(folder: BorrowedFd<'_>, name: &CString) -> bool {
    let form = Form::of(name.as_bytes());
    if form == Form::Ordinary {
        return false;
    }
    let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    match rustix::fs::lgetxattr(path.as_slice(), Xattr::TEMPORARY, &mut [0; 16]) {
        Ok(_) => true,
        Err(Errno::OPNOTSUPP) => form == Form::WithId,
        Err(_) => false,
    }
}

/// What a name shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Ordinary,
    /// Rekindle gives such names, and so may a user.
    Reserved,
    /// It has a run's id, or a hash, where Rekindle puts them.
    WithId,
}

impl Form {
    fn of(name: &[u8]) -> Self {
        let reserved = |with_id| if with_id { Self::WithId } else { Self::Reserved };
        let is_run = |id: &[u8]| std::str::from_utf8(id).is_ok_and(|id| id.parse::<RunId>().is_ok());
        if let Some(hash) = name.strip_prefix(b".rekindle-partial-") {
            return reserved(hash.len() == HASH_DIGITS && hash.iter().all(u8::is_ascii_hexdigit));
        }
        if let Some(rest) = name.strip_prefix(b".rekindle-staging-") {
            return reserved(rest.get(..RUN_ID).is_some_and(is_run) && rest.get(RUN_ID) == Some(&b'-'));
        }
        if let Some(run) = name.strip_prefix(b".rekindle-before-") {
            return reserved(is_run(run));
        }
        let beside = name
            .len()
            .checked_sub(".before-".len() + RUN_ID)
            .map(|at| name.split_at(at).1);
        if beside.is_some_and(|end| end.strip_prefix(b".before-").is_some_and(is_run)) {
            return Self::WithId;
        }
        match name.ends_with(b".rekindle-new") {
            true => Self::Reserved,
            false => Self::Ordinary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_with_an_id_counts_where_there_are_no_attributes() {
        let run = "0199cccc-0000-7000-8000-000000000001";
        for (name, form) in [
            (format!(".rekindle-before-{run}"), Form::WithId),
            (format!(".rekindle-staging-{run}-orders"), Form::WithId),
            (format!(".rekindle-partial-{}", "a1".repeat(12)), Form::WithId),
            (format!("postgres.before-{run}"), Form::WithId),
            ("postgres.before-the-move".to_owned(), Form::Ordinary),
            (".rekindle-before-the-move".to_owned(), Form::Reserved),
            (".rekindle-staging-area".to_owned(), Form::Reserved),
            (".rekindle-partial-list".to_owned(), Form::Reserved),
            ("customer-list.rekindle-new".to_owned(), Form::Reserved),
            ("rekindle-new.txt".to_owned(), Form::Ordinary),
        ] {
            assert_eq!(Form::of(name.as_bytes()), form, "{name}");
        }
    }
}
