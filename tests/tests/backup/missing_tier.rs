//! If a tier is gone, most likely not mounted, a backup names it and never makes it again; `tier create` does that.

use std::fs;

use rekindle_tests::sandbox::{NOTES_IN_TWO_TIERS, Sandbox};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

fn backed_up() -> Sandbox {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES_IN_TWO_TIERS, "hello");
    sandbox.ok(&["backup"]);
    sandbox
}

#[test]
fn a_tier_whose_folder_is_missing_or_empty_is_down_and_nothing_is_made_in_its_place() {
    for emptied in [false, true] {
        let sandbox = backed_up();
        let far = sandbox.path("tiers/far");
        fs::remove_dir_all(&far).expect("lose a tier");
        if emptied {
            fs::create_dir(&far).expect("leave a mount point");
        }
        let output = sandbox.run(&["backup"]);
        let told = rekindle_tests::sandbox::said(&output);
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert!(
            told.contains("tier far: file://./tiers/far is missing or empty"),
            "{told}"
        );
        assert!(told.contains("rekindle tier create far"), "{told}");
        assert_eq!(far.exists(), emptied, "{told}");
        assert!(!emptied || fs::read_dir(&far).expect("read it").next().is_none());
        let (code, told) = sandbox.code(&["sets"]);
        assert_eq!(code, 3, "{told}");
        assert!(told.contains("has stored there before"), "{told}");

        sandbox.ok(&["tier", "create", "far"]);
        sandbox.ok(&["backup"]);
        fs::remove_dir_all(sandbox.path("tiers/near")).expect("lose the other tier");
        sandbox.ok(&["recover", "--to", "out"]);
        let back = fs::read_to_string(sandbox.path("out/notes/a.md"));
        assert_eq!(back.expect("it is back"), "hello");
    }
}

#[test]
fn a_tier_with_a_new_location_is_made_there() {
    let sandbox = backed_up();
    fs::remove_dir_all(sandbox.path("tiers/far")).expect("lose a tier");
    let moved = NOTES_IN_TWO_TIERS.replace("./tiers/far", "./tiers/farther");
    fs::write(sandbox.path("system.yaml"), moved).expect("write system.yaml");
    sandbox.ok(&["backup"]);
    assert!(sandbox.path("tiers/farther/format").exists());
}

#[test]
fn a_workspace_that_came_back_by_the_kit_knows_the_tiers_that_it_found() {
    let sandbox = backed_up();
    fs::remove_dir_all(sandbox.path(".rekindle")).expect("lose the workspace");
    fs::remove_dir_all(sandbox.path("config")).expect("lose the key");
    sandbox.ok(&["init", "--from-kit", "kit.txt"]);
    fs::remove_dir_all(sandbox.path("tiers/far")).expect("lose a tier");
    let (code, told) = sandbox.code(&["backup"]);
    assert_eq!(code, 3, "{told}");
    assert!(!sandbox.path("tiers/far").exists());
}

/// The copies go to all tiers at once. So the step that stores in tier near may look into tier far, and find it without
/// its second location, before the step that makes that location opens it.
#[test]
fn a_location_that_a_tier_gains_is_made_by_the_next_backup() {
    let sandbox = backed_up();
    let more = NOTES_IN_TWO_TIERS.replace(
        "{url: \"file://./tiers/far\"}",
        "{urls: [\"file://./tiers/far\", \"file://./tiers/farther\"]}",
    );
    assert_ne!(more, NOTES_IN_TWO_TIERS);
    fs::write(sandbox.path("system.yaml"), more).expect("write system.yaml");
    sandbox.ok(&["backup"]);
    for tier in ["near", "far"] {
        fs::remove_dir_all(sandbox.path(&format!("tiers/{tier}"))).expect("lose all other locations");
    }
    sandbox.ok(&["recover", "--to", "out"]);
    let back = fs::read_to_string(sandbox.path("out/notes/a.md"));
    assert_eq!(back.expect("it is back"), "hello");
}
