//! `rekindle --version` tells the commit and the formats; a build without git says that it knows none.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Parser;
use rekindle_cli::args::Cli;
use rekindle_cli::printer::SCHEMA_VERSION;

#[path = "../build.rs"]
#[expect(
    dead_code,
    clippy::print_stdout,
    reason = "cargo runs the build script's `main`, and reads what it prints"
)]
mod build_script;

fn said(option: &str) -> String {
    let shown = Cli::try_parse_from(["rekindle", option]).expect_err("the version ends the parsing");
    shown.to_string()
}

#[test]
fn the_version_tells_the_commit_and_every_format_and_its_short_form_is_one_line() {
    let first = format!("rekindle {} (development build)", env!("CARGO_PKG_VERSION"));
    assert_eq!(said("-V").trim_end(), first);
    let long = said("--version");
    let formats: Vec<&str> = long.lines().skip(1).collect();
    assert_eq!(long.lines().next(), Some(first.as_str()));
    let expect = rekindle_workspace::FORMATS
        .into_iter()
        .chain([("JSON output", SCHEMA_VERSION)]);
    let expect: Vec<String> = expect
        .map(|(name, version)| format!("{name} format {version}"))
        .collect();
    assert_eq!(formats, expect);
    for (name, version) in [
        (
            "journal record",
            u32::from(rekindle_journal::codec::RECORD_FORMAT),
        ),
        ("journal archive", rekindle_journal::archive::ARCHIVE_FORMAT),
    ] {
        assert!(expect.contains(&format!("{name} format {version}")), "{long}");
    }
}

fn git(folder: &Path, args: &[&str]) -> bool {
    let config = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "-c",
        "commit.gpgsign=false",
    ];
    let output = Command::new("git")
        .current_dir(folder)
        .args(config)
        .args(args)
        .output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn a_build_names_its_commit_and_a_change_and_no_other_repository() {
    let folder = tempfile::tempdir().expect("a folder");
    let package = folder.path().join("crates/cli");
    fs::create_dir_all(&package).expect("make the package");
    fs::write(package.join("Cargo.toml"), "").expect("write the manifest");
    assert_eq!(build_script::commit(&package), None, "no repository");
    if !git(folder.path(), &["init", "-q"]) {
        // Without git, a build knows no commit: that is the case above.
        return;
    }
    assert_eq!(
        build_script::commit(&package),
        None,
        "an archive in another repository"
    );
    assert!(git(folder.path(), &["add", "."]) && git(folder.path(), &["commit", "-qm", "x"]));
    let commit = build_script::commit(&package).expect("a commit");
    assert!(
        commit.len() >= 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{commit}"
    );
    fs::write(folder.path().join("note"), "no source").expect("write a file");
    assert_eq!(build_script::commit(&package), Some(commit.clone()));
    fs::write(package.join("Cargo.toml"), "changed").expect("change a source");
    assert_eq!(build_script::commit(&package), Some(format!("{commit}-modified")));
}
