//! Restoring from content in memory: what comes back, what a kill costs, and what a hostile stream can do.
//!
//! Trees are made in one folder, captured by reading them, and restored into another. A kill is a checkpoint
//! that cannot be recorded, a store that never answers again (the call is dropped), or a stop token. After
//! each, the test calls again with the newest recorded checkpoint, as a resumed run would.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rekindle_model::entry::{DeviceNumber, Entry, EntryKind, TreePath, Xattr};
use rekindle_model::failure::Failure;
use rekindle_model::id::{Hash32, SnapshotId};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::object::{ChunkId, ChunkRef};
use crate::progress::ProgressSink;
use crate::reader::{ChunkPlace, Fetched};
use crate::snapshot::EntryRecord;

mod hostile;
mod lost;
mod metadata;
mod resumed;
mod whole;

const CHUNK: usize = 4096;

/// The behaviour of a store after so many answers.
#[derive(Clone, Copy)]
enum After {
    Hang,
    Refuse,
}

#[derive(Default)]
struct Memory {
    records: Arc<Vec<EntryRecord>>,
    chunks: HashMap<ChunkId, Vec<u8>>,
    lost: HashSet<ChunkId>,
    after: Option<(usize, After)>,
    asked: AtomicUsize,
    order: Mutex<Vec<ChunkPlace>>,
}

struct MemoryCursor(Arc<Vec<EntryRecord>>, usize);

#[async_trait]
impl EntryCursor for MemoryCursor {
    async fn next(&mut self) -> Result<Option<EntryRecord>, ContentError> {
        self.1 += 1;
        Ok(self.0.get(self.1 - 1).cloned())
    }

    fn position(&self) -> u64 {
        self.1 as u64
    }
}

#[async_trait]
impl ContentStore for Memory {
    fn cursor(&self, position: u64) -> Box<dyn EntryCursor> {
        Box::new(MemoryCursor(Arc::clone(&self.records), position as usize))
    }

    async fn chunk(&self, chunk: &ChunkRef) -> Result<Fetched, ContentError> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        match self.after {
            Some((n, After::Hang)) if asked >= n => std::future::pending().await,
            Some((n, After::Refuse)) if asked >= n => {
                return Err(ContentError::Unavailable("gone".to_owned()));
            }
            _ => {}
        }
        self.order.lock().unwrap().extend(self.place(chunk));
        match self.lost.contains(&chunk.id) {
            true => Err(ContentError::Lost(format!("chunk {} is in no tier", chunk.id))),
            false => Ok(Fetched {
                bytes: self.chunks[&chunk.id].clone(),
                tier: "near".into(),
                missed: Vec::new(),
            }),
        }
    }

    fn listed_from(&self) -> BTreeMap<Arc<str>, Vec<String>> {
        BTreeMap::new()
    }

    fn place(&self, chunk: &ChunkRef) -> Option<ChunkPlace> {
        let pack = Hash32([chunk.id.0[0] % 3; 32]);
        Some(ChunkPlace {
            location: 0,
            pack,
            offset: u32::from(chunk.id.0[1]),
        })
    }

    fn bytes(&self) -> u64 {
        self.chunks.values().map(|bytes| bytes.len() as u64).sum()
    }
}

impl Memory {
    /// Reads a tree as a capture would.
    fn of(root: &Path) -> Self {
        let mut memory = Self::default();
        let mut found = BTreeMap::new();
        gather(root, &[], &mut found);
        let mut records = Vec::new();
        let mut firsts = HashMap::new();
        for path in found.into_keys() {
            let at = at(root, &path);
            let meta = at.symlink_metadata().unwrap();
            let (mut content, mut chunks) = (None, Vec::new());
            let kind = if meta.is_dir() {
                EntryKind::Dir
            } else if meta.is_symlink() {
                EntryKind::Symlink {
                    target: fs::read_link(&at).unwrap().as_os_str().as_bytes().to_vec(),
                }
            } else if meta.file_type().is_fifo() {
                EntryKind::Fifo
            } else if meta.file_type().is_char_device() {
                EntryKind::CharDevice(DeviceNumber {
                    major: rustix::fs::major(meta.rdev()),
                    minor: rustix::fs::minor(meta.rdev()),
                })
            } else {
                let bytes = fs::read(&at).unwrap();
                content = Some(Hash32(*blake3::hash(&bytes).as_bytes()));
                for piece in bytes.chunks(CHUNK) {
                    chunks.push(memory.keep(piece));
                }
                EntryKind::File {
                    size: bytes.len() as u64,
                }
            };
            let mut first_name = None;
            if meta.is_file() && meta.nlink() > 1 {
                first_name = firsts.get(&meta.ino()).cloned();
                firsts.entry(meta.ino()).or_insert_with(|| path.clone());
            }
            let entry = Entry {
                path,
                kind,
                mode: meta.mode() & 0o7777,
                uid: meta.uid(),
                gid: meta.gid(),
                mtime_s: meta.mtime(),
                mtime_ns: meta.mtime_nsec() as u32,
                ctime_ns: 0,
                inode: meta.ino(),
                first_name,
                xattrs: xattrs_of(&at),
                names: meta.nlink(),
            };
            records.push(EntryRecord {
                entry,
                content,
                chunks,
            });
        }
        memory.records = Arc::new(records);
        memory
    }

