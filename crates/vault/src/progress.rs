//! The progress of a call, for a listener.

use std::fmt;
use std::sync::Arc;

/// Receives the bytes done and, if known, the total. It is called often, from any thread: be quick.
#[derive(Clone, Default)]
pub struct ProgressSink(Option<Arc<Listener>>);

type Listener = dyn Fn(u64, Option<u64>) + Send + Sync;

impl ProgressSink {
    /// Returns a sink that calls `tell(done, total)`.
    pub fn new(tell: impl Fn(u64, Option<u64>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Returns a sink without a listener.
    pub fn none() -> Self {
        Self(None)
    }

    /// Reports progress to the listener.
    pub fn report(&self, done: u64, total: Option<u64>) {
        if let Some(tell) = &self.0 {
            tell(done, total);
        }
    }
}

impl fmt::Debug for ProgressSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressSink")
    }
}
