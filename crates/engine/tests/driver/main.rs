//! Claims about driving runs: small actions, a journal in memory (and once on disk), and a clock that follows tokio's
//! paused time, so that hours pass at once and nothing waits for luck.

mod bench;
mod crashes;
mod early;
mod engine;
mod failures;
mod order;
mod values;
