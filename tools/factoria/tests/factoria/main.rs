//! The claims of this library, tried on generated systems.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod broken;
mod common;
mod content;
mod damage;
mod education;
mod generate;
mod hostile;
mod hostile_optimiser;
mod load;
mod performance;
mod probe;
mod rebuild;
mod serve;
