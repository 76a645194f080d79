//! Restoring from content in memory: what comes back, what a kill costs, and what a hostile stream can do.
//!
//! Trees are made in one folder, captured by reading them, and restored into another. A kill is a checkpoint
//! that cannot be recorded, a store that never answers again (the call is dropped), or a stop token; each is
//! followed by a call with the newest checkpoint that was recorded, as a resumed run would make it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rekindle_model::entry::{Entry, EntryKind, TreePath};
use rekindle_model::failure::Failure;
use rekindle_model::id::{Hash32, SnapshotId};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::object::{ChunkId, ChunkRef};
use crate::progress::ProgressSink;
use crate::reader::{ChunkPlace, Fetched};
use crate::snapshot::EntryRecord;

const CHUNK: usize = 4096;

/// What a store does once it has answered so many times.
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
        root.join(OsStr::from_bytes(path.as_bytes()))
    }
}

/// Bytes that repeat nowhere, so that no chunk is shared by accident.
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

/// All that is awkward in one tree.
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

/// Many files of some chunks each, and one that is larger than a window.
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
            // As the journal would keep it.
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

#[tokio::test]
async fn a_nasty_tree_comes_back_as_it_was() {
    let room = nasty();
    let store = Memory::of(&room.path().join("tree"));
    let target = room.path().join("target");
    let (result, _) = run(&store, request(&target), None).await;
    let report = result.unwrap();
    assert_whole(&store, &target).await;
    assert_eq!(report.lost, []);
    assert_eq!(report.symlinks, 3);
    assert_eq!((report.bytes_written, report.bytes_kept), (report.bytes_total, 0));
    let meta = fs::metadata(target.join("setuid")).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o4755);
    let sparse = fs::metadata(target.join("sparse.img")).unwrap();
    assert!(
        sparse.blocks() * 512 < sparse.len() / 2,
        "zeros took {} blocks",
        sparse.blocks()
    );
    // Independent of `inspect`: the same listing by other means.
    let again = Memory::of(&target);
    let plain = |store: &Memory| {
        let strip = |record: &EntryRecord| EntryRecord {
            entry: Entry {
                inode: 0,
                ..record.entry.clone()
            },
            ..record.clone()
        };
        store.records.iter().map(strip).collect::<Vec<_>>()
    };
    assert_eq!(plain(&again), plain(&store));
}

#[tokio::test]
async fn what_is_already_right_is_kept_and_only_the_rest_is_written() {
    let room = nasty();
    let store = Memory::of(&room.path().join("tree"));
    let target = room.path().join("target");
    run(&store, request(&target), None).await.0.unwrap();
    fs::write(target.join("readonly"), bytes(9000, "other")).unwrap();
    fs::remove_file(target.join("plain.md")).unwrap();
    date(&target.join("a"), 5, 5);
    let inode = fs::metadata(target.join("a/b/c.bin")).unwrap().ino();
    let report = run(&store, request(&target), None).await.0.unwrap();
    assert_eq!(report.bytes_written, 9000 + 8);
    assert_eq!(report.bytes_kept, report.bytes_total - 9008);
    assert_eq!(fs::metadata(target.join("a/b/c.bin")).unwrap().ino(), inode);
    assert_whole(&store, &target).await;
}

#[tokio::test]
async fn after_a_kill_at_any_window_the_rest_is_written_and_no_more_than_one_window_twice() {
    let room = many();
    let store = Memory::of(&room.path().join("tree"));
    let window = request(room.path()).window.bytes + CHUNK as u64;
    let total = run(&store, request(&room.path().join("whole")), None).await;
    let (windows, total) = (total.1.len(), total.0.unwrap().bytes_total);
    assert!(windows > 8, "{windows}");
    for killed in 0..windows {
        let target = room.path().join(format!("killed-{killed}"));
        let (result, mut kept) = run(&store, request(&target), Some(killed)).await;
        assert!(matches!(result, Err(RestoreError::Checkpoint(_))), "{result:?}");
        let checkpoint = kept.pop();
        let before = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.bytes_done);
        let resumed = RestoreRequest {
            checkpoint,
            ..request(&target)
        };
        let report = run(&store, resumed, None).await.0.unwrap();
        assert!(
            report.bytes_written + before <= total,
            "{killed}: wrote {} after {before}",
            report.bytes_written
        );
        assert!(
            report.bytes_written <= total - before && report.bytes_kept >= before,
            "{report:?}"
        );
        assert_eq!(
            report.bytes_written + report.bytes_kept,
            total,
            "{killed}: {report:?}"
        );
        assert_eq!(report.files, 13);
        assert!(window < total / 3);
        assert_whole(&store, &target).await;
    }
}

