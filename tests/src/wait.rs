//! Waiting for what another process does.

use std::time::Duration;

use rekindle_model::time::{Clock, SystemClock};

/// How long anything may take that must come; a test waits that long only when something is broken.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Looks until something holds.
///
/// # Panics
/// It does not hold within [`LIMIT`].
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    poll(what, LIMIT, || holds().then_some(()));
}

/// Looks until there is something to return.
///
/// # Panics
/// There is nothing within the limit.
pub fn poll<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = SystemClock.now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        let waited = SystemClock.now().since(&begun).duration;
        assert!(waited < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
