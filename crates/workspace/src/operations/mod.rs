//! One file for each operation: its request, its result.
//!
//! An operation that is a run (`backup`, `recover`, `verify`, `run`) checks the request and returns a
//! [`RunRequest`](run::RunRequest), with a question where a person must answer one first. Submitting it is one step for all of them.

pub mod backup;
pub mod plan;
pub mod recover;
pub mod run;
pub mod verify;
