//! A SQLite database: captured while others write to it, and put back without its predecessor's sidecars.
//!
//! [`capture`](fn@capture) copies a live database with SQLite's online backup into a staging file.
//! [`SqliteTree`] gives that file to the vault under the original's name, mode, owner and time. [`Reader`]
//! reads numbers from a database and leaves no file beside it. [`put_back`](fn@put_back) moves a restored
//! file to its place. A `-wal` or `-journal` belongs to the database that it was written for, but SQLite
//! replays it into the next file of that name. So `put_back` moves the old file and its sidecars aside,
//! durably, before the new file gets the name.

mod aside;
mod capture;
mod check;
mod put_back;
mod query;
mod source;
mod tree;

pub use capture::{SqliteCapture, capture};
pub use put_back::{PutBack, PutBackStage, put_back};
pub use query::Reader;
pub(crate) use source::TYPE;
pub use tree::SqliteTree;

/// The files that SQLite may keep beside a database, by suffix.
const SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Returns the path with `suffix` added to its last name.
fn beside(path: &std::path::Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes a folder's names durable.
fn sync_folder(folder: &std::path::Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Returns a path's folder; the working folder for a bare name.
fn folder_of(path: &std::path::Path) -> &std::path::Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => std::path::Path::new("."),
    }
}
