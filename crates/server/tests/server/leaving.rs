//! An owner that leaves, and clients that come just then. The owner finishes every run that it has accepted. A client
//! that it rejects knows that nothing was started.

use std::sync::Arc;

use async_trait::async_trait;
use rekindle_journal::{Append, Journal, JournalError, MemoryJournal, RunFilter, RunSummary};
use rekindle_model::event::{Outcome, Record};
use rekindle_model::id::{Hash32, RunId};
use rekindle_server::{End, RunService, Submission};
use tokio::sync::broadcast;

use crate::bench::{Bench, all, gated, names, within};

/// One step that is over at once.
fn short() -> Submission {
    Submission {
        workflow: "short".to_owned(),
        definition: "workflow: short\nsteps:\n  - id: only\n    uses: pass\n".to_owned(),
        ..gated()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leaving_owner_takes_a_run_to_its_end_or_says_that_nothing_was_begun() {
    /// The instant of leaving falls between any two of a submission's own in some of these.
    const ROUNDS: usize = 40;
    let (mut taken, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let bench = Bench::new().await;
        let submitters: Vec<_> = (0..8)
            .map(|n| {
                let client = bench.client.clone();
                tokio::spawn(async move {
                    for _ in 0..(round + n) % 16 {
                        tokio::task::yield_now().await;
                    }
                    let mut runs = Vec::new();
                    loop {
                        match client.submit(short()).await {
                            Ok(run) => runs.push(run),
                            Err(problem) => return (runs, problem),
                        }
                    }
                })
            })
            .collect();
        bench.owner.submit(short()).await.unwrap();
        within(bench.owner.leave()).await;
        // The process may end from here on. It would strand a run that it drives now or accepts later.
        assert_eq!(bench.owner.info().runs, []);
        let journal = Arc::clone(&bench.journal);
        let all = journal.runs(&RunFilter::default()).await.unwrap();
        within(bench.end()).await;
        for submitter in submitters {
            let (runs, problem) = within(submitter).await.unwrap();
            assert!(rekindle_server::api::is_of_leaving(&problem), "{problem:?}");
            refused += 1;
            for run in runs {
                taken += 1;
                assert_eq!(names(&*journal, run).await.last(), Some(&"run_finished"));
            }
        }
        let now = journal.runs(&RunFilter::default()).await.unwrap();
        assert_eq!(now.len(), all.len(), "round {round}");
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}

/// A journal that lets other tasks go first after an append, as a busy machine does.
struct Yielding(MemoryJournal);

#[async_trait]
impl Journal for Yielding {
    async fn append(&self, append: Append) -> Result<Vec<Record>, JournalError> {
        let appended = self.0.append(append).await;
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
        appended
    }

    async fn read(&self, run: RunId) -> Result<Arc<Vec<Record>>, JournalError> {
        self.0.read(run).await
    }

    async fn values(&self, run: RunId, after: u64) -> Result<Vec<Vec<u8>>, JournalError> {
        self.0.values(run, after).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        self.0.runs(filter).await
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<Record>> {
        self.0.subscribe()
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash32, JournalError> {
        self.0.put_blob(bytes).await
    }

    async fn blob(&self, hash: Hash32) -> Result<Vec<u8>, JournalError> {
        self.0.blob(hash).await
    }
}

#[tokio::test]
async fn a_follower_from_the_first_record_on_receives_the_end() {
    let bench = Bench::over(Arc::new(Yielding(MemoryJournal::new()))).await;
    let mut records = bench.journal.subscribe();
    let owner = bench.owner.clone();
    let submitted = tokio::spawn(async move { owner.submit(short()).await });
    // The run is in the journal, and nobody drives it yet.
    let run = within(records.recv()).await.unwrap().run;
    assert_eq!(bench.owner.info().runs, []);
    let mut told = bench.owner.follow(run, 0).await.unwrap();
    assert_eq!(all(&mut told).await.1, End::Finished(Outcome::Succeeded));
    assert_eq!(within(submitted).await.unwrap().unwrap(), run);
    bench.end().await;
}
