//! A chain of segments opens as it was written, or names the segment that does not fit.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::store::{LocalStore, Store};
use crate::tier::{Tier, TierMode};

fn run() -> RunId {
    RunId(Uuid::from_u128(7))
}

struct Fixture {
    dir: tempfile::TempDir,
    place: SegmentStore,
}

impl Fixture {
    async fn new() -> Self {
        Self::on(|store| Arc::new(store)).await
    }

    async fn on(storage: impl FnOnce(LocalStore) -> Arc<dyn Store>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = storage(LocalStore::open(dir.path()).unwrap());
        let keyring = Arc::new(Keyring::generate());
        let stores = vec![("file:///here".to_owned(), store)];
        let tier = Tier::open_stores("near", stores, keyring, b"wrapped", TierMode::Create)
            .await
            .unwrap();
        let place = tier.segment_stores().remove(0);
        Self { dir, place }
    }

    fn file(&self, n: u64) -> PathBuf {
        self.dir.path().join(ObjectName::Segment(run(), n).path())
    }

    /// Writes the next segment of the run, with these records.
    async fn next(&self, first: u64, epoch: u64, records: &[&[u8]]) -> Created {
        let segment = self.after(self.place.tail(run()).await.unwrap(), first, epoch, records);
        self.place.create(&segment).await.unwrap()
    }

    fn after(&self, tail: Option<Link>, first: u64, epoch: u64, records: &[&[u8]]) -> Segment {
        Segment {
            head: SegmentHead {
                run: run(),
                n: tail.as_ref().map_or(1, |tail| tail.head.n + 1),
                prev: tail.as_ref().map_or(Hash32::ZERO, |tail| tail.hash),
                first,
                last: first + records.len() as u64 - 1,
                newest: records.last().map_or_else(
                    || tail.map_or(Hash32::ZERO, |tail| tail.head.newest),
                    |record| hash(record),
                ),
                epoch,
                workspace: Uuid::from_u128(1),
                host: "here".to_owned(),
                at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
                workflow: "backup".to_owned(),
                parent: None,
                outcome: None,
            },
            records: records.iter().map(|record| ByteBuf::from(*record)).collect(),
            blobs: Vec::new(),
        }
    }

    async fn fault(&self) -> String {
        self.place.chain(run()).await.unwrap_err().to_string()
    }
}

async fn three() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.next(1, 1, &[b"one"]).await;
    fixture.next(2, 1, &[b"two", b"three"]).await;
    fixture.next(4, 1, &[b"four"]).await;
    fixture
}

#[tokio::test]
async fn a_chain_is_what_was_written() {
    let fixture = three().await;
    let chain = fixture.place.chain(run()).await.unwrap();
    assert_eq!(chain.values, [&b"one"[..], b"two", b"three", b"four"]);
    assert_eq!(chain.tail, fixture.place.tail(run()).await.unwrap());
    assert_eq!(fixture.place.runs().await.unwrap(), [run()]);
    let other = RunId(Uuid::from_u128(8));
    assert_eq!(fixture.place.chain(other).await.unwrap(), Chain::default());
    assert_eq!(fixture.place.tail(other).await.unwrap(), None);
}

#[tokio::test]
async fn of_two_creations_of_the_next_segment_one_succeeds() {
    let fixture = three().await;
    let tail = fixture.place.tail(run()).await.unwrap();
    let mine = fixture.after(tail.clone(), 5, 2, &[b"mine"]);
    let theirs = fixture.after(tail, 5, 2, &[b"theirs"]);
    let (mine, theirs) = futures::join!(fixture.place.create(&mine), fixture.place.create(&theirs));
    let taken = [mine.unwrap(), theirs.unwrap()];
    assert_eq!(taken.iter().filter(|one| **one == Created::Taken).count(), 1);
    assert!(fixture.place.is_taken(run(), 4).await.unwrap());
    assert!(!fixture.place.is_taken(run(), 5).await.unwrap());
    assert!(fixture.place.is_exclusive().await.unwrap());
}

