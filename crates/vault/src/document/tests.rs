//! A document opens whole and under its own name, or not at all.

use proptest::prelude::*;
use rekindle_model::id::{SetId, SnapshotId};
use uuid::Uuid;

use super::*;

fn snapshot(n: u128) -> Kind {
    Kind::of(&ObjectName::Snapshot(SnapshotId(Uuid::from_u128(n)))).unwrap()
}

proptest! {
    #[test]
    fn a_sealed_document_opens_unchanged(text in ".{0,200}") {
        let keyring = Keyring::generate();
        let bytes = seal(&keyring, snapshot(5), &text).unwrap();
        prop_assert_eq!(open::<String>(&keyring, snapshot(5), &bytes).unwrap(), text);
    }
}

#[test]
fn every_flipped_byte_and_every_cut_is_found() {
    let keyring = Keyring::generate();
    let bytes = seal(&keyring, snapshot(5), &"a document").unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[at] ^= 0x04;
        assert!(
            open::<String>(&keyring, snapshot(5), &changed).is_err(),
            "byte {at}"
        );
        assert!(
            open::<String>(&keyring, snapshot(5), &bytes[..at]).is_err(),
            "cut to {at}"
        );
    }
}

#[test]
fn a_document_under_another_name_or_as_another_kind_does_not_open() {
    let keyring = Keyring::generate();
    let bytes = seal(&keyring, snapshot(5), &"a document").unwrap();
    let renamed = open::<String>(&keyring, snapshot(6), &bytes);
    assert!(
        matches!(renamed, Err(ObjectFault::SealBroken { .. })),
        "{renamed:?}"
    );
    let set = Kind::of(&ObjectName::Set(SetId(Uuid::from_u128(5)))).unwrap();
    assert_eq!(open::<String>(&keyring, set, &bytes), Err(ObjectFault::BadMagic));
    let mut dressed_up = bytes.to_vec();
    dressed_up[..8].copy_from_slice(b"RKDLSETS");
    assert!(matches!(
        open::<String>(&keyring, set, &dressed_up),
        Err(ObjectFault::SealBroken { .. })
    ));
}

#[test]
fn a_document_of_another_format_is_refused_as_newer_or_older() {
    let keyring = Keyring::generate();
    let mut bytes = seal(&keyring, snapshot(5), &"a document").unwrap().to_vec();
    bytes[8] = 4;
    let newer = open::<String>(&keyring, snapshot(5), &bytes);
    assert_eq!(newer, Err(ObjectFault::NewerFormat { found: 4, known: 3 }));
    bytes[8] = 2;
    let older = open::<String>(&keyring, snapshot(5), &bytes);
    assert_eq!(older, Err(ObjectFault::OlderFormat { found: 2 }));
}
