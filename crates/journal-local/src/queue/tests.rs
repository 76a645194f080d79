//! A writer that panics ends the journal.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rekindle_journal::Journal;
use rekindle_journal::contract::{append_to, created};
use rekindle_model::id::RunId;
use uuid::Uuid;

use crate::journal::LocalJournal;
use crate::open::OpenOptions;

/// Panics when its append is acknowledged, on the thread that commits.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("as a defect of the writer would");
    }
}

#[tokio::test]
async fn a_commit_that_panics_ends_the_journal_and_leaves_nobody_waiting() {
    /// More than one commit takes.
    const APPENDS: u128 = 1500;
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = LocalJournal::open(dir.path(), OpenOptions::default())
        .await
        .unwrap();
    let limit = Duration::from_secs(20);
    {
        let append = |number| {
            journal.append(append_to(
                RunId(Uuid::from_u128(number)),
                0,
                1,
                vec![created("a")],
            ))
        };
        let mut first = pin!(append(1));
        let mut others: Vec<_> = (2..APPENDS).map(|number| Box::pin(append(number))).collect();
        {
            let _nobody_commits = journal.queue.writer();
            let panics = Waker::from(Arc::new(Panics));
            assert!(
                first
                    .as_mut()
                    .poll(&mut Context::from_waker(&panics))
                    .is_pending()
            );
            for other in &mut others {
                let mut idle = Context::from_waker(Waker::noop());
                assert!(matches!(other.as_mut().poll(&mut idle), Poll::Pending));
            }
        }
        for other in others {
            let told = tokio::time::timeout(limit, other).await;
            assert!(told.expect("somebody waits for ever").is_err());
        }
        let later = tokio::time::timeout(limit, append(APPENDS)).await;
        assert!(later.expect("nobody takes anything any more").is_err());
    }
    let closed = tokio::time::timeout(limit, journal.close()).await;
    closed.expect("it closes all the same");
}
