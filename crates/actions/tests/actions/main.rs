//! The actions through the real engine, with a real vault, real files and a real database.

#[expect(
    clippy::unwrap_used,
    reason = "the bench belongs to the tests, and a test that cannot be set up has failed"
)]
mod bench;
#[expect(
    clippy::unwrap_used,
    reason = "a server of a test's own that breaks is the test's failure"
)]
mod http;
#[expect(
    clippy::unwrap_used,
    reason = "a program that leaves no trace where it should has failed its test"
)]
mod programs;
#[expect(
    clippy::unwrap_used,
    reason = "a step of a test's own that fails is the test's failure"
)]
mod recover;
mod steps;