    fn keep(&mut self, bytes: &[u8]) -> ChunkRef {
        let id = ChunkId(*blake3::hash(bytes).as_bytes());
        self.chunks.insert(id, bytes.to_vec());
        ChunkRef {
            id,
            len: bytes.len() as u32,
        }
    }

    fn again(&self) -> Self {
        Self {
            records: Arc::clone(&self.records),
            chunks: self.chunks.clone(),
            lost: self.lost.clone(),
            ..Self::default()
        }
    }
}

fn xattrs_of(path: &Path) -> Vec<Xattr> {
    let mut list = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut list).unwrap();
    list.truncate(length);
    let read = |name: &[u8]| {
        let mut value = vec![0; Xattr::VALUE_MAX];
        let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        value.truncate(length);
        let name = name.to_vec();
        Xattr { name, value }
    };
    Xattr::kept_names(&list).into_iter().map(read).collect()
}

fn gather(root: &Path, inside: &[u8], found: &mut BTreeMap<TreePath, ()>) {
    found.insert(TreePath::new(inside).unwrap(), ());
    let here = root.join(OsStr::from_bytes(inside));
    if !here.symlink_metadata().unwrap().is_dir() {
        return;
    }
    for name in fs::read_dir(here).unwrap() {
        let mut path = inside.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.unwrap().file_name().as_bytes());
        gather(root, &path, found);
    }
}

fn at(root: &Path, path: &TreePath) -> PathBuf {
    if path.is_root() {
        root.to_owned()
    } else {
        root.join(path.as_path())
    }
}

/// Bytes that repeat nowhere, so that files share no chunk by accident.
fn bytes(len: usize, seed: &str) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new()
        .update(seed.as_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

fn put(root: &Path, name: &str, content: &[u8], mode: u32) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

fn date(path: &Path, seconds: i64, nanos: i64) {
    let time = rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: nanos,
    };
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).unwrap();
}

/// Every awkward entry in one tree.
fn nasty() -> TempDir {
    let room = tempfile::tempdir().unwrap();
    let root = &room.path().join("tree");
    put(root, "plain.md", b"# hello\n", 0o644);
    put(root, "empty", b"", 0o600);
    put(root, "closed", b"nobody may", 0o000);
    put(root, "readonly", &bytes(9000, "ro"), 0o444);
    put(root, "setuid", b"#!", 0o4755);
    put(root, "a/b/c.bin", &bytes(3 * CHUNK, "c"), 0o640);
    put(root, "a-b/next to a", &bytes(10, "n"), 0o640);
    let mut sparse = vec![0; 40 * CHUNK];
    sparse[20 * CHUNK + 7] = 1;
    put(root, "sparse.img", &sparse, 0o644);
    let strange = OsStr::from_bytes(b"\xff\xfe not text\n");
    fs::write(root.join(strange), b"name").unwrap();
    fs::create_dir_all(root.join("hollow/inner")).unwrap();
    fs::create_dir_all(root.join("sealed/inside")).unwrap();
    put(root, "sealed/inside/file", b"deep", 0o600);
    let deep = vec!["d"; 120].join("/");
    put(root, &format!("{deep}/bottom"), b"here", 0o644);
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("../../nowhere", root.join("a/dangling")).unwrap();
    symlink("b", root.join("a/to-folder")).unwrap();
    for (n, name) in [
        "plain.md",
        "a/b/c.bin",
        "absolute",
        "a/dangling",
        "hollow/inner",
        "a/b",
    ]
    .iter()
    .enumerate()
    {
        date(&root.join(name), 1_000_000_000 + n as i64, 123_456_789 + n as i64);
    }
    date(&root.join("empty"), -5, 7);
    for (name, mode) in [("sealed/inside", 0o000), ("sealed", 0o555), ("hollow", 0o1777)] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    date(root, 999_999_999, 999_999_999);
    room
}

