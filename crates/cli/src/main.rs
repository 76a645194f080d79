//! The rekindle command.
fn main() {}
