//! An index returns what it lists, and a changed byte makes it fail to open.

use proptest::prelude::*;

use super::*;

fn listing() -> impl Strategy<Value = PackListing> {
    let slot = any::<([u8; 32], u32, u32, u32)>().prop_map(|(id, offset, sealed_len, plain_len)| Slot {
        id: ChunkId(id),
        offset,
        sealed_len,
        plain_len,
    });
    let kind = prop_oneof![Just(PackKind::Data), Just(PackKind::Tree)];
    (
        any::<([u8; 32], u32, [u8; 32], u64)>(),
        kind,
        prop::collection::vec(slot, 0..9),
    )
        .prop_map(|((id, generation, salt, len), kind, slots)| PackListing {
            info: PackInfo {
                id: Hash32(id),
                kind,
                generation,
                salt,
                len,
            },
            slots,
        })
}

proptest! {
    #[test]
    fn an_index_returns_its_packs(listings in prop::collection::vec(listing(), 0..6)) {
        let keyring = Keyring::generate();
        let (id, bytes) = seal(&keyring, &listings);
        prop_assert_eq!(open(&keyring, id, &bytes).unwrap(), listings);
    }
}

fn sample() -> Vec<PackListing> {
    let info = PackInfo {
        id: Hash32([1; 32]),
        kind: PackKind::Data,
        generation: 1,
        salt: [2; 32],
        len: 900,
    };
    let slot = |n| Slot {
        id: ChunkId([n; 32]),
        offset: 52,
        sealed_len: 30,
        plain_len: 400,
    };
    vec![PackListing {
        info,
        slots: vec![slot(7), slot(8)],
    }]
}

#[test]
fn every_flipped_byte_and_every_cut_is_found_even_where_the_name_was_made_to_fit() {
    let keyring = Keyring::generate();
    let (id, bytes) = seal(&keyring, &sample());
    for at in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[at] ^= 0x10;
        assert!(open(&keyring, id, &changed).is_err(), "byte {at}");
        let fitting = Hash32(*blake3::hash(&changed).as_bytes());
        assert!(open(&keyring, fitting, &changed).is_err(), "byte {at}, renamed");
        let cut = &bytes[..at];
        assert!(
            open(&keyring, Hash32(*blake3::hash(cut).as_bytes()), cut).is_err(),
            "cut to {at}"
        );
    }
}

#[test]
fn a_newer_index_and_a_foreign_one_are_told_apart() {
    let (keyring, stranger) = (Keyring::generate(), Keyring::generate());
    let (id, bytes) = seal(&keyring, &sample());
    assert!(matches!(
        open(&stranger, id, &bytes),
        Err(ObjectFault::SealBroken { .. })
    ));
    let mut newer = bytes.to_vec();
    newer[8] = 9;
    assert_eq!(
        open(&keyring, id, &newer),
        Err(ObjectFault::NewerFormat { found: 9, known: 3 })
    );
}

#[test]
fn a_chunk_is_found_at_its_position_in_its_pack() {
    let mut index = Index::default();
    sample().into_iter().for_each(|listing| index.add(listing, false));
    let found = index.find(&ChunkId([8; 32])).unwrap();
    assert_eq!(
        (found.ordinal, found.pack.id, found.slot.plain_len),
        (1, Hash32([1; 32]), 400)
    );
    assert!(index.find(&ChunkId([9; 32])).is_none());
}

#[test]
fn a_chunk_is_found_in_a_doubted_pack_only_where_no_other_has_it() {
    let sound = sample().remove(0);
    let mut doubted = sound.clone();
    doubted.info.id = Hash32([3; 32]);
    doubted.slots.push(Slot {
        id: ChunkId([9; 32]),
        ..doubted.slots[0]
    });
    let listings = [(sound, false), (doubted, true)];
    let mut reversed = listings.clone();
    reversed.reverse();
    for listings in [listings, reversed] {
        let mut index = Index::default();
        listings
            .into_iter()
            .for_each(|(listing, doubted)| index.add(listing, doubted));
        let pack_of = |n| index.find(&ChunkId([n; 32])).unwrap().pack.id;
        assert_eq!([7, 8, 9].map(pack_of), [1, 1, 3].map(|n| Hash32([n; 32])));
    }
}