#[tokio::test]
async fn every_flipped_byte_and_every_cut_of_a_segment_is_named() {
    let fixture = three().await;
    let whole = std::fs::read(fixture.file(2)).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x04;
        for bytes in [&changed[..], &whole[..at]] {
            std::fs::write(fixture.file(2), bytes).unwrap();
            let told = fixture.fault().await;
            assert!(
                told.starts_with("segment 2 of run 00000000-"),
                "byte {at}: {told}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_far_too_long_for_a_segment_is_named_and_not_read_into_memory() {
    let fixture = three().await;
    // More than any machine has; it takes no room on the disk.
    let file = std::fs::File::options()
        .write(true)
        .open(fixture.file(3))
        .unwrap();
    file.set_len(1 << 42).unwrap();
    let told = fixture.fault().await;
    assert!(
        told.starts_with("segment 3 of run") && told.contains("bytes"),
        "{told}"
    );
    assert!(fixture.place.tail(run()).await.unwrap_err().is_damage());
}

#[tokio::test]
async fn a_segment_that_is_gone_swapped_replaced_or_of_another_run_is_named() {
    let fixture = three().await;
    std::fs::rename(fixture.file(2), fixture.dir.path().join("kept")).unwrap();
    assert!(fixture.fault().await.starts_with("segment 2 of run"));
    assert!(fixture.fault().await.contains("is missing"));
    // Another number's segment in its place.
    std::fs::copy(fixture.file(3), fixture.file(2)).unwrap();
    assert!(
        fixture
            .fault()
            .await
            .contains("seal of the segment does not open")
    );
    // Another run's segment of the same number.
    let other = RunId(Uuid::from_u128(8));
    let mut segment = fixture.after(None, 1, 1, &[b"other"]);
    segment.head.run = other;
    fixture.place.create(&segment).await.unwrap();
    let one = fixture.dir.path().join(ObjectName::Segment(other, 1).path());
    let first = std::fs::read(fixture.file(1)).unwrap();
    std::fs::copy(one, fixture.file(1)).unwrap();
    assert!(fixture.fault().await.starts_with("segment 1 of run"));
    std::fs::write(fixture.file(1), first).unwrap();
    // A well-sealed segment that names another one before it.
    std::fs::remove_file(fixture.file(2)).unwrap();
    let mut forged = fixture.after(None, 2, 1, &[b"two", b"three"]);
    forged.head.n = 2;
    forged.head.prev = hash(b"another");
    fixture.place.create(&forged).await.unwrap();
    let told = fixture.fault().await;
    assert!(
        told.starts_with("segment 2 of run") && told.contains("another segment before it"),
        "{told}"
    );
    std::fs::rename(fixture.dir.path().join("kept"), fixture.file(2)).unwrap();
    assert_eq!(fixture.place.chain(run()).await.unwrap().values.len(), 4);
}

#[tokio::test]
async fn a_segment_replaces_records_only_under_a_higher_epoch() {
    let fixture = three().await;
    fixture.next(3, 2, &[b"other three"]).await;
    let chain = fixture.place.chain(run()).await.unwrap();
    assert_eq!(chain.values, [&b"one"[..], b"two", b"other three"]);
    fixture.next(3, 2, &[b"again"]).await;
    assert!(fixture.fault().await.contains("its epoch is 2, after epoch 2"));
    let gap = three().await;
    gap.next(6, 1, &[b"six"]).await;
    assert!(gap.fault().await.contains("begins with record 6, after record 4"));
}

#[tokio::test]
async fn a_large_blob_is_split_and_comes_back() {
    let fixture = Fixture::new().await;
    let blob: Vec<u8> = (0..5 * SEGMENT_BYTES / 2).map(|at| (at % 251) as u8).collect();
    let small = b"small".to_vec();
    let records = [
        (4, vec![(hash(&small), small.clone())]),
        (3000, vec![(hash(&blob), blob.clone()), (hash(b""), Vec::new())]),
        (4000, Vec::new()),
    ];
    let plans = plan(&records);
    assert_eq!(
        plans.iter().map(|plan| plan.records).collect::<Vec<_>>(),
        [1, 0, 2]
    );
    let values = [&b"r001"[..], &[1; 3000], &[2; 4000]];
    let mut next = 0;
    for part in plans {
        let size: usize = part.blobs.iter().map(|blob| blob.bytes.len()).sum();
        assert!(size <= SEGMENT_BYTES);
        let tail = fixture.place.tail(run()).await.unwrap();
        let mut segment = fixture.after(tail, next as u64 + 1, 1, &values[next..next + part.records]);
        segment.blobs = part.blobs;
        next += part.records;
        assert!(matches!(
            fixture.place.create(&segment).await.unwrap(),
            Created::Here(_)
        ));
    }
    let chain = fixture.place.chain(run()).await.unwrap();
    assert_eq!(chain.values, values);
    assert_eq!(
        chain.blobs.into_values().map(|blob| blob.len()).sum::<usize>(),
        blob.len() + small.len()
    );
}

#[tokio::test]
async fn a_full_segment_of_records_is_split() {
    let records: Vec<(usize, Vec<_>)> = (0..600).map(|_| (4096, Vec::new())).collect();
    let plans = plan(&records);
    assert_eq!(plans.iter().map(|plan| plan.records).sum::<usize>(), 600);
    assert!(plans.iter().all(|plan| plan.records * 4096 <= SEGMENT_BYTES));
    assert!(plan(&[]).is_empty());
}

/// Storage that cannot create a name exclusively, and admits that or does not.
#[derive(Debug)]
struct Lax {
    inner: LocalStore,
    says_so: bool,
}

#[async_trait]
impl Store for Lax {
    async fn get(&self, path: &str, most: u64) -> Result<Bytes, StoreError> {
        self.inner.get(path, most).await
    }
    async fn get_range(&self, path: &str, offset: u64, len: u64) -> Result<Bytes, StoreError> {
        self.inner.get_range(path, offset, len).await
    }
    async fn len(&self, path: &str) -> Result<Option<u64>, StoreError> {
        self.inner.len(path).await
    }
    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.inner.put(path, bytes).await
    }
    async fn create(&self, path: &str, bytes: Bytes) -> Result<bool, StoreError> {
        if self.says_so {
            return Err(StoreError::NotExclusive {
                location: "here".to_owned(),
                path: path.to_owned(),
                why: "a test".to_owned(),
            });
        }
        self.inner.put(path, bytes).await?;
        Ok(true)
    }
    async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.inner.folders(folder).await
    }
    async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, StoreError> {
        self.inner.list(folder).await
    }
    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.inner.delete(path).await
    }
}

