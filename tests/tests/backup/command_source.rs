//! A component whose data only programs can reach: one dumps it, the other takes the dump back. Whatever the one
//! printed the other gets, byte for byte; where either fails, nothing is claimed to be saved or recovered.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::Path;

use rekindle_tests::sandbox::Sandbox;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// The mark of the data, which only dumps may hold.
const MARK: &str = "one-of-a-kind-7f3a";

fn sandbox(dump: &str, restore: &str) -> Sandbox {
    let system = format!(
        "\
system: small
root: ./data
components:
  notes: {{source: {{type: files, path: notes}}}}
  state: {{source: {{type: command, dump: {dump}, restore: {restore}}}}}
tiers:
  near: {{url: \"file://./tiers/near\"}}
"
    );
    let sandbox = Sandbox::empty(BINARY, &system);
    fs::create_dir_all(sandbox.path("data/notes")).expect("make folders");
    fs::write(sandbox.path("data/notes/a"), "a note").expect("write a note");
    fs::write(sandbox.path("data/state.bin"), state()).expect("write the state");
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    sandbox
}

/// Every byte there is, more of them than a pipe holds, and no line end at the end.
fn state() -> Vec<u8> {
    let mut bytes: Vec<u8> = MARK.bytes().collect();
    bytes.extend((0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    bytes
}

const DUMP: &str = "[cat, state.bin]";
/// The pattern of README.md: the folder is an argument, and no part of the code.
const RESTORE: &str = r#"[sh, -c, 'cat > "$1/state.bin"', sh, "${{ target.root }}"]"#;

/// Returns every file below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("list a folder").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

fn holds_the_mark(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = files(folder);
    found.retain(|path| {
        let bytes = fs::read(path).expect("read a file");
        bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes())
    });
    found
}

#[test]
fn what_one_program_dumped_the_other_gets_back_byte_for_byte() {
    let sandbox = sandbox(DUMP, RESTORE);
    sandbox.ok(&["backup"]);
    let workspace = sandbox.path(".rekindle");
    assert_eq!(holds_the_mark(&workspace), Vec::<std::path::PathBuf>::new());

    fs::write(sandbox.path("data/state.bin"), "newer").expect("change the state");
    sandbox.ok(&["recover", "--to", "back"]);
    assert!(fs::read(sandbox.path("back/state.bin")).expect("it is back") == state());
    assert_eq!(
        fs::read(sandbox.path("data/state.bin")).expect("it stays"),
        b"newer"
    );

    fs::remove_dir_all(sandbox.data()).expect("lose everything");
    let (code, said) = sandbox.code(&["recover"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--in-place") && said.contains("state"), "{said}");
    sandbox.ok(&["recover", "--in-place", "--yes"]);
    assert!(fs::read(sandbox.path("data/state.bin")).expect("it is back") == state());
    assert_eq!(holds_the_mark(&workspace), Vec::<std::path::PathBuf>::new());
}

#[test]
fn the_name_of_a_target_runs_no_command() {
    let sandbox = sandbox(DUMP, RESTORE);
    sandbox.ok(&["backup"]);
    for to in [
        "a; touch pwned; b",
        "a'$(touch pwned)'",
        "a\nb",
        "-c",
        "\"; touch pwned; \"",
    ] {
        sandbox.ok(&["recover", "--component", "state", &format!("--to={to}")]);
        assert!(fs::read(sandbox.path(to).join("state.bin")).expect("it is back") == state());
        let pwned = files(&sandbox.path("."))
            .into_iter()
            .find(|path| path.ends_with("pwned"));
        assert_eq!(pwned, None, "{to}");
    }
    let (code, said) = sandbox.code(&["lint", "system.yaml"]);
    assert_eq!(code, 0, "{said}");
    let linted = sandbox.ok(&["lint", "system.yaml"]);
    assert!(!linted.contains("inside the code"), "{linted}");
}

#[test]
fn a_dump_that_fails_is_said_with_its_last_lines_and_captures_nothing() {
    let failing = r#"[sh, "-c", "cat state.bin; echo the disk is gone >&2; exit 3"]"#;
    let sandbox = sandbox(failing, RESTORE);
    let (code, said) = sandbox.code(&["backup"]);
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("dump of state") && said.contains("the disk is gone"),
        "{said}"
    );
    let snapshots = sandbox.ok(&["snapshots", "--json"]);
    assert!(
        snapshots.contains("notes") && !snapshots.contains("state"),
        "{snapshots}"
    );
    assert_eq!(
        files(&sandbox.path(".rekindle/staging")),
        Vec::<std::path::PathBuf>::new()
    );
}

#[test]
fn a_restore_that_fails_is_said_with_its_last_lines() {
    let failing = r#"[sh, "-c", "cat > /dev/null; echo ${{ target.root }} is full >&2; exit 3"]"#;
    let sandbox = sandbox(DUMP, failing);
    sandbox.ok(&["backup"]);
    let (code, said) = sandbox.code(&["recover", "--to", "back", "--component", "state"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("restore of state") && said.contains("back is full"),
        "{said}"
    );
    assert_eq!(
        files(&sandbox.path(".rekindle/staging")),
        Vec::<std::path::PathBuf>::new()
    );
}

#[test]
fn a_dump_that_prints_more_than_it_may_is_ended() {
    let sandbox = sandbox("[yes], max_bytes: 100000", RESTORE);
    let (code, said) = sandbox.code(&["backup"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("more than 100000 bytes"), "{said}");
    assert_eq!(
        files(&sandbox.path(".rekindle/staging")),
        Vec::<std::path::PathBuf>::new()
    );
}

#[test]
fn a_dump_that_succeeds_and_prints_nothing_draws_a_warning() {
    let sandbox = sandbox("[\"true\"]", RESTORE);
    let warning = "WARNING: state: the dump succeeded and printed nothing";
    let said = sandbox.ok(&["backup"]);
    assert!(said.contains(warning), "{said}");
    let shown = sandbox.ok(&["show", "latest"]);
    assert!(shown.contains(warning), "{shown}");
}
