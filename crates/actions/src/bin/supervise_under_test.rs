//! The supervisor alone, for the tests of this crate; the product has it as `rekindle __supervise`.

use std::process::ExitCode;

fn main() -> ExitCode {
    rekindle_actions::supervise::supervise(std::env::args_os().skip(2))
}
