//! Disks fill, break down to read-only, or freeze under a backup or a recovery.
//!
//! One case: the workspace, a tier or the recovery's target is on a small disk of the test's own. The disk
//! has room for a random share of what the command needs, in bytes or in files. Or the kernel finds an error
//! in it at a random moment, or it is frozen for a while. The command ends with an exit code that says so, or
//! waits. Read-only commands answer meanwhile. Nothing that was reported is lost. Once there is room, or the
//! disk is mounted again, the run continues and ends with the living system's own tree.
//!
//! Backups and recoveries run here from the built-in workflows, with shorter waits between attempts.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use rekindle_plan::builtin;
use rekindle_tests::chaos::disk::{Disk, Room};
use rekindle_tests::chaos::{Dice, many, seed, skipped, summary};
use rekindle_tests::product::{Ended, Product, Told};
use rekindle_tests::sandbox::{Sandbox, said};
use rekindle_tests::small;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");
/// How large the system is, in bytes.
const SIZE: usize = 600_000;
/// Cases in the short form; the long form has ten times as many.
const FULL: u64 = 40;
const BROKEN: u64 = 20;
const FROZEN: u64 = 8;
/// More than any deed here needs.
const ROOM: Room = Room {
    bytes: 64 << 20,
    inodes: 20_000,
};
const PAGE: u64 = 4096;

/// The part that is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Workspace,
    Tier,
    Target,
}

const ALL: [What; 3] = [What::Workspace, What::Tier, What::Target];

impl What {
    /// Returns the folder of a sandbox that this is.
    fn folder(self) -> &'static str {
        match self {
            Self::Workspace => ".rekindle",
            Self::Tier => "tiers/near",
            Self::Target => "out",
        }
    }
}

/// A system with a part of it on a disk of its own.
struct House {
    sandbox: Sandbox,
    told: Told,
    case: String,
    /// Whether the disk may have lost what it had acknowledged.
    lossy: bool,
}

impl House {
    /// Makes a system that is backed up once, and moves a part of it to a disk.
    fn new(disk: &Path, what: What, case: String, dice: &mut Dice) -> Self {
        let sandbox = Sandbox::empty_in_memory(BINARY, small::SYSTEM);
        small::fill(&sandbox, SIZE, dice);
        let place = sandbox.path(what.folder());
        let on_disk = disk.join("part");
        fs::create_dir(&on_disk).expect("make a folder");
        fs::create_dir_all(place.parent().expect("its parent")).expect("make folders");
        symlink(&on_disk, &place).expect("link to the disk");
        let quick = |yaml: &str| yaml.replace("initial: 1s", "initial: 20ms");
        fs::write(sandbox.path("back-up.yaml"), quick(builtin::BACKUP)).expect("write a workflow");
        fs::write(sandbox.path("bring-back.yaml"), quick(builtin::RECOVER)).expect("write a workflow");
        sandbox.ok(&["init", "--kit", "kit.txt"]);
        sandbox.ok(&["backup"]);
        small::change(&sandbox, dice);
        if what == What::Target {
            sandbox.ok(&["backup"]);
        }
        Self {
            sandbox,
            told: Told::default(),
            case,
            lossy: false,
        }
    }

