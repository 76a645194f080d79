//! The journal on disk keeps the contract.

use rekindle_journal::contract;
use rekindle_journal_local::{LocalJournal, OpenOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_on_disk_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let mut n = 0;
    contract::suite(|| {
        n += 1;
        let dir = dir.path().join(n.to_string());
        async move { LocalJournal::open(&dir, OpenOptions::default()).await.unwrap().0 }
    })
    .await;
}
