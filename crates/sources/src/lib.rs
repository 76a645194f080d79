//! Captures a component's data and puts them back: one type of source for each kind of data.
//!
//! A type of source is one folder here that implements [`ComponentSource`], and one line of the
//! [registry](TYPES).
//!
//! | module | what it holds |
//! |---|---|
//! | `component_source` | the trait that each type implements, and its context |
//! | `source_type`, `registry` | how a folder describes its type, and the list of all types |
//! | [`files`] | a folder or a file, walked in order without following links |
//! | [`sqlite`] | a live SQLite database: captured by online backup, put back without its old `-wal` |
//! | [`command`] | a program that prints the data, and one that reads them back |
//! | [`private`] | files that only their owner may open, until they get their mode |
//! | [`place`] | resolves a path, however it is written |
//! | `shape` | whether a captured tree is a folder or one file |
//! | [`failures`], `task` | failures of the operating system; work that blocks |
//!
//! Sources know nothing of the vault: both meet in [`rekindle_model::entry::TreeSource`].

pub mod command;
mod component_source;
pub mod failures;
pub mod files;
pub mod place;
pub mod private;
mod registry;
mod shape;
mod source_type;
pub mod sqlite;
mod task;

pub use component_source::{
    Captured, Caution, ComponentSource, Existing, HandOver, Program, ProgramRunner, Programs, PutInPlace,
    RestorePlan, SourceContext, StdoutFile,
};
pub use registry::{KEYS, Placed, TYPES, open, place};
pub use shape::Shape;
pub use source_type::SourceType;
pub use task::{blocking, discard, remove_tree};