#[tokio::test]
async fn a_call_dropped_within_a_window_or_cut_off_from_its_store_resumes_with_bounded_rework() {
    let room = many();
    let store = Memory::of(&room.path().join("tree"));
    let total = run(&store, request(&room.path().join("whole")), None)
        .await
        .0
        .unwrap()
        .bytes_total;
    for (n, after) in
        (0..store.chunks.len()).map(|n| (n, if n % 2 == 0 { After::Hang } else { After::Refuse }))
    {
        let target = room.path().join(format!("cut-{n}"));
        let cut = Memory {
            after: Some((n, after)),
            ..store.again()
        };
        let kept = Arc::new(Mutex::new(None));
        let newest = Arc::clone(&kept);
        let on_window = move |checkpoint: RestoreCheckpoint| {
            *newest.lock().unwrap() = Some(checkpoint);
            async { Ok(()) }
        };
        let (stop, sink) = (CancellationToken::new(), ProgressSink::none());
        {
            let call = restore_from(&cut, request(&target), &sink, on_window, &stop);
            tokio::pin!(call);
            let hung = async {
                while cut.asked.load(Ordering::SeqCst) <= n || matches!(after, After::Refuse) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                result = &mut call => assert!(matches!(result, Err(RestoreError::Content(_))), "{result:?}"),
                () = hung => {}
            }
        }
        let checkpoint = kept.lock().unwrap().take();
        let before = checkpoint
            .as_ref()
            .map_or(0, |checkpoint: &RestoreCheckpoint| checkpoint.bytes_done);
        let report = run(
            &store,
            RestoreRequest {
                checkpoint,
                ..request(&target)
            },
            None,
        )
        .await
        .0
        .unwrap();
        assert_eq!(report.bytes_written + report.bytes_kept, total, "{n}: {report:?}");
        assert!(
            report.bytes_written <= total - before,
            "{n}: {report:?} after {before}"
        );
        assert_whole(&store, &target).await;
    }
}

#[tokio::test]
async fn a_checkpoint_is_dropped_where_what_it_covers_does_not_stand_and_what_is_right_is_kept() {
    let room = many();
    let store = Memory::of(&room.path().join("tree"));
    type Disturb = fn(&Path);
    let cases: [(&str, Option<Aspect>, Disturb); 5] = [
        ("nothing", None, |_| {}),
        ("gone", Some(Aspect::Missing), |path| {
            fs::remove_file(path).unwrap();
        }),
        ("cut", Some(Aspect::Size), |path| {
            fs::write(path, "short").unwrap()
        }),
        ("overwritten", Some(Aspect::Content), |path| {
            let len = fs::read(path).unwrap().len();
            fs::write(path, vec![b'x'; len]).unwrap();
        }),
        ("touched", Some(Aspect::Time), |path| {
            fs::write(path, fs::read(path).unwrap()).unwrap();
        }),
    ];
    for (case, aspect, disturb) in cases {
        let target = room.path().join(case);
        let (_, mut kept) = run(&store, request(&target), Some(4)).await;
        let checkpoint = kept.pop();
        assert!(checkpoint.as_ref().unwrap().files > 2, "{checkpoint:?}");
        disturb(&target.join("f0/file-00"));
        let resumed = RestoreRequest {
            checkpoint,
            ..request(&target)
        };
        let report = run(&store, resumed, None).await.0.unwrap();
        let refuted = report.checkpoint_refuted.map(|found| found.aspect);
        assert_eq!(refuted, aspect, "{case}");
        assert_eq!((report.files, report.lost.len()), (13, 0), "{case}");
        assert!(report.bytes_kept > report.bytes_total / 5, "{case}");
        assert_eq!(
            report.bytes_kept + report.bytes_written,
            report.bytes_total,
            "{case}"
        );
        assert_whole(&store, &target).await;
    }
}

