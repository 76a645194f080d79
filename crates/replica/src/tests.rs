//! Two workspaces reach different tiers at first, and then each other's.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rekindle_engine::{Replica, TakenOver};
use rekindle_journal::contract::{append_to, checkpoint, created, finished, stamp, started};
use rekindle_journal::{Append, Journal, JournalError, MemoryJournal, RunFilter, RunSummary};
use rekindle_model::event::{Event, Outcome, Record, Worker};
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::system::{System, SystemKinds};
use rekindle_model::time::{Clock, Stamp, SystemClock};
use rekindle_plan::load_system;
use rekindle_vault::key::Keyring;
use rekindle_vault::{Created, Remembered, Segment, SegmentHead, SegmentStore, Tier, TierAccess, TierMode};
use serde_json::json;
use tokio::sync::broadcast;

use crate::check::check;
use crate::replicator::{REPLICATE_EVERY, Replication, Replicator};
use crate::writer::Writer;
use crate::{Notice, fence, lag};

/// One vault, in two tiers.
struct Vault {
    dir: tempfile::TempDir,
    keyring: Arc<Keyring>,
}

/// The machine's clock, and the seconds for which a stopped process did not see it move.
#[derive(Default)]
struct Stopped(AtomicU64, Mutex<Option<Meanwhile>>);

/// An action at the n-th reading of the clock.
type Meanwhile = (usize, Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stopped").field(&self.0).finish()
    }
}

impl Clock for Stopped {
    fn now(&self) -> Stamp {
        let mut meanwhile = self.1.lock().unwrap();
        match meanwhile.take() {
            Some((1, happens)) => happens(),
            later => *meanwhile = later.map(|(n, happens)| (n - 1, happens)),
        }
        let (now, seconds) = (SystemClock.now(), self.0.load(Ordering::SeqCst));
        Stamp {
            utc: now.utc + chrono::Duration::seconds(seconds.cast_signed()),
            boot_ns: now.boot_ns + seconds * 1_000_000_000,
            boot_id: now.boot_id,
        }
    }
}

/// A workspace with a journal of its own.
struct Host {
    with: Replication,
    clock: Arc<Stopped>,
    notices: Arc<Mutex<Vec<Notice>>>,
    tiers: PathBuf,
}

impl Vault {
    async fn new() -> Self {
        let vault = Self {
            dir: tempfile::tempdir().unwrap(),
            keyring: Arc::new(Keyring::generate()),
        };
        for tier in ["near", "far"] {
            vault.open(tier, TierMode::Create).await;
        }
        vault
    }

    async fn open(&self, tier: &str, mode: TierMode) -> SegmentStore {
        let url = format!("file://{}/{tier}", self.dir.path().display());
        let keyring = Arc::clone(&self.keyring);
        let opened = Tier::open(tier, &[url], Path::new("/"), keyring, b"wrapped", mode).await;
        opened.unwrap().segment_stores().remove(0)
    }

    fn host(&self, name: &str) -> Host {
        let state = self.dir.path().join(name).join(".rekindle");
        std::fs::create_dir_all(&state).unwrap();
        let clock = Arc::new(Stopped::default());
        let notices = Arc::new(Mutex::new(Vec::new()));
        let noticed = Arc::clone(&notices);
        Host {
            clock: Arc::clone(&clock),
            with: Replication {
                journal: Arc::new(MemoryJournal::new()),
                clock,
                access: Arc::new(TierAccess {
                    base: self.dir.path().join(name),
                    keyring: Arc::clone(&self.keyring),
                    wrapped_key: b"wrapped".to_vec(),
                    remembered: Remembered::of(&state),
                }),
                state,
                read_system,
                notify: Arc::new(move |notice| noticed.lock().unwrap().push(notice)),
                every: REPLICATE_EVERY,
            },
            notices,
            tiers: self.dir.path().to_owned(),
        }
    }
}

fn read_system(yaml: &str) -> Result<System, String> {
    let kinds = SystemKinds {
        sources: rekindle_sources::KEYS,
        tier_urls: rekindle_vault::store::TIER_URLS,
    };
    let loaded = load_system("system.yaml", yaml, kinds).map_err(|faults| faults.to_string())?;
    Ok(loaded.value)
}

impl Host {
    /// Returns the replicator to the tiers that this host reaches.
    fn replicator(&self, tiers: &[&str]) -> Arc<Replicator> {
        self.replicator_that(true, tiers)
    }

    fn replicator_that(&self, drives: bool, tiers: &[&str]) -> Arc<Replicator> {
        let mut yaml =
            "system: s\nroot: .\ncomponents:\n  a: {source: {type: files, path: a}}\ntiers:\n".to_owned();
        for tier in tiers {
            yaml.push_str(&format!(
                "  {tier}: {{url: \"file://{}/{tier}\"}}\n",
                self.tiers.display()
            ));
        }
        let system = read_system(&yaml).unwrap();
        Arc::new(Replicator::of(&self.with, &system, drives).unwrap())
    }

