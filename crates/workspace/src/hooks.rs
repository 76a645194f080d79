//! Where tests plant kill points and effect logs; the product plants nothing.

use std::fmt;
use std::sync::Arc;

use rekindle_engine::Registry;
use rekindle_journal::Journal;

type Wrap<T> = Arc<dyn Fn(T) -> T + Send + Sync>;

/// Wraps the journal and the actions of every operation.
#[derive(Clone)]
pub struct Hooks {
    /// Called once for each journal that is opened.
    pub journal: Wrap<Arc<dyn Journal>>,
    /// Called once for each run that is driven.
    pub registry: Wrap<Registry>,
}

impl Default for Hooks {
    /// Hooks that change nothing.
    fn default() -> Self {
        Self {
            journal: Arc::new(|journal| journal),
            registry: Arc::new(|registry| registry),
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}