    fn deed(what: What) -> &'static [&'static str] {
        match what {
            What::Target => &["run", "bring-back.yaml", "-p", "to=out"],
            _ => &["run", "back-up.yaml"],
        }
    }

    fn fail(&self, why: &str) -> ! {
        panic!(
            "{}, seed {}: {why}; told last: {:#?}",
            self.case,
            seed(),
            self.told.last
        );
    }

    /// Compares the end of a command on a faulty disk with the ends that are allowed.
    fn typed(&self, ended: &Ended, codes: &[i32], words: &[&str]) {
        let text = format!("{:?} {}", self.told.last, ended.stdout);
        match ended.code {
            Some(0) => {}
            Some(code) if codes.contains(&code) && words.iter().any(|word| text.contains(word)) => {}
            _ => self.fail(&format!("it ended with {ended:?}")),
        }
    }

    /// The disk works again: everything reported exists, an interrupted run continues, a repeated command is
    /// right.
    fn well_again(&mut self, what: What) {
        self.told
            .judge(&self.sandbox)
            .unwrap_or_else(|why| self.fail(&why));
        let resumed = self.sandbox.run(&["resume", "--all"]);
        // A run that ended in part on the full disk stays so; the next command makes up for it.
        if ![Some(0), Some(1), Some(3)].contains(&resumed.status.code()) {
            self.fail(&said(&resumed));
        }
        if what == What::Target {
            let out = self.sandbox.path("out");
            if small::judge(&self.sandbox, &out).is_ok() && resumed.status.success() {
                return;
            }
            empty(&out);
            self.sandbox.ok(&["recover", "--to", "out"]);
            return small::judge(&self.sandbox, &out).unwrap_or_else(|why| self.fail(&why));
        }
        self.sandbox.ok(&["backup"]);
        let mut verified = self.sandbox.run(&["verify"]);
        if self.lossy && what == What::Tier && said(&verified).contains("is missing") {
            // A set that the disk has lost is named, and the other tier has it.
            self.sandbox.ok(&["tier", "repair", "near"]);
            verified = self.sandbox.run(&["verify"]);
        }
        if !verified.status.success() {
            self.fail(&said(&verified));
        }
        // From the tier that was in trouble, if one was.
        self.sandbox.ok(&["recover", "--tier", "near", "--to", "back"]);
        small::judge(&self.sandbox, &self.sandbox.path("back")).unwrap_or_else(|why| self.fail(&why));
    }
}

fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).expect("list a folder").flatten() {
        let path = entry.path();
        match entry.file_type().expect("its type").is_dir() {
            true => fs::remove_dir_all(path),
            false => fs::remove_file(path),
        }
        .expect("make room");
    }
}

/// What fills the disk.
#[derive(Clone, Copy, Debug)]
enum Of {
    Bytes,
    Files,
}

#[test]
fn a_disk_that_is_full_of_bytes_or_of_files_interrupts_a_deed_that_then_goes_on() {
    let mut dice = Dice::of(500);
    let (mut cases, mut refused, mut codes) = (0, 0, [0; 7]);
    while cases < many(FULL) {
        let dir = tempfile::tempdir().expect("make a folder");
        let disk = match Disk::memory(&dir.path().join("disk"), ROOM) {
            Ok(disk) => disk,
            Err(why) => return skipped("full disks", &why),
        };
        let (what, of) = (*dice.one(&ALL), *dice.one(&[Of::Bytes, Of::Files]));
        let case = format!("case {cases}: {what:?} on a disk full of {of:?}");
        let mut house = House::new(disk.path(), what, case, &mut dice);
        let space = rustix::fs::statvfs(disk.path()).expect("measure the disk");
        let (used, files) = (
            (space.f_blocks - space.f_bfree) * space.f_frsize,
            space.f_files - space.f_ffree,
        );
        let less = match of {
            // At least a page more than nothing: tmpfs takes a size of 0 for no limit.
            Of::Bytes => Room {
                bytes: (used + PAGE * dice.below(SIZE as u64 * 5 / 4 / PAGE)).max(PAGE),
                ..ROOM
            },
            Of::Files => Room {
                inodes: files + dice.below(30),
                ..ROOM
            },
        };
        disk.resize(less).unwrap_or_else(|why| house.fail(&why));
        let ended = Product::start(&house.sandbox, House::deed(what)).wait(&mut house.told);
        house.typed(&ended, &[3, 4], &["no room", "no space", "is full", "No space"]);
        if let Some(code @ 0..7) = ended.code {
            codes[code as usize] += 1;
        }
        refused += u64::from(ended.code != Some(0));
        // Read-only commands answer, even if nothing can be written.
        house.sandbox.ok(&["runs"]);
        disk.resize(ROOM).unwrap_or_else(|why| house.fail(&why));
        house.well_again(what);
        cases += 1;
    }
    assert!(
        refused * 3 > cases,
        "only {refused} of {cases} disks were too small"
    );
    summary(
        "full disks",
        &format!(
            "{cases} disks, {refused} too small (exit 1: {}, 3: {}, 4: {}), 0 violations",
            codes[1], codes[3], codes[4]
        ),
    );
}

