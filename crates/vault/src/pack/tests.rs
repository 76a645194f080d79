//! A pack returns its content, and no byte of it can change, move or vanish unnoticed.

use proptest::prelude::*;

use super::*;

fn build(keyring: &Keyring, chunks: &[Vec<u8>]) -> BuiltPack {
    let mut builder = PackBuilder::new(keyring.repository(), keyring.newest(), PackKind::Data);
    for plain in chunks {
        builder.add(keyring.newest().chunk_id(plain), plain).unwrap();
    }
    builder.finish()
}

/// Reads a pack from its bytes alone, as if no index listed it. It ignores the name, so that only the seals
/// can find damage.
fn read(keyring: &Keyring, id: Hash32, bytes: &[u8]) -> Result<Vec<Vec<u8>>, ObjectFault> {
    let info = read_header(id, bytes.len() as u64, &bytes[..bytes.len().min(HEADER_LEN)])?;
    let (offset, len) = table_range(info.len, &bytes[bytes.len().saturating_sub(FOOTER_LEN)..])?;
    let table = &bytes[offset as usize..(offset + len) as usize];
    let slots = open_table(keyring, &info, table)?;
    (0..)
        .zip(&slots)
        .map(|(ordinal, slot)| open_chunk(keyring, &info, ordinal, slot, sealed(bytes, slot)))
        .collect()
}

fn sealed<'a>(bytes: &'a [u8], slot: &Slot) -> &'a [u8] {
    &bytes[slot.offset as usize..(slot.offset + slot.sealed_len) as usize]
}

fn samples() -> Vec<Vec<u8>> {
    vec![b"abc".repeat(40), Vec::new(), (0..=255).collect(), b"z".to_vec()]
}

proptest! {
    #[test]
    fn a_pack_returns_its_chunks(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..12)) {
        let keyring = Keyring::generate();
        let pack = build(&keyring, &chunks);
        prop_assert_eq!(read(&keyring, pack.info.id, &pack.bytes).unwrap(), chunks);
    }
}

#[test]
fn a_long_chunk_is_compressed_only_where_it_shrinks() {
    let keyring = Keyring::generate();
    let text = b"the same words again and again ".repeat(40_000);
    let noise: Vec<u8> = (0..40_000)
        .flat_map(|n: u32| *blake3::hash(&n.to_le_bytes()).as_bytes())
        .collect();
    let pack = build(&keyring, &[text.clone(), noise.clone()]);
    assert!((pack.slots[0].sealed_len as usize) < text.len() / 20);
    assert_eq!(pack.slots[1].sealed_len as usize, noise.len() + 1 + TAG_LEN);
    assert_eq!(read(&keyring, pack.info.id, &pack.bytes).unwrap(), [text, noise]);
}

#[test]
fn every_flipped_byte_is_found_by_the_seals_alone() {
    let keyring = Keyring::generate();
    let pack = build(&keyring, &samples());
    for at in 0..pack.bytes.len() {
        for flip in [0x01, 0x80] {
            let mut bytes = pack.bytes.to_vec();
            bytes[at] ^= flip;
            assert!(
                read(&keyring, pack.info.id, &bytes).is_err(),
                "byte {at} of {}",
                bytes.len()
            );
        }
    }
}

#[test]
fn every_cut_is_found() {
    let keyring = Keyring::generate();
    let pack = build(&keyring, &samples());
    for len in 0..pack.bytes.len() {
        assert!(
            read(&keyring, pack.info.id, &pack.bytes[..len]).is_err(),
            "{len} bytes"
        );
    }
}

#[test]
fn a_chunk_opens_only_in_its_own_pack_and_position() {
    let keyring = Keyring::generate();
    let same = vec![b"one".repeat(50), b"two".repeat(50)];
    let (a, b) = (build(&keyring, &same), build(&keyring, &same));
    assert_ne!(
        a.info.id, b.info.id,
        "salts differ, so equal content makes different packs"
    );
    let open = |info: &PackInfo, ordinal, slot: &Slot, bytes: &[u8]| {
        open_chunk(&keyring, info, ordinal, slot, sealed(bytes, slot))
    };
    assert!(open(&a.info, 0, &a.slots[0], &a.bytes).is_ok());
    let broken = |result| matches!(result, Err(ObjectFault::SealBroken { .. }));
    assert!(
        broken(open(&a.info, 0, &a.slots[0], &b.bytes)),
        "taken from another pack"
    );
    assert!(
        broken(open(&a.info, 1, &a.slots[0], &a.bytes)),
        "at another position"
    );
    let renamed = Slot {
        id: a.slots[1].id,
        ..a.slots[0]
    };
    assert!(
        broken(open(&a.info, 0, &renamed, &a.bytes)),
        "under another chunk's id"
    );
    let as_tree = PackInfo {
        kind: PackKind::Tree,
        ..a.info.clone()
    };
    assert!(
        broken(open(&as_tree, 0, &a.slots[0], &a.bytes)),
        "as an entry stream"
    );
}

#[test]
fn a_pack_of_another_repository_or_generation_or_format_is_told_apart() {
    let (keyring, stranger) = (Keyring::generate(), Keyring::generate());
    let pack = build(&keyring, &samples());
    assert!(matches!(
        read(&stranger, pack.info.id, &pack.bytes),
        Err(ObjectFault::SealBroken { .. })
    ));
    let with = |at: usize, value: u32| {
        let mut bytes = pack.bytes.to_vec();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        read(&keyring, pack.info.id, &bytes)
    };
    assert_eq!(with(8, 4), Err(ObjectFault::NewerFormat { found: 4, known: 3 }));
    assert_eq!(with(16, 7), Err(ObjectFault::UnknownGeneration(7)));
    assert_eq!(with(0, 0), Err(ObjectFault::BadMagic));
}

#[test]
fn a_chunk_that_was_sealed_under_the_wrong_id_is_refused_though_its_seal_opens() {
    let keyring = Keyring::generate();
    let mut builder = PackBuilder::new(keyring.repository(), keyring.newest(), PackKind::Data);
    builder
        .add(keyring.newest().chunk_id(b"promised"), b"delivered")
        .unwrap();
    let pack = builder.finish();
    let refused = read(&keyring, pack.info.id, &pack.bytes);
    assert!(
        matches!(&refused, Err(ObjectFault::Malformed { why }) if why.contains("content of its id")),
        "{refused:?}"
    );
}
