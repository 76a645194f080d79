//! Claims about driving runs: small actions, a journal in memory (and once on disk), and a clock that follows tokio's
//! paused time, so that hours pass at once and nothing waits for luck.

#![expect(
    clippy::unwrap_used,
    reason = "in a test, what is not as it should be ends the test"
)]

mod bench;
mod crashes;
mod early;
mod engine;
mod failures;
mod order;
mod replicas;
mod requests;
mod values;
