//! How a live thing is captured and put back.
//!
//! | module | what it holds |
//! |---|---|
//! | [`files`] | a folder or a file, walked in order without following links |
//! | [`place`] | where a path leads, whatever its spelling |
//! | [`sqlite`] | a live SQLite database: captured by online backup, put back past its old `-wal` |
//!
//! Sources know nothing of the vault: both meet in [`rekindle_model::entry::TreeSource`].

pub mod files;
pub mod place;
pub mod sqlite;

mod unreadable;
