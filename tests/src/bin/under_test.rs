//! The product, with kill points and an effect log planted by the environment (see `rekindle_tests::faults`).
//! The product itself has neither.

use std::process::ExitCode;

fn main() -> ExitCode {
    rekindle_cli::run(std::env::args_os(), rekindle_tests::faults::hooks_from_env())
}
