//! What a scan reports as damage.

use std::cell::{Cell, RefCell};

use rekindle_journal::contract::{created, stamp};
use rekindle_model::event::Record;
use rekindle_model::id::Hash32;
use uuid::Uuid;

use super::*;

/// Returns the log of runs that were created one after the other, without the segment that is cut out.
fn log_of_three(cut_out: Option<u64>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let base = admit::EMPTY;
    let (version, number) = (LOG_FORMAT, 1);
    let mut bytes = SegmentHeader {
        version,
        number,
        base,
    }
    .encode();
    let (mut written, mut left) = (base, base);
    for at in 1..=3 {
        let run = RunId(Uuid::from_u128(u128::from(at)));
        let record = Record {
            run,
            seq: 1,
            epoch: 1,
            time: stamp(at),
            prev: Hash32::ZERO,
            head: Some(written),
            event: created("w"),
        };
        let value = codec::encode(&record).unwrap();
        written = admit::advance(written, std::iter::once(value.as_slice()));
        if cut_out != Some(at) {
            left = admit::advance(left, std::iter::once(value.as_slice()));
            bytes.extend(frame::encode(
                left,
                std::iter::once((codec::key(run, 1), value.as_slice())),
            ));
        }
    }
    fs::write(dir.path().join("0000000001"), bytes).unwrap();
    dir
}

#[test]
fn a_run_cut_out_of_a_log_whose_chain_was_mended_is_noticed_by_the_runs_after_it() {
    let damage = |cut_out| {
        let log = log_of_three(cut_out);
        scan(log.path(), |_| Ok(())).unwrap().damage
    };
    assert_eq!(damage(None), []);
    for cut_out in [1, 2] {
        let found = damage(Some(cut_out));
        assert_eq!(found.len(), 3 - cut_out as usize, "{found:?}");
        assert!(found[0].what.contains("after commit"), "{found:?}");
    }
    // No later record refers to the last one. The head file covers that case.
    assert_eq!(damage(Some(3)), []);
}

#[test]
fn damage_that_is_gone_at_a_second_look_was_a_write_under_way_and_what_stays_is_told() {
    let log = log_of_three(None);
    let whole = fs::read(log.path().join("0000000001")).unwrap();
    let offset = |at: usize| match frame::scan(&whole, true)[at] {
        Piece::Frame { offset, .. } => offset,
        _ => panic!("it is whole"),
    };
    // The reader saw the second frame's page before it was written, and the third one's after.
    let mut hole = whole.clone();
    hole[offset(1)..offset(2)].fill(0);
    let mut half = whole.clone();
    half[offset(1) + 80..offset(2)].fill(0);
    let (looks, reads) = (RefCell::new(vec![whole.clone(), half]), Cell::new(0));
    let look = |otherwise: &Vec<u8>| {
        reads.set(reads.get() + 1);
        Ok(looks.borrow_mut().pop().unwrap_or_else(|| otherwise.clone()))
    };
    assert_eq!(settled(hole.clone(), || look(&hole)).unwrap(), whole);
    assert_eq!(reads.get(), 2, "what is whole is read no more");
    assert_eq!(settled(hole.clone(), || look(&hole)).unwrap(), hole);
    assert_eq!(reads.get(), 3, "what stays as it is is damage");
}

#[test]
fn a_gap_is_explained_by_cuts_that_lead_from_its_one_end_to_its_other_and_by_nothing_else() {
    let head = |commit: u64| JournalHead {
        commit,
        hash: Hash32([u8::try_from(commit).unwrap(); 32]),
    };
    let cut = |first, last, from, to| Cut {
        first,
        last,
        from: head(from),
        to: head(to),
    };
    let gap = Gap {
        cut: cut(2, 4, 10, 40),
        damage: Vec::new(),
    };
    for (cuts, explained) in [
        (vec![cut(2, 4, 10, 40)], true),
        (vec![cut(4, 4, 30, 40), cut(2, 3, 10, 30)], true),
        (vec![], false),
        (vec![cut(2, 3, 10, 30)], false),
        (vec![cut(2, 3, 10, 30), cut(4, 4, 31, 40)], false),
        (vec![cut(2, 4, 10, 39)], false),
        (vec![cut(2, 4, 11, 40)], false),
        (vec![cut(2, 5, 10, 40)], false),
    ] {
        assert_eq!(gap.is_explained(&cuts), explained, "{cuts:?}");
    }
}