/// Many files of several chunks each, and one that is larger than a window.
fn many() -> TempDir {
    let room = tempfile::tempdir().unwrap();
    let root = &room.path().join("tree");
    for n in 0..12 {
        put(
            root,
            &format!("f{}/file-{n:02}", n % 3),
            &bytes(2 * CHUNK + n, &n.to_string()),
            0o644,
        );
    }
    put(root, "f1/large", &bytes(15 * CHUNK + 5, "large"), 0o644);
    room
}

fn request(root: &Path) -> RestoreRequest {
    RestoreRequest {
        snapshot: SnapshotId(uuid::Uuid::from_u128(7)),
        root: root.into(),
        include: Vec::new(),
        checkpoint: None,
        window: Window {
            bytes: 4 * CHUNK as u64,
            entries: 8,
        },
        prefer: None,
        owners: true,
    }
}

/// Restores, and keeps every checkpoint; fails to record the one numbered `refuse`.
async fn run(
    store: &Memory,
    request: RestoreRequest,
    refuse: Option<usize>,
) -> (Result<RestoreReport, RestoreError>, Vec<RestoreCheckpoint>) {
    let kept = Mutex::new(Vec::new());
    let on_window = |checkpoint: RestoreCheckpoint| {
        let mut kept = kept.lock().unwrap();
        let refused = refuse == Some(kept.len());
        if !refused {
            // As the journal keeps it.
            let text = serde_json::to_string(&checkpoint).unwrap();
            kept.push(serde_json::from_str(&text).unwrap());
        }
        async move {
            if refused {
                Err(Failure::transient("killed", "killed"))
            } else {
                Ok(())
            }
        }
    };
    let result = restore_from(
        store,
        request,
        &ProgressSink::none(),
        on_window,
        &CancellationToken::new(),
    )
    .await;
    (result, kept.into_inner().unwrap())
}

async fn assert_whole(store: &Memory, root: &Path) {
    let found = inspect_from(store, &request(root), &CancellationToken::new())
        .await
        .unwrap();
    assert!(found.is_whole(), "{found:?}");
    let (mut there, mut expected) = (BTreeMap::new(), Vec::new());
    gather(root, &[], &mut there);
    expected.extend(store.records.iter().map(|record| record.entry.path.clone()));
    assert_eq!(
        there.into_keys().collect::<Vec<_>>(),
        expected,
        "something else stands in the root"
    );
}

fn entry(path: &str, kind: EntryKind) -> Entry {
    let path = TreePath::new(path.as_bytes()).unwrap();
    Entry {
        path,
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime_s: 1,
        mtime_ns: 0,
        ctime_ns: 0,
        inode: 0,
        first_name: None,
        xattrs: Vec::new(),
        names: 1,
    }
}

/// A path, and `dir`, or where a link points; none for a file.
type Shape<'a> = (&'a str, Option<&'a str>);

/// A stream made by hand; each file holds its own path.
fn stream(entries: &[Shape<'_>]) -> Memory {
    let mut memory = Memory::default();
    let mut records = Vec::new();
    for (path, link) in entries {
        let record = match *link {
            Some("dir") => EntryRecord {
                entry: entry(path, EntryKind::Dir),
                content: None,
                chunks: Vec::new(),
            },
            Some(target) => {
                let kind = EntryKind::Symlink {
                    target: target.as_bytes().to_vec(),
                };
                EntryRecord {
                    entry: entry(path, kind),
                    content: None,
                    chunks: Vec::new(),
                }
            }
            None => {
                let chunk = memory.keep(path.as_bytes());
                let content = Some(Hash32(*blake3::hash(path.as_bytes()).as_bytes()));
                let kind = EntryKind::File {
                    size: path.len() as u64,
                };
                EntryRecord {
                    entry: entry(path, kind),
                    content,
                    chunks: vec![chunk],
                }
            }
        };
        records.push(record);
    }
    memory.records = Arc::new(records);
    memory
}