#[tokio::test]
async fn a_root_below_the_named_folder_is_reached_through_no_link() {
    let room = many();
    let store = Memory::of(&room.path().join("tree"));
    for folder in ["real", "elsewhere"] {
        fs::create_dir(room.path().join(folder)).unwrap();
    }
    std::os::unix::fs::symlink("real", room.path().join("named")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", room.path().join("real/link")).unwrap();
    let named = room.path().join("named");
    for below in ["link", "link/deeper"] {
        let asked = RestoreRequest {
            root: RestoreRoot::beneath(&named, &named.join(below)),
            ..request(&named)
        };
        let refused = run(&store, asked.clone(), None).await.0.unwrap_err();
        assert!(
            matches!(&refused, RestoreError::Link { path, leads_to } if path.ends_with("named/link") && leads_to == "../elsewhere"),
            "{refused}"
        );
        let looked = inspect_from(&store, &asked, &CancellationToken::new()).await;
        assert!(matches!(looked, Err(RestoreError::Link { .. })), "{looked:?}");
        assert_eq!(fs::read_dir(room.path().join("elsewhere")).unwrap().count(), 0);
    }
    // The folder that was named may be a link, and what is missing below it is made.
    let asked = RestoreRequest {
        root: RestoreRoot::beneath(&named, &named.join("a/b")),
        ..request(&named)
    };
    run(&store, asked, None).await.0.unwrap();
    assert_whole(&store, &room.path().join("real/a/b")).await;
}

#[tokio::test]
async fn a_stop_gives_back_the_newest_checkpoint() {
    let room = many();
    let store = Memory::of(&room.path().join("tree"));
    let target = room.path().join("target");
    let stop = CancellationToken::new();
    let sink = {
        let stop = stop.clone();
        ProgressSink::new(move |done, _| {
            if done > 60_000 {
                stop.cancel()
            }
        })
    };
    let result = restore_from(&store, request(&target), &sink, |_| async { Ok(()) }, &stop).await;
    let Err(RestoreError::Interrupted {
        checkpoint: Some(checkpoint),
    }) = result
    else {
        panic!("{result:?}")
    };
    assert!(checkpoint.bytes_done > 40_000, "{checkpoint:?}");
    let resumed = RestoreRequest {
        checkpoint: Some(*checkpoint),
        ..request(&target)
    };
    run(&store, resumed, None).await.0.unwrap();
    assert_whole(&store, &target).await;
}

#[tokio::test]
async fn a_large_file_goes_on_in_its_middle_and_a_spoiled_beginning_is_made_anew() {
    let room = tempfile::tempdir().unwrap();
    put(&room.path().join("tree"), "large", &bytes(18 * CHUNK, "l"), 0o644);
    // What follows must not be forgotten when the file before it has to be begun once more.
    for name in ["later-1", "later-2"] {
        put(&room.path().join("tree"), name, &bytes(7 * CHUNK, name), 0o644);
    }
    let store = Memory::of(&room.path().join("tree"));
    for spoiled in [false, true] {
        let target = room.path().join(format!("target-{spoiled}"));
        let (_, mut kept) = run(&store, request(&target), Some(3)).await;
        let checkpoint = kept.pop().unwrap();
        assert_eq!(checkpoint.position.offset, 12 * CHUNK as u64);
        if spoiled {
            let partial = fs::read_dir(&target).unwrap().next().unwrap().unwrap().path();
            assert!(
                partial
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .starts_with(PARTIAL_PREFIX)
            );
            use std::os::unix::fs::FileExt;
            fs::File::options()
                .write(true)
                .open(partial)
                .unwrap()
                .write_all_at(b"spoiled", 100)
                .unwrap();
        }
        let resumed = RestoreRequest {
            checkpoint: Some(checkpoint),
            ..request(&target)
        };
        let report = run(&store, resumed, None).await.0.unwrap();
        assert_eq!((report.files, report.lost.len()), (3, 0));
        assert_eq!(report.bytes_total, 32 * CHUNK as u64);
        let expected = if spoiled { (38, 0) } else { (20, 12) };
        assert_eq!(
            (
                report.bytes_written / CHUNK as u64,
                report.bytes_kept / CHUNK as u64
            ),
            expected
        );
        assert_whole(&store, &target).await;
    }
}

#[tokio::test]
async fn a_lost_chunk_costs_its_files_and_nothing_else() {
    let room = many();
    let mut store = Memory::of(&room.path().join("tree"));
    let of = |name: &str| {
        store
            .records
            .iter()
            .find(|r| r.entry.path.display() == name)
            .unwrap()
            .chunks
            .clone()
    };
    let lost = [of("f1/large")[9].id, of("f2/file-05")[1].id];
    store.lost = HashSet::from(lost);
    let target = room.path().join("target");
    for refuse in [Some(4), None] {
        let report = run(&store, request(&target), refuse).await.0;
        if refuse.is_none() {
            let report = report.unwrap();
            let named: Vec<_> = report.lost.iter().map(|file| file.path.display()).collect();
            assert_eq!(named, ["f1/large", "f2/file-05"]);
            assert!(
                report.lost[0].why.contains("is in no tier"),
                "{}",
                report.lost[0].why
            );
            assert_eq!(report.files, 11);
        }
    }
    let found = inspect_from(&store, &request(&target), &CancellationToken::new())
        .await
        .unwrap();
    let named: Vec<_> = found
        .differences
        .iter()
        .map(|d| (d.path.display(), d.aspect))
        .collect();
    assert_eq!(
        named,
        [
            ("f1/large".to_owned(), Aspect::Missing),
            ("f2/file-05".to_owned(), Aspect::Missing)
        ]
    );
    let partials = fs::read_dir(target.join("f1")).unwrap().filter(|name| {
        name.as_ref()
            .unwrap()
            .file_name()
            .to_str()
            .unwrap()
            .starts_with(PARTIAL_PREFIX)
    });
    assert_eq!(partials.count(), 0);
}

#[tokio::test]
async fn whichever_chunk_is_lost_every_other_file_stands() {
    let room = many();
    let whole = Memory::of(&room.path().join("tree"));
    let chunks = whole
        .records
        .iter()
        .flat_map(|record| record.chunks.first().into_iter().chain(record.chunks.last()));
    for (n, chunk) in chunks.enumerate() {
        let store = Memory {
            lost: HashSet::from([chunk.id]),
            ..whole.again()
        };
        let needs = |record: &&EntryRecord| record.chunks.contains(chunk);
        let expected: Vec<_> = store
            .records
            .iter()
            .filter(needs)
            .map(|r| r.entry.path.clone())
            .collect();
        let target = room.path().join(format!("lost-{n}"));
        let report = run(&store, request(&target), None).await.0.unwrap();
        assert_eq!(
            report
                .lost
                .iter()
                .map(|file| file.path.clone())
                .collect::<Vec<_>>(),
            expected
        );
        let stop = CancellationToken::new();
        let found = inspect_from(&store, &request(&target), &stop).await.unwrap();
        assert_eq!(
            found.differences.into_iter().map(|d| d.path).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(report.files, 13 - expected.len() as u64);
    }
}

#[tokio::test]
async fn losses_before_a_kill_are_still_named_after_the_resume() {
    let room = many();
    let mut store = Memory::of(&room.path().join("tree"));
    let first = store.records.iter().find(|r| !r.chunks.is_empty()).unwrap();
    let (path, id) = (first.entry.path.clone(), first.chunks[0].id);
    store.lost.insert(id);
    let target = room.path().join("target");
    let (_, mut kept) = run(&store, request(&target), Some(5)).await;
    let resumed = RestoreRequest {
        checkpoint: kept.pop(),
        ..request(&target)
    };
    let report = run(&store, resumed, None).await.0.unwrap();
    assert_eq!(
        report.lost.iter().map(|file| &file.path).collect::<Vec<_>>(),
        [&path]
    );
}

#[tokio::test]
async fn chunks_of_a_window_come_in_the_order_of_packs_and_each_once() {
    let room = tempfile::tempdir().unwrap();
    for n in 0..6 {
        let content = [bytes(CHUNK, "shared"), bytes(3 * CHUNK, &n.to_string())].concat();
        put(&room.path().join("tree"), &format!("f{n}"), &content, 0o644);
    }
    let store = Memory::of(&room.path().join("tree"));
    let window = Window {
        bytes: 1 << 30,
        entries: 100,
    };
    run(
        &store,
        RestoreRequest {
            window,
            ..request(&room.path().join("t"))
        },
        None,
    )
    .await
    .0
    .unwrap();
    let order = store.order.lock().unwrap();
    assert_eq!(order.len(), 19);
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn the_calls_can_be_awaited_from_any_thread() {
    fn assert_send<T: Send>(_: &T) {}
    let (store, sink, stop) = (Memory::default(), ProgressSink::none(), CancellationToken::new());
    let root = Path::new("root");
    assert_send(&restore_from(
        &store,
        request(root),
        &sink,
        |_| async { Ok(()) },
        &stop,
    ));
    assert_send(&restore(&[], request(root), &sink, |_| async { Ok(()) }, &stop));
    assert_send(&inspect(&[], &request(root), &stop));
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
    }
}

/// A path, and `dir`, or where a link points; none for a file.
type Shape<'a> = (&'a str, Option<&'a str>);

/// A stream of our own making; files hold their own path.
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

#[tokio::test]
async fn a_stream_that_is_not_a_tree_is_refused_and_nothing_is_written_outside_the_root() {
    let dir = Some("dir");
    let cases: [(&str, &[Shape<'_>]); 7] = [
        (
            "a file beneath a link",
            &[("", dir), ("a", Some("../outside")), ("a/b", None)],
        ),
        (
            "a folder beneath a link",
            &[("", dir), ("a", Some("../outside")), ("a/b", dir)],
        ),
        (
            "a link, then a folder of its name",
            &[("", dir), ("a", Some("../outside")), ("a", dir), ("a/b", None)],
        ),
        ("a file beneath a file", &[("", dir), ("a", None), ("a/b", None)]),
        ("a file in no folder", &[("", dir), ("a/b", None)]),
        ("a stream out of order", &[("", dir), ("b", None), ("a", None)]),
        ("a root that is a link", &[("", Some("../outside")), ("a", None)]),
    ];
    for (what, entries) in cases {
        for entries_per_window in [1, 100] {
            let room = tempfile::tempdir().unwrap();
            let outside = room.path().join("outside");
            fs::create_dir(&outside).unwrap();
            let window = Window {
                bytes: 1 << 20,
                entries: entries_per_window,
            };
            let asked = RestoreRequest {
                window,
                ..request(&room.path().join("root"))
            };
            let result = run(&stream(entries), asked, None).await.0;
            assert!(
                matches!(result, Err(RestoreError::Hostile { .. })),
                "{what}: {result:?}"
            );
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{what}");
        }
    }
}

#[tokio::test]
async fn a_link_planted_in_the_root_is_replaced_and_never_followed() {
    let store = stream(&[("", Some("dir")), ("a", Some("dir")), ("a/b", None), ("c", None)]);
    let room = tempfile::tempdir().unwrap();
    let (root, outside) = (room.path().join("root"), room.path().join("outside"));
    fs::create_dir_all(&root).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), b"c").unwrap();
    symlink(&outside, root.join("a")).unwrap();
    symlink(outside.join("victim"), root.join("c")).unwrap();
    let window = Window { bytes: 1, entries: 1 };
    let asked = RestoreRequest {
        window,
        ..request(&root)
    };
    let (_, kept) = run(&store, asked.clone(), None).await;
    assert_whole(&store, &root).await;

    // After the checkpoint that made folder `a`, somebody puts a link in its place: the folder is made again.
    fs::remove_dir_all(root.join("a")).unwrap();
    symlink(&outside, root.join("a")).unwrap();
    let after_folder = kept
        .iter()
        .find(|checkpoint| checkpoint.position.inside.display() == "a")
        .cloned();
    assert!(after_folder.is_some());
    run(
        &store,
        RestoreRequest {
            checkpoint: after_folder,
            ..asked
        },
        None,
    )
    .await
    .0
    .unwrap();
    assert_whole(&store, &root).await;
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read(outside.join("victim")).unwrap(), b"c");
}

#[tokio::test]
async fn a_folder_with_content_is_never_replaced_by_a_file() {
    let store = stream(&[("", Some("dir")), ("a", None)]);
    let room = tempfile::tempdir().unwrap();
    fs::create_dir_all(room.path().join("a")).unwrap();
    fs::write(room.path().join("a/precious"), b"mine").unwrap();
    let result = run(&store, request(room.path()), None).await.0;
    assert!(
        matches!(result, Err(RestoreError::Obstructed { .. })),
        "{result:?}"
    );
    assert_eq!(fs::read(room.path().join("a/precious")).unwrap(), b"mine");
    fs::remove_file(room.path().join("a/precious")).unwrap();
    run(&store, request(room.path()), None).await.0.unwrap();
    assert_eq!(fs::read(room.path().join("a")).unwrap(), b"a");
}

#[tokio::test]
async fn globs_restore_a_part_with_its_folders_and_leave_the_rest_of_the_root_alone() {
    let room = nasty();
    let store = Memory::of(&room.path().join("tree"));
    let target = room.path().join("target");
    fs::create_dir(&target).unwrap();
    date(&target, 77, 0);
    let asked = RestoreRequest {
        include: vec!["a/b".to_owned(), "*.md".to_owned()],
        ..request(&target)
    };
    for _ in 0..2 {
        let report = run(&store, asked.clone(), None).await.0.unwrap();
        assert_eq!((report.files, report.dirs, report.symlinks), (2, 2, 0));
        let mut there = BTreeMap::new();
        gather(&target, &[], &mut there);
        let there: Vec<_> = there.into_keys().map(|path| path.display()).collect();
        assert_eq!(there, ["", "a", "a/b", "a/b/c.bin", "plain.md"]);
    }
    let found = inspect_from(&store, &asked, &CancellationToken::new())
        .await
        .unwrap();
    assert!(found.is_whole(), "{found:?}");
}

#[tokio::test]
async fn a_tree_of_one_file_leaves_the_folder_around_it_alone() {
    let room = tempfile::tempdir().unwrap();
    fs::write(room.path().join("other"), b"mine").unwrap();
    let store = stream(&[("content.db", None)]);
    let report = run(&store, request(room.path()), None).await.0.unwrap();
    assert_eq!((report.files, report.dirs), (1, 0));
    assert_eq!(fs::read(room.path().join("content.db")).unwrap(), b"content.db");
    assert_eq!(fs::read(room.path().join("other")).unwrap(), b"mine");
}

#[tokio::test]
async fn inspect_names_every_kind_of_difference() {
    let room = nasty();
    let store = Memory::of(&room.path().join("tree"));
    let target = room.path().join("target");
    let check = async |what: &str, aspect: Aspect, spoil: &dyn Fn(&Path)| {
        run(&store, request(&target), None).await.0.unwrap();
        let path = target.join(what);
        spoil(&path);
        let found = inspect_from(&store, &request(&target), &CancellationToken::new())
            .await
            .unwrap();
        let named = found
            .differences
            .iter()
            .any(|d| d.path.display() == what && d.aspect == aspect);
        assert!(named, "{what} {aspect:?}: {found:?}");
    };
    let redate = |path: &Path, change: &dyn Fn()| {
        let meta = path.symlink_metadata().unwrap();
        change();
        date(path, meta.mtime(), meta.mtime_nsec());
    };
    check("empty", Aspect::Missing, &|path| fs::remove_file(path).unwrap()).await;
    check("plain.md", Aspect::Size, &|path| {
        fs::write(path, b"longer than before").unwrap()
    })
    .await;
    check("plain.md", Aspect::Content, &|path| {
        redate(path, &|| fs::write(path, b"# hullo\n").unwrap())
    })
    .await;
    check("plain.md", Aspect::Time, &|path| date(path, 1_000_000_000, 1)).await;
    check("a/b", Aspect::Mode, &|path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o711)).unwrap()
    })
    .await;
    check("absolute", Aspect::Target, &|path| {
        fs::remove_file(path).unwrap();
        symlink("elsewhere", path).unwrap();
    })
    .await;
    check("empty", Aspect::Type, &|path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    })
    .await;
}
