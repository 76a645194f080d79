//! The N-th system call of a journal's writer fails, is delayed, or is the last: strace injects it.
//!
//! If a call fails, the writer ends with a typed error or continues. Nothing that was acknowledged is
//! lost, and the next writer opens the journal and continues. Only calls on the journal's files are hit.
//! During a delay the writer is killed: the acknowledgement must not have come before the delayed call.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rekindle_tests::chaos::told::{Allowed, Told};
use rekindle_tests::chaos::writer::{Helper, Writing};
use rekindle_tests::chaos::{Dice, many, skipped, summary};

const WRITER: &str = env!("CARGO_BIN_EXE_rekindle-journal-writer");
/// Writers that a fault is planned for, in each of two shards; the long form has ten times as many.
const CASES: u64 = 180;
/// So many cases share a journal.
const PER_JOURNAL: u64 = 10;

/// Calls, and how many of them one thread makes at most that are worth hitting.
const CALLS: [(&str, u64); 10] = [
    ("pwrite64", 40),
    ("fdatasync", 40),
    ("fsync", 8),
    ("?rename,?renameat,?renameat2", 3),
    ("openat", 12),
    ("write", 4),
    ("fallocate", 4),
    ("ftruncate", 4),
    ("read", 4),
    ("sync_file_range", 6),
];
const ENDINGS: [&str; 5] = [
    "error=EIO",
    "error=ENOSPC",
    "error=EDQUOT",
    "signal=KILL",
    "delay_enter=30000",
];

/// Returns the command line of strace before that of the writer. Calls that others make as well, of the loader or on
/// pipes, count only where they are about the journal's files.
fn strace(trace: &Path, workspace: &Path, call: &str, ending: &str, when: &str) -> Vec<String> {
    let mut words: Vec<String> = ["strace", "-f", "-qq", "-o"].map(String::from).to_vec();
    words.push(trace.display().to_string());
    if ["openat", "write", "read"].contains(&call) {
        let segments = (1..60).map(|number| format!("log/{number:010}"));
        let others = [
            "",
            "lock",
            "head",
            "log",
            "blobs",
            "journal",
            "journal/db",
            "journal/conf",
        ];
        for path in others.map(String::from).into_iter().chain(segments) {
            words.push("-P".to_owned());
            words.push(
                workspace
                    .join(path)
                    .display()
                    .to_string()
                    .trim_end_matches('/')
                    .to_owned(),
            );
        }
    }
    words.push("-e".to_owned());
    words.push(format!("inject={call}:{ending}:when={when}"));
    words
}

fn shard(shard: u64) {
    let there = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    if !there.is_ok_and(|status| status.success()) {
        return skipped("system calls", "strace cannot trace a process here");
    }
    let mut dice = Dice::of(10 + shard);
    let helper = Helper::new(WRITER);
    let (mut hit, mut refused, mut killed, mut acknowledged, mut cases) = (0, 0, 0, 0, 0);
    while cases < many(CASES) {
        let dir = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .expect("make a folder");
        let (workspace, trace) = (dir.path().join(".rekindle"), dir.path().join("trace"));
        let mut told = Told::default();
        for _ in 0..PER_JOURNAL {
            cases += 1;
            let (call, most) = *dice.one(&CALLS);
            let ending = *dice.one(&ENDINGS);
            // Now and then the disk stays as it is from then on.
            let when = format!("{}{}", 1 + dice.below(most), ["", "+"][dice.below(2) as usize]);
            let case = format!("case {cases} of shard {shard}: {call} {ending} {when}");
            let fail = |why: String| -> ! { panic!("{case}: {why}") };
            let how = Writing {
                tasks: 2,
                segment_bytes: 8 << 10,
                appends: 40,
                seed: cases,
            };
            let under = helper
                .clone()
                .under(strace(&trace, &workspace, call, ending, &when));
            let mut writer = under.write(&workspace, &how).unwrap_or_else(|why| fail(why));
            let end = if ending.starts_with("delay") {
                let lines = dice.below(60);
                writer
                    .listen(&mut told, lines, Duration::from_secs(5))
                    .unwrap_or_else(|why| fail(why));
                kill_traced(writer.child().id());
                writer.wait(&mut told)
            } else {
                writer.wait(&mut told)
            };
            let end = end.unwrap_or_else(|why| fail(why));
            let traced = fs::read_to_string(&trace).unwrap_or_default();
            let was_hit =
                traced.contains("INJECTED") || traced.contains("DELAYED") || traced.contains("SIGKILL");
            assert!(end.is_typed(), "{case}: it ended with {end:?}");
            hit += u64::from(was_hit);
            refused += u64::from(end.code.is_some_and(|code| code != 0));
            killed += u64::from(end.signal == Some(9));
            let found = helper.read(&workspace).unwrap_or_else(|why| fail(why));
            told.judge(&found, Allowed::Nothing)
                .unwrap_or_else(|why| fail(why));
            assert_eq!(found.damage, 0, "{case}: what a call did not do is no damage");
        }
        acknowledged += told.acknowledged;
    }
    assert!(hit * 2 > cases, "only {hit} of {cases} faults were hit");
    summary(
        &format!("system calls {shard}"),
        &format!(
            "{cases} writers, {hit} calls hit, {refused} ended by a typed error, {killed} killed, {acknowledged} \
             acknowledged records, 0 lost"
        ),
    );
}

/// Kills what strace runs, its only child; strace ends with it.
fn kill_traced(strace: u32) {
    let children = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap_or_default();
    for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            // One that is over is none the worse for it.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

#[test]
fn whatever_call_fails_nothing_acknowledged_is_lost_0() {
    shard(0);
}

#[test]
fn whatever_call_fails_nothing_acknowledged_is_lost_1() {
    shard(1);
}
