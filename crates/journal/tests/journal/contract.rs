//! Both backends keep the contract.

use rekindle_journal::{MemoryJournal, OpenOptions, SledJournal, contract};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_in_memory_keeps_the_contract() {
    contract::suite(|| async { MemoryJournal::new() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_on_disk_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let mut n = 0;
    contract::suite(|| {
        n += 1;
        let dir = dir.path().join(n.to_string());
        async move { SledJournal::open(&dir, OpenOptions::default()).await.unwrap().0 }
    })
    .await;
}
