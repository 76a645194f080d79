//! Which thread commits. An append that comes alone is committed on its caller's thread. Appends that come meanwhile
//! queue up, and the writer thread takes all of them as one commit.
//!
//! Waking a thread takes about as long as a sync of a fast disk. So a run that appends alone pays for no change of
//! threads, and many that append at once share a commit. This blocks at most one worker of the runtime, only if the
//! runtime has others, and only on a disk whose last commit was fast.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rekindle_journal::JournalError;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::shared::Shared;
use crate::writer::{Request, Writer};

/// If the last commit took longer, the writer thread makes the next one: the change of threads does not matter then. A
/// sync of an SSD takes a tenth of this, one of a spinning disk ten times as long.
const QUICK: Duration = Duration::from_millis(1);

/// The queue of appends. Dropping it commits them.
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
            // No writer is left. Dropping the request returns an error to its caller.
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

/// Returns whether this thread may wait for a disk, because other threads do its remaining work meanwhile.
///
/// `block_in_place` hands over the worker's other tasks, and with them the thread that continues this run.
/// That would be the change of threads that this queue avoids.
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
            // If the writer panicked, its callers have their error already.
            let _ = thread.join();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits the appends that other threads left, until the queue is closed and empty.
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

    /// Makes one commit from the queue. The caller has set `busy`.
    fn commit(&self) {
        let _ends = Ends {
            inner: self,
            began: now(),
        };
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.commit(|| self.state().waiting.pop_front());
    }
}

/// Lets the next thread commit, even if this commit panics.
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
            // The writer may have stopped half-way: nothing may build on its state.
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
mod tests;
