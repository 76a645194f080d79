//! The journal in memory keeps the contract.

use rekindle_journal::{MemoryJournal, contract};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_in_memory_keeps_the_contract() {
    contract::suite(|| async { MemoryJournal::new() }).await;
}
