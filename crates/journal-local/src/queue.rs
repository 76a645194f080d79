//! Who commits: whoever appends while nobody else does, on their own thread; else the writer thread, which takes all
//! that has queued up meanwhile as one commit.
//!
//! Waking a thread takes about as long as a sync of a fast disk. So a run that appends alone pays for neither the way
//! to another thread nor the way back, and many that append at once share a commit. Blocked is at most one worker of
//! the runtime, where it has others, and only on a disk that has just shown that it is fast.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rekindle_journal::JournalError;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::shared::Shared;
use crate::writer::{Request, Writer};

/// A commit that takes longer is left to the writer thread, and the way there does not matter. A sync of an SSD takes
/// a tenth of it, one of a spinning disk ten times as long.
const QUICK: Duration = Duration::from_millis(1);

/// The way to the writer. Dropping it commits what is queued.
pub(crate) struct Queue {
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

struct Inner {
    shared: Arc<Shared>,
    state: Mutex<State>,
    changed: Condvar,
    /// Locked only by the thread that has set `busy`, so no thread waits for it.
    writer: Mutex<Writer>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    /// Whether a thread is committing.
    busy: bool,
    /// How long the last commit took.
    took: Option<Duration>,
    closing: bool,
    /// Whether a commit has panicked: there is none after it.
    broken: bool,
}

impl Queue {
    pub(crate) fn start(shared: Arc<Shared>, writer: Writer) -> Result<Self, JournalError> {
        let log_dir = shared.log_dir.clone();
        let inner = Arc::new(Inner {
            shared,
            state: Mutex::default(),
            changed: Condvar::new(),
            writer: Mutex::new(writer),
        });
        let follower = Arc::clone(&inner);
        let thread = thread::Builder::new()
            .name("journal-writer".into())
            .spawn(move || follower.follow())
            .map_err(|error| JournalError::io("start the writer of", &log_dir, error))?;
        Ok(Self {
            inner,
            thread: Some(thread),
        })
    }

    /// Queues an append, and commits it on this thread if no other thread is committing.
    pub(crate) fn push(&self, request: Request) {
        let mut state = self.inner.state();
        if state.broken {
            // No writer is left. Dropping the request gives its caller an error.
            return;
        }
        state.waiting.push_back(request);
        if state.busy {
            return;
        }
        if !(state.took.is_some_and(|took| took < QUICK) && may_block()) {
            drop(state);
            self.inner.changed.notify_one();
            return;
        }
        state.busy = true;
        drop(state);
        self.inner.commit();
    }

    /// Keeps all threads from committing, and returns the writer.
    #[cfg(test)]
    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether this thread may wait for a disk: others go on with what else it would have done.
///
/// `block_in_place` would give the rest of the worker's tasks away, and with them the thread that goes on with the
/// run: that is the way to another thread again.
fn may_block() -> bool {
    Handle::try_current().is_ok_and(|runtime| {
        runtime.runtime_flavor() == RuntimeFlavor::MultiThread && runtime.metrics().num_workers() > 1
    })
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.inner.state().closing = true;
        self.inner.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // Those who waited for a writer that panicked have got their error.
            let _ = thread.join();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits what others have left, until the queue is closed and empty.
    fn follow(&self) {
        loop {
            let mut state = self.state();
            while state.busy || (state.waiting.is_empty() && !state.closing) {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.waiting.is_empty() {
                return;
            }
            state.busy = true;
            drop(state);
            self.commit();
        }
    }

    /// Makes one commit of what is queued. The caller has set `busy`.
    fn commit(&self) {
        let _ends = Ends {
            inner: self,
            began: now(),
        };
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.commit(|| self.state().waiting.pop_front());
    }
}

/// Lets the next one commit, however this commit ends.
struct Ends<'a> {
    inner: &'a Inner,
    began: Instant,
}

#[expect(
    clippy::disallowed_methods,
    reason = "how fast the disk is decides who commits, and nothing else"
)]
fn now() -> Instant {
    Instant::now()
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            // The writer may have stopped half-way: nothing may build on what it holds.
            self.inner
                .shared
                .poison(&JournalError::Backend("the writer has ended unexpectedly".into()));
        }
        let mut state = self.inner.state();
        if thread::panicking() {
            state.broken = true;
            // The writer thread may be the one that panics. Dropping the requests gives their callers an error.
            state.waiting.clear();
        }
        state.busy = false;
        state.took = Some(self.began.elapsed());
        let more = state.closing || !state.waiting.is_empty();
        drop(state);
        if more {
            self.inner.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Wake, Waker};

    use rekindle_model::id::RunId;
    use uuid::Uuid;

    use crate::journal::LocalJournal;
    use crate::open::OpenOptions;
    use rekindle_journal::Journal;
    use rekindle_journal::contract::{append_to, created};
    use std::sync::Arc;
    use std::time::Duration;

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
}
