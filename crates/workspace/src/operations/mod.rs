//! One file for each operation: its request, its result.
//!
//! An operation that is a run (`backup`, `recover`, `verify`, `run`) checks the request and returns a
//! [`RunRequest`](run::RunRequest). If a person must answer a question first, it returns that too. All of them submit
//! the request in the same way.

pub mod adopt;
pub mod backup;
pub mod browse;
pub mod diff;
mod disaster;
pub mod doctor;
pub mod drill;
pub mod forecast;
pub mod init;
pub mod journal;
mod judged;
pub mod key_list;
pub mod known_names;
pub mod last_known_good;
pub mod nested;
pub mod plan;
pub mod prune;
pub mod recover;
pub mod requests;
pub mod restore;
pub mod resume;
pub mod run;
pub mod status;
pub mod targets;
pub mod tiers;
pub mod verify;
pub mod watch;
