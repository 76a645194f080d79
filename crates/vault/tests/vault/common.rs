//! A site to test with: a tree in memory, a spool, tiers in temporary folders, and storage that fails on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use rekindle_model::entry::{Entry, EntryKind, TreePath, TreeSource};
use rekindle_model::failure::Failure;
use rekindle_model::id::SnapshotId;
use rekindle_model::time::{Clock, ManualClock, Stamp};
use rekindle_vault::key::{Identity, Keyring};
use rekindle_vault::store::{LocalStore, Store, StoreError};
use rekindle_vault::{
    CancellationToken, CaptureRequest, ProgressSink, Snapshot, SnapshotReader, Spool, Tier, TierMode,
    VaultError, capture,
};
use serde_json::Value;
use tempfile::TempDir;

/// Seconds since 1970 of the first capture.
pub(crate) const START: i64 = 1_800_000_000;

/// A tree in memory; what is read of it is counted.
#[derive(Clone, Default)]
pub(crate) struct Tree {
    entries: BTreeMap<TreePath, (Entry, Vec<u8>)>,
    pub(crate) bytes_opened: Arc<AtomicU64>,
}

impl Tree {
    pub(crate) fn of(files: &[(&str, Vec<u8>)]) -> Self {
        let mut tree = Self::default();
        tree.put("", EntryKind::Dir, Vec::new());
        files
            .iter()
            .for_each(|(path, content)| tree.file(path, content.clone()));
        tree
    }

    pub(crate) fn file(&mut self, path: &str, content: Vec<u8>) {
        self.put(
            path,
            EntryKind::File {
                size: content.len() as u64,
            },
            content,
        );
    }

    pub(crate) fn dir(&mut self, path: &str) {
        self.put(path, EntryKind::Dir, Vec::new());
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.put(
            path,
            EntryKind::Symlink {
                target: target.as_bytes().to_vec(),
            },
            Vec::new(),
        );
    }

    /// Changes a file as of `ctime_s`.
    pub(crate) fn touch(&mut self, path: &str, ctime_s: i64) {
        let (entry, _) = self
            .entries
            .get_mut(&TreePath::new(path.as_bytes()).unwrap())
            .unwrap();
        (entry.mtime_s, entry.ctime_ns) = (ctime_s, ctime_s * 1_000_000_000);
    }

    pub(crate) fn content(&self, path: &str) -> Vec<u8> {
        self.entries[&TreePath::new(path.as_bytes()).unwrap()].1.clone()
    }

    fn put(&mut self, path: &str, kind: EntryKind, content: Vec<u8>) {
        let path = TreePath::new(path.as_bytes()).unwrap();
        let (mtime_s, ctime_ns) = (START - 1000, (START - 1000) * 1_000_000_000);
        let inode = match self.entries.get(&path) {
            Some((entry, _)) => entry.inode,
            None => 1 + self.entries.len() as u64,
        };
        let entry = Entry {
            path: path.clone(),
            kind,
            mode: 0o640,
            uid: 1,
            gid: 1,
            mtime_s,
            mtime_ns: 0,
            ctime_ns,
            inode,
            first_name: None,
            xattrs: Vec::new(),
            names: 1,
        };
        self.entries.insert(path, (entry, content));
    }

    pub(crate) fn source(&self) -> Box<dyn TreeSource> {
        let mut entries: Vec<(Entry, Vec<u8>)> = self.entries.values().cloned().collect();
        entries.reverse();
        Box::new(Walk {
            rest: entries,
            open: Vec::new(),
            opened: Arc::clone(&self.bytes_opened),
        })
    }

    /// Returns the files by path.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let files = self
            .entries
            .values()
            .filter(|(entry, _)| matches!(entry.kind, EntryKind::File { .. }));
        files
            .map(|(entry, content)| (entry.path.display(), content.clone()))
            .collect()
    }
}

struct Walk {
    rest: Vec<(Entry, Vec<u8>)>,
    open: Vec<u8>,
    opened: Arc<AtomicU64>,
}

impl TreeSource for Walk {
    fn next_entry(&mut self) -> Result<Option<Entry>, Failure> {
        Ok(self.rest.pop().map(|(entry, content)| {
            self.open = content;
            entry
        }))
    }

    fn open(&mut self, _entry: &Entry) -> Result<Box<dyn Read + Send>, Failure> {
        self.opened.fetch_add(self.open.len() as u64, Ordering::SeqCst);
        Ok(Box::new(Cursor::new(self.open.clone())))
    }
}

/// Content that no compressor shrinks and no other seed repeats.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) fn stamp(seconds: i64) -> Stamp {
    ManualClock::at(chrono::DateTime::from_timestamp(START + seconds, 0).unwrap()).now()
}

