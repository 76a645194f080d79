//! What the keys of a workflow promise: timeouts, programs, what runs without a system, nested runs, undo, and running steps again.

mod allowed_to_fail;
mod child_processes;
mod documented;
mod expressions;
mod handlers;
mod hooks;
mod nested_runs;
mod programs;
mod run_again;
mod timeouts;
mod undo;
mod without_system;
