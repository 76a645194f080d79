//! The conditions for a run that touches production. Each guard refuses with what a person can do instead.

pub mod conflicts;
#[cfg(test)]
mod fixture;
pub mod occupied;
pub mod open_files;
pub mod partial_recovery;
pub mod running_system;
pub mod target;