/// One keyring, a spool and a folder for tiers.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) wrapped: Vec<u8>,
    pub(crate) spool: Spool,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let keyring = Arc::new(Keyring::generate());
        let wrapped = keyring.wrap_to(&[Identity::generate().recipient()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(&dir.path().join("spool"), Arc::clone(&keyring))
            .await
            .unwrap();
        Self {
            dir,
            keyring,
            wrapped,
            spool,
        }
    }

    /// Opens a tier with a location for each name, as if by another process: nothing is cached.
    pub(crate) async fn tier(&self, names: &[&str]) -> Arc<Tier> {
        let urls: Vec<String> = names.iter().map(|name| format!("file://./{name}")).collect();
        let keyring = Arc::clone(&self.keyring);
        Arc::new(
            Tier::open(
                names[0],
                &urls,
                self.dir.path(),
                keyring,
                &self.wrapped,
                TierMode::Create,
            )
            .await
            .unwrap(),
        )
    }

    pub(crate) async fn reopen_spool(&mut self) {
        self.spool = Spool::open(&self.dir.path().join("spool"), Arc::clone(&self.keyring))
            .await
            .unwrap();
    }

    pub(crate) fn request(
        &self,
        tree: &Tree,
        at: i64,
        parent: Option<&Snapshot>,
        tiers: &[Arc<Tier>],
    ) -> CaptureRequest {
        CaptureRequest {
            snapshot: SnapshotId::new(&stamp(at)),
            component: "component".to_owned(),
            parent: parent.map(|parent| parent.id),
            source: tree.source(),
            consistency_point: stamp(at),
            captured_by: "a test".to_owned(),
            metadata: Value::Null,
            tiers: tiers.to_vec(),
        }
    }

    pub(crate) async fn capture(
        &self,
        tree: &Tree,
        at: i64,
        parent: Option<&Snapshot>,
        tiers: &[Arc<Tier>],
    ) -> Result<Snapshot, VaultError> {
        let request = self.request(tree, at, parent, tiers);
        capture(
            &self.spool,
            request,
            &ProgressSink::none(),
            &CancellationToken::new(),
        )
        .await
    }

    pub(crate) async fn store(
        &self,
        tier: &Tier,
        snapshot: &Snapshot,
    ) -> Result<rekindle_vault::StoreReport, VaultError> {
        self.store_from(tier, snapshot, &[]).await
    }

    pub(crate) async fn store_from(
        &self,
        tier: &Tier,
        snapshot: &Snapshot,
        others: &[Arc<Tier>],
    ) -> Result<rekindle_vault::StoreReport, VaultError> {
        let (progress, stop) = (ProgressSink::none(), CancellationToken::new());
        rekindle_vault::store(&self.spool, tier, snapshot.id, others, &progress, &stop).await
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside)
    }
}

pub(crate) async fn verify(
    tier: &Tier,
    snapshot: &Snapshot,
    level: rekindle_vault::VerifyLevel,
) -> rekindle_vault::VerifyReport {
    let (progress, stop) = (ProgressSink::none(), CancellationToken::new());
    rekindle_vault::verify(tier, snapshot.id, level, &progress, &stop)
        .await
        .unwrap()
}

pub(crate) const READ: rekindle_vault::VerifyLevel = rekindle_vault::VerifyLevel::Read { share: 1.0 };

/// Reads every file of a snapshot back.
pub(crate) async fn read_back(
    tiers: &[Arc<Tier>],
    id: SnapshotId,
) -> Result<BTreeMap<String, Vec<u8>>, VaultError> {
    let reader = SnapshotReader::open(tiers, id).await?;
    let mut entries = reader.entries();
    let mut files = BTreeMap::new();
    while let Some(record) = entries.next().await? {
        if !matches!(record.entry.kind, EntryKind::File { .. }) {
            continue;
        }
        let mut content = Vec::new();
        for chunk in &record.chunks {
            content.extend(reader.chunk(chunk).await?);
        }
        assert_eq!(record.content.unwrap().0, *blake3::hash(&content).as_bytes());
        files.insert(record.entry.path.display(), content);
    }
    Ok(files)
}

/// Returns the files below a folder, relative to it, with their lengths.
pub(crate) fn listing(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    found
}

/// Returns the one object in a folder.
pub(crate) fn only(root: &Path, folder: &str) -> PathBuf {
    let found: Vec<String> = listing(&root.join(folder)).into_iter().collect();
    assert_eq!(found.len(), 1, "{found:?}");
    root.join(folder).join(&found[0])
}

/// How a store breaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Break {
    /// Nothing is written: the process was killed before.
    Before,
    /// The object is written and nobody is told: the process was killed after.
    After,
    /// The disk is full.
    Full,
}

/// Storage that allows so many writes and then breaks, for good.
#[derive(Debug)]
pub(crate) struct Fragile {
    inner: LocalStore,
    allowed: AtomicU64,
    how: Break,
    pub(crate) written: Mutex<Vec<String>>,
}

impl Fragile {
    pub(crate) fn new(root: &Path, allowed: u64, how: Break) -> Arc<Self> {
        std::fs::create_dir_all(root).unwrap();
        let inner = LocalStore::open(root).unwrap();
        Arc::new(Self {
            inner,
            allowed: AtomicU64::new(allowed),
            how,
            written: Mutex::default(),
        })
    }
}

#[async_trait]
impl Store for Fragile {
    async fn get(&self, path: &str, most: u64) -> Result<Bytes, StoreError> {
        self.inner.get(path, most).await
    }
    async fn get_range(&self, path: &str, offset: u64, len: u64) -> Result<Bytes, StoreError> {
        self.inner.get_range(path, offset, len).await
    }
    async fn len(&self, path: &str) -> Result<Option<u64>, StoreError> {
        self.inner.len(path).await
    }
    async fn create(&self, path: &str, bytes: Bytes) -> Result<bool, StoreError> {
        self.inner.create(path, bytes).await
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
    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        let may = self
            .allowed
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok();
        let (location, path_) = ("a fragile place".to_owned(), path.to_owned());
        if may || matches!(self.how, Break::After) {
            self.inner.put(path, bytes).await?;
            self.written.lock().unwrap().push(path.to_owned());
        }
        match (may, self.how) {
            (true, _) => Ok(()),
            (false, Break::Full) => Err(StoreError::DiskFull {
                location,
                path: path_,
            }),
            (false, _) => {
                let why = "killed".to_owned();
                Err(StoreError::Failed {
                    action: "write",
                    location,
                    path: path_,
                    why,
                })
            }
        }
    }
}
