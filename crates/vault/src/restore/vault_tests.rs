//! Restoring from real tiers on disk: sealed packs, two tiers, one of them damaged, and a kill half-way.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rekindle_model::entry::{Entry, EntryKind, TreePath, TreeSource};
use rekindle_model::failure::Failure;
use rekindle_model::id::SnapshotId;
use rekindle_model::time::{Clock, SystemClock};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::capture::{CaptureRequest, capture};
use crate::key::Keyring;
use crate::progress::ProgressSink;
use crate::spool::Spool;
use crate::tier::{Tier, TierMode};

/// Three folders of files, one of them larger than a window.
struct Made(std::vec::IntoIter<(String, Option<usize>)>);

impl Made {
    fn tree() -> Self {
        let mut entries = vec![(String::new(), None)];
        for folder in ["a", "b", "c"] {
            entries.push((folder.to_owned(), None));
            entries.extend((0..4).map(|n| (format!("{folder}/file-{n}"), Some(1_500_000 + n))));
        }
        entries.push(("large".to_owned(), Some(40_000_000)));
        Self(entries.into_iter())
    }
}

fn content(name: &str, size: usize) -> Vec<u8> {
    let mut out = vec![0; size];
    blake3::Hasher::new()
        .update(name.as_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

impl TreeSource for Made {
    fn next_entry(&mut self) -> Result<Option<Entry>, Failure> {
        Ok(self.0.next().map(|(path, size)| Entry {
            path: TreePath::new(path.as_bytes()).unwrap(),
            kind: size.map_or(EntryKind::Dir, |size| EntryKind::File { size: size as u64 }),
            mode: 0o750,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            mtime_s: 1_000_000_000,
            mtime_ns: 17,
            ctime_ns: 0,
            inode: 0,
            first_name: None,
            xattrs: Vec::new(),
            names: 0,
        }))
    }

    fn open(&mut self, entry: &Entry) -> Result<Box<dyn Read + Send>, Failure> {
        let EntryKind::File { size } = entry.kind else {
            return Err(Failure::permanent("not_a_file", ""));
        };
        Ok(Box::new(std::io::Cursor::new(content(
            &entry.path.display(),
            size as usize,
        ))))
    }
}

fn damage_packs(tier: &Path) -> usize {
    let mut damaged = 0;
    for entry in fs::read_dir(tier).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            damaged += damage_packs(&entry.path());
        } else if entry.metadata().unwrap().len() > 1_000_000 {
            let mut bytes = fs::read(entry.path()).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::remove_file(entry.path()).unwrap();
            fs::write(entry.path(), bytes).unwrap();
            damaged += 1;
        }
    }
    damaged
}

#[tokio::test]
async fn a_restore_from_real_tiers_passes_over_damage_and_resumes_in_the_middle_of_a_file() {
    let room = tempfile::tempdir().unwrap();
    let keyring = Arc::new(Keyring::generate());
    let wrapped = keyring.wrap_with_passphrase("word").unwrap();
    let spool = Spool::open(&room.path().join("spool"), Arc::clone(&keyring))
        .await
        .unwrap();
    let (stop, sink) = (CancellationToken::new(), ProgressSink::none());
    let snapshot = SnapshotId(uuid::Uuid::from_u128(1));
    let asked = CaptureRequest {
        snapshot,
        component: "c".to_owned(),
        parent: None,
        source: Box::new(Made::tree()),
        consistency_point: SystemClock.now(),
        captured_by: "test".to_owned(),
        metadata: serde_json::Value::Null,
        tiers: Vec::new(),
    };
    capture(&spool, asked, &sink, &stop).await.unwrap();
    let mut tiers = Vec::new();
    for name in ["hot", "cold"] {
        fs::create_dir(room.path().join(name)).unwrap();
        let url = format!("file://{}", room.path().join(name).display());
        let opened = Tier::open(
            name,
            &[url],
            room.path(),
            Arc::clone(&keyring),
            &wrapped,
            TierMode::Create,
        )
        .await;
        let tier = Arc::new(opened.unwrap());
        crate::store(&spool, &tier, snapshot, &[], &sink, &stop)
            .await
            .unwrap();
        tiers.push(tier);
    }
    assert!(damage_packs(&room.path().join("hot")) > 0);

    let request = RestoreRequest {
        snapshot,
        root: room.path().join("root").as_path().into(),
        include: Vec::new(),
        checkpoint: None,
        window: Window {
            bytes: 6 << 20,
            entries: 100,
        },
        prefer: Some("hot".to_owned()),
        owners: true,
    };
    let kept = Mutex::new(Vec::new());
    let killed_in_the_large_file = |checkpoint: RestoreCheckpoint| {
        let killed = checkpoint.position.offset > 20_000_000;
        kept.lock().unwrap().push(checkpoint);
        async move {
            if killed {
                Err(Failure::transient("killed", "killed"))
            } else {
                Ok(())
            }
        }
    };
    let asked = request.clone();
    let result = restore(&tiers, request.clone(), &sink, killed_in_the_large_file, &stop).await;
    assert!(matches!(result, Err(RestoreError::Checkpoint(_))), "{result:?}");
    // The last checkpoint was not recorded; the one before it was.
    let kept = kept.into_inner().unwrap();
    let checkpoint = kept[kept.len() - 2].clone();
    assert!(checkpoint.position.offset > 0, "{checkpoint:?}");
    let before = checkpoint.bytes_done;
    let resumed = RestoreRequest {
        checkpoint: Some(checkpoint),
        ..request
    };
    let report = restore(&tiers, resumed, &sink, |_| async { Ok(()) }, &stop)
        .await
        .unwrap();
    assert_eq!((report.files, report.dirs, report.lost.len()), (13, 4, 0));
    assert_eq!(report.bytes_written, report.bytes_total - before);
    let [told] = report.elsewhere.as_slice() else {
        panic!("{:?}", report.elsewhere)
    };
    let told = told.clone();
    assert!(told.tier == "cold" && told.why.contains("hot"), "{told:?}");
    assert!(told.bytes > 0 && told.bytes <= report.bytes_total, "{told:?}");
    let found = inspect(&tiers, &asked, &stop).await.unwrap();
    assert!(found.is_whole(), "{found:?}");
    assert_eq!(found.bytes, report.bytes_total);
    assert!(fs::read(room.path().join("root/large")).unwrap() == content("large", 40_000_000));

    // If the only tier is damaged, the report names the files that need it, and the others are restored.
    let alone = RestoreRequest {
        snapshot,
        root: room.path().join("alone").as_path().into(),
        include: Vec::new(),
        checkpoint: None,
        window: Window::default(),
        prefer: Some("hot".to_owned()),
        owners: true,
    };
    let report = restore(&tiers[..1], alone, &sink, |_| async { Ok(()) }, &stop)
        .await
        .unwrap();
    assert!(!report.lost.is_empty() && report.files > 0, "{report:?}");
    assert_eq!(report.files + report.lost.len() as u64, 13);
    // The files lost here are those that came from the other tier above, each counted once over all windows.
    let lost: Vec<_> = report.lost.into_iter().map(|file| file.path).collect();
    assert_eq!((told.files, told.named), (lost.len() as u64, lost));
    assert!(report.elsewhere.is_empty());
}
