//! Data that vanished from the living system before a backup is told loudly; a tier that lacks the set is named.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use rekindle_tests::sandbox::{Sandbox, said};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const SMALL: &str = "\
system: small
root: ./data
components:
  images: {source: {type: files, path: images}}
tiers:
  near: {url: \"file://./tiers/near\"}
  far: {url: \"file://./tiers/far\"}
";

fn with_files(count: usize) -> Sandbox {
    let sandbox = Sandbox::empty(BINARY, SMALL);
    let images = sandbox.data().join("images");
    fs::create_dir_all(&images).expect("make a folder");
    for number in 0..count {
        fs::write(images.join(format!("{number}.png")), "an image").expect("write an image");
    }
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    sandbox.ok(&["backup"]);
    sandbox
}

fn set_of(sandbox: &Sandbox) -> String {
    let shown = sandbox.ok(&["show", "latest", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    shown["backup"]["set"].as_str().expect("a set").to_owned()
}

#[test]
fn a_component_that_lost_nearly_all_files_is_warned_of_with_the_set_to_go_back_to() {
    let sandbox = with_files(40);
    let before = set_of(&sandbox);
    for number in 0..40 {
        fs::remove_file(sandbox.data().join(format!("images/{number}.png"))).expect("lose an image");
    }
    let told = sandbox.ok(&["backup"]);
    let shown = sandbox.ok(&["show", "latest"]);
    for told in [&told, &shown] {
        assert!(told.contains("WARNING: images went from 40 files"), "{told}");
        assert!(told.contains(&format!("the set before it is {before}")), "{told}");
    }
    let status = said(&sandbox.run(&[]));
    assert!(status.contains("images went from 40 files to 0"), "{status}");
}

#[test]
fn a_component_of_few_files_or_with_most_of_them_left_is_not_warned_of() {
    for (count, left) in [(9, 0), (40, 5)] {
        let sandbox = with_files(count);
        for number in left..count {
            fs::remove_file(sandbox.data().join(format!("images/{number}.png"))).expect("remove an image");
        }
        let told = sandbox.ok(&["backup"]);
        assert!(!told.contains("WARNING"), "{told}");
    }
}

#[test]
fn a_set_that_a_tier_lacks_says_where_it_is_ready() {
    let sandbox = with_files(1);
    fs::remove_dir_all(sandbox.path("tiers/far")).expect("lose a tier");
    let output = sandbox.run(&["backup"]);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(3), "{told}");
    for line in [
        "0 of 1 components stored and verified in every tier",
        "  in near only; far is missing: images",
        "NOT recovery-ready; recoverable from near",
    ] {
        assert!(told.contains(line), "{told}");
    }
}
