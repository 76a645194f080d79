//! Records survive their stream, and the digest changes with the content and with nothing else.

use proptest::prelude::*;
use rekindle_model::entry::{DeviceNumber, TreePath, Xattr};

use super::*;
use crate::object::ChunkId;

fn record(path: &[u8], mode: u32, lens: &[u32]) -> EntryRecord {
    let chunks: Vec<ChunkRef> = lens
        .iter()
        .map(|len| ChunkRef {
            id: ChunkId([9; 32]),
            len: *len,
        })
        .collect();
    let size = lens.iter().map(|len| u64::from(*len)).sum();
    let (mtime_s, mtime_ns, ctime_ns, inode) = (-3, 7, 5, 11);
    let entry = Entry {
        path: TreePath::new(path).unwrap(),
        kind: EntryKind::File { size },
        mode,
        uid: 1,
        gid: 2,
        mtime_s,
        mtime_ns,
        ctime_ns,
        inode,
        first_name: None,
        xattrs: Vec::new(),
        names: 0,
    };
    EntryRecord {
        entry,
        content: Some(Hash32([3; 32])),
        chunks,
    }
}

proptest! {
    #[test]
    fn a_record_survives_its_stream(
        name in prop::collection::vec(any::<u8>().prop_filter("a name", |b| *b != 0 && *b != b'/' && *b != b'.'), 1..40),
        mode in 0u32..0o10000,
        lens in prop::collection::vec(any::<u32>(), 0..50),
    ) {
        let record = record(&name, mode, &lens);
        let mut stream = Vec::new();
        write_record(&record, &mut stream).unwrap();
        for cut in [0, 3, stream.len() - 1] {
            prop_assert!(read_record(&stream[..cut]).unwrap().is_none());
        }
        let len = stream.len();
        stream.extend_from_slice(b"more");
        prop_assert_eq!(read_record(&stream).unwrap(), Some((record, len)));
    }

    #[test]
    fn no_bytes_make_reading_a_record_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_record(&bytes);
    }
}

#[test]
fn a_record_whose_chunks_do_not_make_up_its_size_is_refused() {
    let mut wrong = record(b"a", 0o644, &[5, 6]);
    wrong.entry.kind = EntryKind::File { size: 12 };
    let mut stream = Vec::new();
    write_record(&wrong, &mut stream).unwrap();
    assert!(read_record(&stream).unwrap_err().contains("do not make up"));
    assert!(
        read_record(&u32::MAX.to_le_bytes())
            .unwrap_err()
            .contains("claims")
    );
}

#[test]
fn the_digest_depends_on_content_and_mode_and_not_on_chunks_owners_and_times() {
    let digest = |record: &EntryRecord| {
        let mut digest = ContentDigest::new();
        digest.add(&record.entry, record.content.as_ref());
        digest.finish()
    };
    let base = record(b"a", 0o644, &[5, 6]);
    let mut same = record(b"a", 0o644, &[11]);
    (same.entry.uid, same.entry.mtime_s, same.entry.inode) = (77, 78, 79);
    assert_eq!(digest(&base), digest(&same));
    let mut content = base.clone();
    content.content = Some(Hash32([4; 32]));
    let with = |change: &dyn Fn(&mut Entry)| {
        let mut changed = base.clone();
        change(&mut changed.entry);
        changed
    };
    let xattr = |value: &[u8]| Xattr {
        name: b"user.a".to_vec(),
        value: value.to_vec(),
    };
    let device = |minor| with(&|entry| entry.kind = EntryKind::CharDevice(DeviceNumber { major: 1, minor }));
    assert_ne!(digest(&device(3)), digest(&device(5)));
    for (what, other) in [
        (
            "hard link",
            with(&|entry| entry.first_name = Some(TreePath::new(b"A").unwrap())),
        ),
        ("attribute", with(&|entry| entry.xattrs = vec![xattr(b"1")])),
        ("empty attribute", with(&|entry| entry.xattrs = vec![xattr(b"")])),
        ("FIFO", with(&|entry| entry.kind = EntryKind::Fifo)),
        ("path", record(b"b", 0o644, &[5, 6])),
        ("mode", record(b"a", 0o600, &[5, 6])),
        ("size", record(b"a", 0o644, &[5, 7])),
        ("content", content),
    ] {
        assert_ne!(digest(&base), digest(&other), "{what}");
    }
}