#[tokio::test]
async fn a_location_that_lets_two_create_one_object_is_found_out() {
    for says_so in [true, false] {
        let fixture = Fixture::on(|inner| Arc::new(Lax { inner, says_so })).await;
        assert!(!fixture.place.is_exclusive().await.unwrap(), "{says_so}");
        assert!(matches!(fixture.next(1, 1, &[b"one"]).await, Created::Here(_)));
        if says_so {
            // Then it looks before it writes.
            let again = fixture.after(None, 1, 1, &[b"other"]);
            assert_eq!(fixture.place.create(&again).await.unwrap(), Created::Taken);
        }
        let chain = fixture.place.chain(run()).await.unwrap();
        assert_eq!(chain.values, [b"one"]);
    }
}

/// The segments that hold a run's records, from the beginning of its chain.
async fn held_in(fixture: &Fixture) -> Vec<u64> {
    let walked = fixture.place.walk(run()).await.unwrap();
    assert!(walked.faults.is_empty(), "{:?}", walked.faults);
    walked.records.into_iter().map(|(_, n)| n).collect()
}

/// Begins the chain again after its last number, with these records.
async fn restart(fixture: &Fixture, epoch: u64, records: &[&[u8]]) -> Created {
    let mut segment = fixture.after(None, 1, epoch, records);
    segment.head.n = fixture.place.walk(run()).await.unwrap().last + 1;
    fixture.place.create(&segment).await.unwrap()
}

