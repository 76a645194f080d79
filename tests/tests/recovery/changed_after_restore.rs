//! Somebody changes restored data while no process drives the recovery; `resume` must not report it as
//! restored.
//!
//! The recovery dies after all components are restored and before the run is over. Then files are deleted,
//! cut short, or overwritten; or, before a recovery, a link replaces a component's folder.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};

use rekindle_tests::faults::Place;
use rekindle_tests::sandbox::{Sandbox, la_factoria_in_short};
use rekindle_tests::tree;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

fn backed_up() -> Sandbox {
    let sandbox = Sandbox::new(BINARY, &la_factoria_in_short(), 5_000_000);
    sandbox.ok(&["backup"]);
    sandbox
}

/// Returns a copy of the system, with a whole recovery and one into `out` that died before its last record.
fn restored_and_dead(backed_up: &Sandbox) -> Sandbox {
    let sandbox = backed_up.fork();
    let records = sandbox.count(&["recover", "--to", "undisturbed"])(Place::BeforeAppend);
    // Parallel steps share appends in another way each time, and a slow one records how far it is.
    let mut last = records;
    while let Err(passed) = sandbox.killed(&["recover", "--to", "out"], Place::BeforeAppend, last) {
        fs::remove_dir_all(sandbox.path("out")).expect("remove what was recovered");
        last = passed;
    }
    sandbox
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let found = tree::read(folder).expect("read a tree");
    let files = found.into_iter().filter(|(_, what)| what.starts_with("file"));
    files.map(|(path, _)| folder.join(path)).collect()
}

fn expect_undisturbed(sandbox: &Sandbox) {
    let undisturbed = tree::read(&sandbox.path("undisturbed")).expect("read");
    let found = tree::read(&sandbox.path("out")).expect("read");
    assert_eq!(tree::differences(&undisturbed, &found), [""; 0]);
}

fn invalidated(sandbox: &Sandbox) -> Vec<String> {
    let text = |record: &serde_json::Value| record.to_string();
    sandbox
        .history()
        .iter()
        .map(text)
        .filter(|record| record.contains("step_invalidated"))
        .collect()
}

#[test]
fn a_resume_restores_again_what_went_missing_or_changed_after_its_restore_succeeded() {
    let backed_up = backed_up();
    type Disturb = fn(&Path);
    let cases: [(&str, &str, Disturb); 4] = [
        ("a file is gone", "cache", |file| {
            fs::remove_file(file).expect("remove")
        }),
        ("a file is cut short", "education", |file| {
            fs::write(file, "short").expect("write")
        }),
        ("a file has other bytes of the same length", "education", |file| {
            let len = fs::read(file).expect("read").len();
            fs::write(file, vec![b'x'; len]).expect("write");
        }),
        ("a database is gone", "db", |file| {
            fs::remove_file(file).expect("remove")
        }),
    ];
    // A recovery step makes entries of the cache anew, so their content may change after the restore.
    for (what, folder, disturb) in cases {
        let sandbox = restored_and_dead(&backed_up);
        let file = files(&sandbox.path("out").join(folder)).swap_remove(0);
        disturb(&file);
        sandbox.ok(&["resume"]);
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let why = invalidated(&sandbox);
        assert!(why.iter().any(|why| why.contains(&name)), "{what}: {why:?}");
        expect_undisturbed(&sandbox);
    }
}

#[test]
fn a_resume_keeps_steps_whose_files_were_only_touched_or_have_others_beside_them() {
    let sandbox = restored_and_dead(&backed_up());
    let file = files(&sandbox.path("out/cache")).swap_remove(0);
    let content = fs::read(&file).expect("read");
    fs::write(&file, content).expect("write");
    fs::write(sandbox.path("out/cache/another"), "another").expect("write");
    fs::write(sandbox.path("out/db/content.sqlite-shm"), "").expect("write");
    sandbox.ok(&["resume"]);
    assert_eq!(invalidated(&sandbox), [""; 0]);
}

#[test]
fn nothing_is_restored_through_a_link_below_the_target() {
    let sandbox = backed_up();
    for (component, link) in [("context_cache", "cache"), ("content_database", "db")] {
        let (out, elsewhere) = (
            sandbox.path("named").join(component),
            sandbox.path("elsewhere").join(component),
        );
        fs::create_dir_all(&elsewhere).expect("make a folder");
        fs::create_dir_all(&out).expect("make a folder");
        // A link that a person names is followed.
        let target = sandbox.path(&format!("to-{component}"));
        std::os::unix::fs::symlink(&out, &target).expect("make a link");
        let to = target.to_string_lossy().into_owned();
        let recover = ["recover", "--component", component, "--to", &to];
        // The folder is empty when the run begins; the link comes before anything is restored.
        assert_eq!(sandbox.killed(&recover, Place::BeforeAppend, 3), Ok(()));
        std::os::unix::fs::symlink(&elsewhere, out.join(link)).expect("make a link");
        let (code, said) = sandbox.code(&["resume"]);
        assert_ne!(code, 0, "{said}");
        assert!(said.contains("is a link to"), "{said}");
        assert_eq!(fs::read_dir(&elsewhere).expect("read").count(), 0, "{component}");

        fs::remove_file(out.join(link)).expect("remove the link");
        sandbox.ok(&recover);
        assert!(!files(&out.join(link)).is_empty(), "{component}");
    }
}
