//! The thread that writes: it gives each record its stamp, in the order in which they become durable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::SecondsFormat;
use rekindle_model::time::{Clock, Stamp};

use super::Served;
use super::store::audit::AuditStore;
use super::store::content::ContentStore;
use super::store::metrics::MetricsStore;
use super::store::{Live, Store, StoreHealth, Turn};
use crate::error::FactoriaError;
use crate::stamps::{AUDIT, CONTENT, METRICS};

/// What could not be written in time is caught up with as long as it is not more than this; after a longer
/// standstill the pace goes on from there, without a burst.
const CATCH_UP: Duration = Duration::from_secs(1);
/// The slowest pace: a record an hour. Nothing asks for less, and no duration overflows.
const SLOWEST: f64 = 1.0 / 3600.0;
/// The fastest pace that is tried, in records a second; what is reached is measured.
const FASTEST: f64 = 1e6;

/// The thread, from outside.
#[derive(Debug)]
pub(super) struct Writer {
    root: PathBuf,
    shared: Arc<Shared>,
    /// Dropping it ends the thread as well.
    stop: Sender<()>,
    thread: JoinHandle<Result<(), FactoriaError>>,
}

/// What the thread and the answers to requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) live: Live,
    /// Records a second that were asked for.
    pub(super) rate: f64,
    pub(super) started: Stamp,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// What was written so far.
#[derive(Clone, Debug, Default)]
struct State {
    records: u64,
    stores: BTreeMap<String, StoreHealth>,
}

/// A store, or why it could not be opened.
type Opened = Result<Box<dyn Store>, FactoriaError>;

/// A store with its name, or nothing where it could not be opened.
struct Slot {
    name: &'static str,
    store: Option<Box<dyn Store>>,
}

impl Shared {
    /// Returns what a system that only answers has: no store.
    pub(super) fn idle(clock: Arc<dyn Clock>) -> Self {
        Self {
            live: Live::default(),
            rate: 0.0,
            started: clock.now(),
            clock,
            state: Mutex::default(),
        }
    }

    /// Returns what was done since the start.
    pub(super) fn served(&self) -> Served {
        let (records, rate, stores) = self.written();
        Served {
            seconds: self.uptime().as_secs_f64(),
            records,
            rate,
            requests: self.live.requests.load(Ordering::Relaxed),
            stores,
        }
    }

    /// Returns how long the system has run.
    pub(super) fn uptime(&self) -> Duration {
        self.clock.now().since(&self.started).duration
    }

    /// Returns what was written since the start: how much, how much a second, and how the stores are.
    pub(super) fn written(&self) -> (u64, f64, BTreeMap<String, StoreHealth>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let seconds = self.uptime().as_secs_f64();
        let rate = if seconds > 0.0 {
            state.records as f64 / seconds
        } else {
            0.0
        };
        (state.records, rate, state.stores)
    }

    fn update(&self, act: impl FnOnce(&mut State)) {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Writer {
    /// Opens the stores and begins to write.
    pub(super) fn start(root: &Path, rate: f64, clock: Arc<dyn Clock>) -> Result<Self, FactoriaError> {
        // The content database first: the audit log tells what it recorded.
        let opened: [(&'static str, Opened); 3] = [
            (CONTENT, ContentStore::open(root).map(boxed)),
            (AUDIT, AuditStore::open(root).map(boxed)),
            (METRICS, MetricsStore::open(root).map(boxed)),
        ];
        let mut state = State::default();
        let mut newest = 0;
        let slots = opened.map(|(name, store)| {
            let mut health = StoreHealth::default();
            let store = match store {
                Ok(store) => {
                    health.newest = store.newest();
                    newest = newest.max(health.newest.unwrap_or(0));
                    Some(store)
                }
                Err(error) => {
                    health.fault = Some(error.to_string());
                    None
                }
            };
            state.stores.insert(name.to_owned(), health);
            Slot { name, store }
        });
        let shared = Arc::new(Shared {
            live: Live::default(),
            rate,
            started: clock.now(),
            clock,
            state: Mutex::new(state),
        });
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("factoria-writer".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || write(slots.into(), newest, &shared, &stopped)
            })
            .map_err(FactoriaError::io("start a thread for", root))?;
        Ok(Self {
            root: root.to_owned(),
            shared,
            stop,
            thread,
        })
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Waits for the record under way, closes the stores and returns what was done.
    pub(super) fn stop(self) -> Result<Served, FactoriaError> {
        let Self {
            root,
            shared,
            stop,
            thread,
        } = self;
        // A thread that has ended hears nothing, which the join then tells.
        let _ = stop.send(());
        match thread.join() {
            Ok(ended) => ended?,
            Err(_) => return Err(FactoriaError::WriterEnded { root }),
        }
        Ok(shared.served())
    }
}

fn boxed<S: Store + 'static>(store: S) -> Box<dyn Store> {
    Box::new(store)
}

/// Writes until told to stop, then closes the stores.
fn write(
    mut slots: Vec<Slot>,
    mut newest: u64,
    shared: &Shared,
    stopped: &Receiver<()>,
) -> Result<(), FactoriaError> {
    let interval = Duration::from_secs_f64(1.0 / shared.rate.clamp(SLOWEST, FASTEST));
    let mut due = Duration::ZERO;
    let mut turn = 0;
    loop {
        let wait = due.saturating_sub(shared.uptime());
        match stopped.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
        }
        let behind = shared.uptime().saturating_sub(due);
        let queue = behind.as_nanos() / interval.as_nanos().max(1);
        let queue = u64::try_from(queue).unwrap_or(u64::MAX);
        shared.live.behind.store(queue, Ordering::Relaxed);
        let count = slots.len();
        let slot = &mut slots[turn % count];
        turn += 1;
        // A stamp is given once, also when the record then cannot be written: a gap in the counter is harmless,
        // since completeness goes by each store's own numbers, and a stamp given twice is not.
        if slot.store.is_some() {
            newest += 1;
            record(slot, newest, shared);
        }
        due += interval;
        if shared.uptime() > due + CATCH_UP {
            due = shared.uptime();
        }
    }
    let mut closed = Ok(());
    for store in slots.into_iter().filter_map(|slot| slot.store) {
        // All are closed, whatever one of them says; the first error is told.
        closed = closed.and(store.close());
    }
    closed
}

fn record(slot: &mut Slot, stamp: u64, shared: &Shared) {
    let Some(store) = slot.store.as_mut() else {
        return;
    };
    let begun = shared.clock.now();
    let at = begun.utc.to_rfc3339_opts(SecondsFormat::Millis, true);
    let written = store.append(&Turn {
        stamp,
        at: at.clone(),
        live: &shared.live,
    });
    let took = shared.clock.now().since(&begun).duration;
    let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    shared.update(|state| {
        let health = state.stores.entry(slot.name.to_owned()).or_default();
        match written {
            Ok(()) => {
                shared.live.write_us.store(took, Ordering::Relaxed);
                health.newest = Some(stamp);
                health.newest_at = Some(at);
                health.written += 1;
                health.fault = None;
                state.records += 1;
            }
            Err(error) => health.fault = Some(error.to_string()),
        }
    });
}
