//! What the keys of a workflow promise: timeouts, programs, nested runs, undo, and running steps again.

mod child_processes;
mod nested_runs;
mod run_again;
mod timeouts;
mod undo;