#[test]
fn a_disk_that_breaks_down_to_read_only_interrupts_a_deed_that_then_goes_on() {
    let mut dice = Dice::of(501);
    let (mut refused, mut acknowledged, mut codes) = (0, 0, [0; 7]);
    for case in 0..many(BROKEN) {
        let dir = tempfile::tempdir_in("/dev/shm").expect("make a folder");
        let disk = match Disk::ext4(dir.path(), 96) {
            Ok(disk) => disk,
            Err(why) => return skipped("read-only disks", &why),
        };
        let what = *dice.one(&ALL);
        let mut house = House::new(
            disk.path(),
            what,
            format!("case {case}: {what:?} broke down"),
            &mut dice,
        );
        // Flush the test's own writes first: they must not be lost.
        disk.flush().unwrap_or_else(|why| house.fail(&why));
        let product = Product::start(&house.sandbox, House::deed(what));
        std::thread::sleep(Duration::from_micros(dice.below(120_000)));
        // As with a power cut, a sync that the breakdown interrupts may say yes.
        product.hear(&mut house.told);
        house.told.cut();
        house.lossy = true;
        if let Err(why) = disk.break_down() {
            product.kill(&mut house.told);
            return skipped("read-only disks", &why);
        }
        let ended = product.wait(&mut house.told);
        house.typed(
            &ended,
            &[1, 3, 4],
            &["ead-only", "nput/output error", "needs cleaning"],
        );
        if let Some(code @ 0..7) = ended.code {
            codes[code as usize] += 1;
        }
        refused += u64::from(ended.code != Some(0));
        house.sandbox.ok(&["runs"]);
        disk.boot().unwrap_or_else(|why| house.fail(&why));
        house.told.boot();
        house.well_again(what);
        acknowledged += house.told.acknowledged;
    }
    assert!(refused > 0, "no disk broke down before the end");
    summary(
        "read-only disks",
        &format!(
            "{} disks, {refused} broke down before the end (exit 1: {}, 3: {}, 4: {}), {acknowledged} acknowledged \
             transitions, 0 violations",
            many(BROKEN),
            codes[1],
            codes[3],
            codes[4]
        ),
    );
}

#[test]
fn a_disk_that_is_frozen_for_a_while_is_waited_for_and_nothing_is_lost() {
    let mut dice = Dice::of(502);
    let (mut held, mut acknowledged) = (0, 0);
    for case in 0..many(FROZEN) {
        let dir = tempfile::tempdir_in("/dev/shm").expect("make a folder");
        let disk = match Disk::ext4(dir.path(), 96) {
            Ok(disk) => disk,
            Err(why) => return skipped("frozen disks", &why),
        };
        let what = *dice.one(&ALL);
        let mut house = House::new(
            disk.path(),
            what,
            format!("case {case}: {what:?} froze"),
            &mut dice,
        );
        let product = Product::start(&house.sandbox, House::deed(what));
        let begins = |note: &Value| note["event"] == "step_started";
        assert!(product.hear_until(&mut house.told, begins), "{}", house.case);
        std::thread::sleep(Duration::from_micros(dice.below(40_000)));
        let frozen = match disk.freeze() {
            Ok(frozen) => frozen,
            Err(why) => {
                product.kill(&mut house.told);
                return skipped("frozen disks", &why);
            }
        };
        std::thread::sleep(Duration::from_millis(200 + dice.below(600)));
        product.hear(&mut house.told);
        let before = house.told.acknowledged;
        if what == What::Workspace {
            // Nothing can become durable, so nothing is reported; read-only commands answer from the log.
            let looked = house.sandbox.run(&["runs"]);
            assert!(looked.status.success(), "{}: {}", house.case, said(&looked));
            product.hear(&mut house.told);
            assert_eq!(
                house.told.acknowledged, before,
                "{}: told while frozen",
                house.case
            );
        }
        drop(frozen);
        let ended = product.wait(&mut house.told);
        assert_eq!(
            ended.code,
            Some(0),
            "{}: {ended:?} {:#?}",
            house.case,
            house.told.last
        );
        held += u64::from(house.told.acknowledged > before);
        house.well_again(what);
        acknowledged += house.told.acknowledged;
    }
    assert!(held > 0, "no disk froze before the end");
    summary(
        "frozen disks",
        &format!(
            "{} disks, {held} frozen before the end, {acknowledged} acknowledged transitions, 0 lost",
            many(FROZEN)
        ),
    );
}