#[tokio::test]
async fn a_restarted_chain_retires_what_is_damaged_or_missing_before_it() {
    let records: [&[u8]; 4] = [b"one", b"two", b"three", b"four"];
    for lost in [&[1][..], &[2], &[3], &[1, 3], &[1, 2, 3]] {
        for gone in [true, false] {
            let fixture = three().await;
            for n in lost {
                match gone {
                    true => std::fs::remove_file(fixture.file(*n)).unwrap(),
                    false => std::fs::write(fixture.file(*n), b"nothing").unwrap(),
                }
            }
            let walked = fixture.place.walk(run()).await.unwrap();
            assert_eq!(walked.ends_readably(), gone || !lost.contains(&3), "{lost:?}");
            if !gone || !lost.contains(&3) {
                fixture.fault().await;
            }
            assert!(matches!(restart(&fixture, 1, &records).await, Created::Here(_)));
            let chain = fixture.place.chain(run()).await.unwrap();
            assert_eq!(chain.values, records, "{lost:?}");
            let tail = fixture.place.tail(run()).await.unwrap();
            assert_eq!(chain.tail, tail);
            let n = tail.unwrap().head.n;
            assert_eq!(held_in(&fixture).await, [n; 4]);
            // The chain continues from there, and the walk finds the faults from there on.
            fixture.next(5, 1, &[b"five"]).await;
            assert_eq!(fixture.place.chain(run()).await.unwrap().values.len(), 5);
            std::fs::write(fixture.file(n), b"nothing").unwrap();
            fixture.fault().await;
        }
    }
}

#[tokio::test]
async fn a_chain_restarts_under_no_lower_epoch() {
    let fixture = three().await;
    fixture.next(5, 3, &[b"adopted"]).await;
    std::fs::write(fixture.file(2), b"nothing").unwrap();
    restart(&fixture, 2, &[b"one"]).await;
    assert!(fixture.fault().await.contains("its epoch is 2, after epoch 3"));
}

#[tokio::test]
async fn restarting_a_chain_competes_with_continuing_it() {
    let fixture = three().await;
    let tail = fixture.place.tail(run()).await.unwrap();
    let zombie = fixture.after(tail, 5, 1, &[b"zombie"]);
    std::fs::write(fixture.file(2), b"nothing").unwrap();
    assert!(matches!(restart(&fixture, 2, &[b"one"]).await, Created::Here(_)));
    assert_eq!(fixture.place.create(&zombie).await.unwrap(), Created::Taken);
    assert_eq!(fixture.place.chain(run()).await.unwrap().values, [b"one"]);
}

/// Three segments; the last one ends the run.
async fn over() -> Fixture {
    let fixture = three().await;
    let mut segment = fixture.after(fixture.place.tail(run()).await.unwrap(), 5, 1, &[b"end"]);
    segment.head.outcome = Some(Outcome::Succeeded);
    fixture.place.create(&segment).await.unwrap();
    fixture
}

#[tokio::test]
async fn of_a_run_that_is_pruned_one_segment_stays_that_says_so_and_takes_the_next_number() {
    let fixture = over().await;
    let before = fixture.place.tail(run()).await.unwrap();
    let late = fixture.after(before.clone(), 6, 2, &[b"reopened"]);
    let held = fixture.place.held(run()).await.unwrap().unwrap();
    assert_eq!((held.segments, Some(&held.tail)), (4, before.as_ref()));
    assert!(fixture.place.close(&held).await.unwrap());
    assert_eq!(fixture.place.numbers(run()).await.unwrap(), [5]);
    let walked = fixture.place.walk(run()).await.unwrap();
    assert!(walked.closed && walked.faults.is_empty() && walked.records.is_empty());
    let tail = fixture.place.tail(run()).await.unwrap().unwrap().head;
    let end = before.unwrap().head;
    assert_eq!(
        (tail.last, tail.newest, tail.outcome),
        (end.last, end.newest, end.outcome)
    );
    assert!(matches!(
        fixture.place.chain(run()).await.unwrap_err(),
        SegmentError::Removed { .. }
    ));
    assert_eq!(fixture.place.create(&late).await.unwrap(), Created::Taken);
    let left = fixture.place.held(run()).await.unwrap().unwrap();
    assert_eq!(left.segments, 0);
    // To continue after it, the chain must begin again.
    fixture.next(6, 2, &[b"reopened"]).await;
    assert!(fixture.fault().await.contains("were removed"));
    restart(&fixture, 2, &[b"one"]).await;
    assert_eq!(fixture.place.chain(run()).await.unwrap().values, [b"one"]);
}

