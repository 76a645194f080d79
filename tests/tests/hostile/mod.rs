//! Input that is wrong or made to do harm.

mod bad_input;
mod file_arguments;
mod foreign_records;
mod secrets;
mod staging;
mod terminal;
mod untrusted_workspace;
