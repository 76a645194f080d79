//! Kills a journal's writers and readers at random moments: while they create the journal, open it, adopt
//! runs, append, begin segments, and close. `owner_kills` kills the whole product; here kills are cheap.
//!
//! Each turn kills one process or two. Then every record that was acknowledged, or that a reader ever saw, is
//! there.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::time::Duration;

use rekindle_tests::chaos::told::{Allowed, Told};
use rekindle_tests::chaos::writer::{Helper, Writing};
use rekindle_tests::chaos::{Dice, many, summary};

const WRITER: &str = env!("CARGO_BIN_EXE_rekindle-journal-writer");
/// Kills of each of two shards; the long form has ten times as many.
const KILLS: u64 = 260;
/// So many turns share a journal; then a fresh one shows first creation.
const PER_JOURNAL: u64 = 10;

fn shard(shard: u64) {
    let mut dice = Dice::of(20 + shard);
    let helper = Helper::new(WRITER);
    let (mut kills, mut opening, mut acknowledged, mut rebuilt) = (0, 0, 0, 0);
    while kills < many(KILLS) {
        let dir = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .expect("make a folder");
        let workspace = dir.path().join(".rekindle");
        let mut told = Told::default();
        for turn in 0..PER_JOURNAL {
            let case = format!("kill {kills} of shard {shard}, turn {turn}");
            let fail = |why: String| -> ! { panic!("{case}: {why}") };
            for _ in 0..1 + dice.below(2) {
                let how = Writing {
                    segment_bytes: 8 << 10,
                    // Some come to their end, and are killed as they close.
                    appends: [u64::MAX, 30][dice.below(2) as usize],
                    seed: kills,
                    ..Writing::default()
                };
                let opened = told.opened;
                let writer = helper.write(&workspace, &how).unwrap_or_else(|why| fail(why));
                let lines = dice.below(3) * dice.below(60);
                writer
                    .listen(&mut told, lines, Duration::from_secs(20))
                    .unwrap_or_else(|why| fail(why));
                std::thread::sleep(Duration::from_micros(dice.below(12_000)));
                let end = writer.kill(&mut told).unwrap_or_else(|why| fail(why));
                assert!(end.is_typed(), "{case}: it ended with {end:?}");
                kills += u64::from(end.signal == Some(9));
                opening += u64::from(told.opened == opened);
            }
            let found = helper.read(&workspace).unwrap_or_else(|why| fail(why));
            told.judge(&found, Allowed::Nothing)
                .unwrap_or_else(|why| fail(why));
            assert_eq!(found.damage, 0, "{case}: a kill is no damage");
            rebuilt += u64::from(found.rebuilt > 0);
        }
        acknowledged += told.acknowledged;
    }
    summary(
        &format!("kills {shard}"),
        &format!(
            "{kills} kills ({opening} before the journal was open), {acknowledged} acknowledged records, sled made \
             again {rebuilt} times, 0 lost"
        ),
    );
}

#[test]
fn whenever_a_writer_is_killed_nothing_acknowledged_is_lost_0() {
    shard(0);
}

#[test]
fn whenever_a_writer_is_killed_nothing_acknowledged_is_lost_1() {
    shard(1);
}