#[tokio::test]
async fn nothing_is_removed_of_a_run_that_somebody_goes_on_with_meanwhile() {
    let fixture = over().await;
    let held = fixture.place.held(run()).await.unwrap().unwrap();
    fixture.next(6, 2, &[b"reopened"]).await;
    assert!(!fixture.place.close(&held).await.unwrap());
    assert_eq!(fixture.place.chain(run()).await.unwrap().values.len(), 6);
}

#[tokio::test]
async fn pruning_that_was_cut_off_is_finished() {
    let fixture = over().await;
    let held = fixture.place.held(run()).await.unwrap().unwrap();
    let third = std::fs::read(fixture.file(3)).unwrap();
    assert!(fixture.place.close(&held).await.unwrap());
    std::fs::write(fixture.file(3), third).unwrap();
    assert!(fixture.place.walk(run()).await.unwrap().faults.is_empty());
    let held = fixture.place.held(run()).await.unwrap().unwrap();
    assert_eq!(held.segments, 1);
    assert!(fixture.place.close(&held).await.unwrap());
    assert_eq!(fixture.place.numbers(run()).await.unwrap(), [5]);
}

/// Paths with their lengths.
type Listing = Vec<(String, u64)>;

/// Storage whose next listing is outdated.
#[derive(Debug)]
struct Late {
    inner: LocalStore,
    listed: Arc<Mutex<Option<Listing>>>,
}

#[async_trait]
impl Store for Late {
    async fn get(&self, path: &str, most: u64) -> Result<Bytes, StoreError> {
        self.inner.get(path, most).await
    }
    async fn get_range(&self, path: &str, offset: u64, len: u64) -> Result<Bytes, StoreError> {
        self.inner.get_range(path, offset, len).await
    }
    async fn len(&self, path: &str) -> Result<Option<u64>, StoreError> {
        self.inner.len(path).await
    }
    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.inner.put(path, bytes).await
    }
    async fn create(&self, path: &str, bytes: Bytes) -> Result<bool, StoreError> {
        self.inner.create(path, bytes).await
    }
    async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.inner.folders(folder).await
    }
    async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let old = self.listed.lock().unwrap().take();
        match old {
            Some(old) => Ok(old),
            None => self.inner.list(folder).await,
        }
    }
    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.inner.delete(path).await
    }
}

#[tokio::test]
async fn what_is_pruned_once_it_was_listed_is_not_missing() {
    let listed = Arc::new(Mutex::new(None));
    let fixture = Fixture::on(|inner| {
        Arc::new(Late {
            inner,
            listed: Arc::clone(&listed),
        })
    })
    .await;
    fixture.next(1, 1, &[b"one"]).await;
    let mut over = fixture.after(fixture.place.tail(run()).await.unwrap(), 2, 1, &[b"two"]);
    over.head.outcome = Some(Outcome::Succeeded);
    fixture.place.create(&over).await.unwrap();
    let old: Listing = [1, 2].map(|n| (ObjectName::Segment(run(), n).path(), 9)).into();
    let held = fixture.place.held(run()).await.unwrap().unwrap();
    assert!(fixture.place.close(&held).await.unwrap());
    *listed.lock().unwrap() = Some(old);
    let walked = fixture.place.walk(run()).await.unwrap();
    assert!(walked.faults.is_empty() && walked.closed, "{walked:?}");
}