    async fn copy(&self, tiers: &[&str], run: RunId) -> Result<(), TakenOver> {
        self.replicator(tiers).barrier(run, Duration::ZERO).await
    }

    async fn append(&self, run: RunId, seq: u64, epoch: u64, event: Event) {
        let append = append_to(run, seq, epoch, vec![event]);
        self.with.journal.append(append).await.unwrap();
    }

    async fn begin(&self, run: RunId) {
        self.with.journal.put_blob(b"w".to_vec()).await.unwrap();
        self.append(run, 0, 1, created("w")).await;
    }

    fn adopted(&self, epoch: u64, brought: bool) -> Event {
        let worker = Worker {
            host: "here".to_owned(),
            pid: 1,
            version: "0".to_owned(),
        };
        let writer = Writer::of(&self.with.state);
        Event::RunAdopted {
            epoch,
            worker,
            why: "a test".to_owned(),
            workspace: brought.then_some(writer.workspace),
        }
    }

    async fn values(&self, run: RunId) -> Vec<Vec<u8>> {
        self.with.journal.values(run, 0).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_adoption_has_missed_in_another_tier_is_replaced_and_its_writer_is_fenced_there() {
    let vault = Vault::new().await;
    let (a, b, run) = (vault.host("a"), vault.host("b"), RunId::new(&stamp(0)));
    for host in [&a, &b] {
        host.begin(run).await;
    }
    a.copy(&["near", "far"], run).await.unwrap();
    // They part: each reaches one tier.
    a.append(run, 1, 1, started("s", 1)).await;
    a.copy(&["far"], run).await.unwrap();
    b.append(run, 1, 2, b.adopted(2, true)).await;
    b.copy(&["near"], run).await.unwrap();
    b.append(run, 2, 2, started("s", 1)).await;
    // They reach both again.
    b.copy(&["near", "far"], run).await.unwrap();
    for tier in ["near", "far"] {
        let place = vault.open(tier, TierMode::Existing).await;
        let chain = place.chain(run).await.unwrap();
        assert_eq!(chain.values, b.values(run).await, "{tier}");
        assert_eq!(chain.blobs.len(), 1, "{tier}");
    }
    let taken = a.copy(&["far"], run).await.unwrap_err();
    assert_eq!((taken.epoch, &*taken.tier), (2, "far"));
    assert!(fence::refuse(&a.with.state, run).is_err());
    b.copy(&["near", "far"], run).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn if_neither_adoption_is_ahead_both_are_fenced() {
    let vault = Vault::new().await;
    let (a, b, run) = (vault.host("a"), vault.host("b"), RunId::new(&stamp(0)));
    for host in [&a, &b] {
        host.begin(run).await;
    }
    a.copy(&["near", "far"], run).await.unwrap();
    // Its owner was killed and resumed it, more than once, while it reached one tier.
    a.append(run, 1, 2, a.adopted(2, false)).await;
    a.append(run, 2, 3, a.adopted(3, false)).await;
    a.copy(&["far"], run).await.unwrap();
    b.append(run, 1, 2, b.adopted(2, true)).await;
    b.copy(&["near"], run).await.unwrap();
    assert_eq!(
        a.copy(&["near", "far"], run).await.unwrap_err().tier.as_ref(),
        "near"
    );
    assert_eq!(
        b.copy(&["near", "far"], run).await.unwrap_err().tier.as_ref(),
        "far"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_that_is_down_is_owed_what_it_misses_and_the_chain_goes_on_where_it_ended() {
    let vault = Vault::new().await;
    let (a, run) = (vault.host("a"), RunId::new(&stamp(0)));
    a.begin(run).await;
    a.copy(&["near", "far"], run).await.unwrap();
    std::fs::rename(a.tiers.join("far"), a.tiers.join("away")).unwrap();
    // It has held the vault, as the workspace knows.
    let notes = a.with.state.join("tiers");
    std::fs::create_dir_all(&notes).unwrap();
    let known =
        json!({ "locations": { format!("file://{}/far", a.tiers.display()): vault.keyring.repository() } });
    std::fs::write(notes.join("far.json"), known.to_string()).unwrap();
    for seq in 1..4 {
        let event = match seq {
            1 => started("s", 1),
            _ => checkpoint("s", json!(seq)),
        };
        a.append(run, seq, 1, event).await;
        a.copy(&["near", "far"], run).await.unwrap();
    }
    a.replicator(&["near", "far"]).end(run).await.unwrap();
    assert_eq!(lag::runs(&a.with.state), [run]);
    assert!(!a.tiers.join("far").exists());
    std::fs::rename(a.tiers.join("away"), a.tiers.join("far")).unwrap();
    a.replicator(&["near", "far"]).end(run).await.unwrap();
    assert_eq!(lag::runs(&a.with.state), []);
    for (tier, segments) in [("near", 4), ("far", 2)] {
        let place = vault.open(tier, TierMode::Existing).await;
        let chain = place.chain(run).await.unwrap();
        assert_eq!(chain.values, a.values(run).await, "{tier}");
        assert_eq!(chain.tail.map(|tail| tail.head.n), Some(segments), "{tier}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_owner_of_a_pruned_run_is_fenced_although_its_next_number_is_free() {
    let vault = Vault::new().await;
    let (a, b, run) = (vault.host("a"), vault.host("b"), RunId::new(&stamp(0)));
    for host in [&a, &b] {
        host.begin(run).await;
    }
    let replicator = a.replicator(&["near"]);
    replicator.barrier(run, Duration::ZERO).await.unwrap();
    b.append(run, 1, 2, b.adopted(2, true)).await;
    b.copy(&["near"], run).await.unwrap();
    b.append(run, 2, 2, finished(Outcome::Succeeded)).await;
    b.copy(&["near"], run).await.unwrap();
    let place = vault.open("near", TierMode::Existing).await;
    let held = place.held(run).await.unwrap().unwrap();
    assert!(place.close(&held).await.unwrap());
    assert!(
        !place.is_taken(run, 2).await.unwrap(),
        "the stopped one's next number is free"
    );
    a.append(run, 1, 1, started("s", 1)).await;
    // It was stopped for as long as segments stay at least.
    a.clock.0.store(24 * 3600, Ordering::SeqCst);
    let taken = replicator.barrier(run, Duration::ZERO).await.unwrap_err();
    assert_eq!((taken.epoch, taken.run), (2, run));
    assert!(!place.is_taken(run, 2).await.unwrap(), "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_whose_middle_is_damaged_restarts_and_its_writer_goes_on() {
    let vault = Vault::new().await;
    let (a, run) = (vault.host("a"), RunId::new(&stamp(0)));
    a.begin(run).await;
    let driving = a.replicator(&["near"]);
    driving.barrier(run, Duration::ZERO).await.unwrap();
    a.append(run, 1, 1, started("s", 1)).await;
    driving.barrier(run, Duration::ZERO).await.unwrap();
    let first = a.tiers.join(format!("near/journal/{run}/0000000001"));
    std::fs::write(first, "nothing").unwrap();
    let place = vault.open("near", TierMode::Existing).await;
    assert!(place.chain(run).await.is_err());
    let state = &a.with.state;
    lag::add(state, run, place.url(), true).unwrap();
    driving.end(run).await.unwrap();
    assert_eq!(place.chain(run).await.unwrap().values, a.values(run).await);
    assert_eq!(lag::runs(state), []);
    a.append(run, 2, 1, checkpoint("s", json!(1))).await;
    driving.barrier(run, Duration::ZERO).await.unwrap();
    assert_eq!(place.chain(run).await.unwrap().values, a.values(run).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_segment_that_cannot_be_read_fences_a_driver_of_the_run_and_nobody_else() {
    let vault = Vault::new().await;
    let (a, run) = (vault.host("a"), RunId::new(&stamp(0)));
    a.begin(run).await;
    a.copy(&["near", "far"], run).await.unwrap();
    let next = a.tiers.join(format!("far/journal/{run}/0000000002"));
    std::fs::write(&next, "nobody can read this").unwrap();
    let taken = a.copy(&["near", "far"], run).await.unwrap_err();
    assert!(taken.is_by_unknown() && &*taken.tier == "far", "{taken:?}");
    assert!(taken.to_string().contains("cannot be read"), "{taken}");
    fence::refuse(&a.with.state, run).unwrap_err();
    // The same with something to write, and with a segment of a newer program.
    a.append(run, 1, 1, started("s", 1)).await;
    std::fs::write(&next, [b"RKDLSLOT".as_slice(), &[9; 60]].concat()).unwrap();
    assert!(a.copy(&["far"], run).await.unwrap_err().is_by_unknown());

    // If the replica is only caught up, a person is asked, and waiting loses nothing.
    let state = &a.with.state;
    fence::clear(state, run).unwrap();
    let far = a.replicator_that(false, &["far"]);
    far.barrier(run, Duration::ZERO).await.unwrap();
    far.end(run).await.unwrap();
    assert_eq!(lag::runs(state), [run]);
    fence::refuse(state, run).unwrap();
    let notices = a.notices.lock().unwrap().clone();
    assert!(
        matches!(notices[..], [Notice::Behind { asks: true, .. }]),
        "{notices:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_ends_with_our_record_under_a_higher_epoch_is_not_ours() {
    let vault = Vault::new().await;
    let (a, run) = (vault.host("a"), RunId::new(&stamp(0)));
    a.begin(run).await;
    a.copy(&["near"], run).await.unwrap();
    // The first of somebody's segments has pieces of a blob only: its record comes with the next.
    let place = vault.open("near", TierMode::Existing).await;
    let tail = place.tail(run).await.unwrap().unwrap();
    let head = SegmentHead {
        n: 2,
        prev: tail.hash,
        first: tail.head.last + 1,
        epoch: 2,
        ..tail.head
    };
    let segment = Segment {
        head,
        records: Vec::new(),
        blobs: Vec::new(),
    };
    assert!(matches!(place.create(&segment).await.unwrap(), Created::Here(_)));
    let taken = a.copy(&["near"], run).await.unwrap_err();
    assert_eq!(taken.epoch, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_was_cut_in_two_by_a_stop_is_done_again() {
    let vault = Vault::new().await;
    let (a, b, run) = (vault.host("a"), vault.host("b"), RunId::new(&stamp(0)));
    for host in [&a, &b] {
        host.begin(run).await;
    }
    let replicator = a.replicator(&["near"]);
    replicator.barrier(run, Duration::ZERO).await.unwrap();
    b.copy(&["far"], run).await.unwrap();
    b.append(run, 1, 2, b.adopted(2, true)).await;
    b.copy(&["far"], run).await.unwrap();
    // Somebody takes the next segment once it was found free, and before anything follows from that.
    let segment = |tier: &str| a.tiers.join(format!("{tier}/journal/{run}/0000000002"));
    let (from, to, clock) = (segment("far"), segment("near"), Arc::clone(&a.clock));
    let meanwhile = move || {
        std::fs::copy(from, to).unwrap();
        clock.0.store(2, Ordering::SeqCst);
    };
    // The barrier begins; the location is called; it has answered.
    *a.clock.1.lock().unwrap() = Some((3, Box::new(meanwhile)));
    let taken = replicator.barrier(run, Duration::ZERO).await.unwrap_err();
    assert_eq!((taken.epoch, &*taken.tier), (2, "near"));
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_of_a_newer_program_are_no_damage() {
    let vault = Vault::new().await;
    let (a, run) = (vault.host("a"), RunId::new(&stamp(0)));
    a.begin(run).await;
    a.copy(&["near"], run).await.unwrap();
    let file = a.tiers.join(format!("near/journal/{run}/0000000001"));
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[8] = 9;
    std::fs::write(&file, bytes).unwrap();
    let (place, state) = (vault.open("near", TierMode::Existing).await, &a.with.state);
    let checked = check(&place, run, &*a.with.journal, state).await;
    let error = checked.err().unwrap();
    assert!(
        !error.is_damage() && error.to_string().contains("update rekindle"),
        "{error}"
    );
    assert_eq!(lag::runs(state), [], "nothing restarts");
}

/// A journal in which another process continues and copies the run after its segments were read.
struct Driven<'a> {
    host: &'a Host,
    replicator: Arc<Replicator>,
}

#[async_trait]
impl Journal for Driven<'_> {
    async fn append(&self, append: Append) -> Result<Vec<Record>, JournalError> {
        self.host.with.journal.append(append).await
    }
    async fn read(&self, run: RunId) -> Result<Arc<Vec<Record>>, JournalError> {
        self.host.with.journal.read(run).await
    }
    async fn values(&self, run: RunId, after: u64) -> Result<Vec<Vec<u8>>, JournalError> {
        self.host.append(run, 1, 1, started("s", 1)).await;
        self.replicator.barrier(run, Duration::ZERO).await.unwrap();
        self.host.with.journal.values(run, after).await
    }
    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        self.host.with.journal.runs(filter).await
    }
    fn subscribe(&self) -> broadcast::Receiver<Arc<Record>> {
        self.host.with.journal.subscribe()
    }
    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash32, JournalError> {
        self.host.with.journal.put_blob(bytes).await
    }
    async fn blob(&self, hash: Hash32) -> Result<Vec<u8>, JournalError> {
        self.host.with.journal.blob(hash).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_are_written_while_they_are_read_are_not_missing() {
    let vault = Vault::new().await;
    let (a, run) = (vault.host("a"), RunId::new(&stamp(0)));
    a.begin(run).await;
    let replicator = a.replicator(&["near"]);
    replicator.barrier(run, Duration::ZERO).await.unwrap();
    let place = vault.open("near", TierMode::Existing).await;
    let driven = Driven { host: &a, replicator };
    let checked = check(&place, run, &driven, &a.with.state).await;
    let checked = checked.unwrap();
    assert!(place.is_taken(run, 2).await.unwrap());
    assert!(checked.faults.is_empty(), "{:?}", checked.faults);
}
