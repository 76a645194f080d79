//! Tells the program which commit it is built from, for `rekindle --version`.
//!
//! Only a release build asks git: elsewhere each commit would build the command and its tests again. Nothing here fails a
//! build: a source archive has no git, and its program says `unknown commit`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the program is made of, from the root of the repository.
const SOURCES: [&str; 5] = ["Cargo.toml", "Cargo.lock", "crates", "tools", "workflows"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let is_release = env::var_os("PROFILE").is_some_and(|profile| profile == "release");
    let built = match is_release {
        true => {
            watch(&package);
            commit(&package).unwrap_or_else(|| "unknown commit".to_owned())
        }
        false => "development build".to_owned(),
    };
    println!("cargo::rustc-env=REKINDLE_COMMIT={built}");
}

/// Has cargo run this again after a commit, a checkout or a change of the sources.
fn watch(package: &Path) {
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(file) = git(package, &["rev-parse", "--git-path", name]) {
            println!("cargo::rerun-if-changed={}", package.join(file).display());
        }
    }
    for name in SOURCES {
        println!("cargo::rerun-if-changed=../../{name}");
    }
}

/// Returns the commit of the repository that the package belongs to; `-modified` follows if its sources differ from the
/// commit. Returns none if there is no git, or if an archive lies in another repository.
pub(crate) fn commit(package: &Path) -> Option<String> {
    git(package, &["ls-files", "--error-unmatch", "Cargo.toml"])?;
    let commit = git(package, &["rev-parse", "--short=12", "HEAD"])?;
    let mut status = vec!["--no-optional-locks", "status", "--porcelain", "--"];
    let sources = SOURCES.map(|name| format!(":/{name}"));
    status.extend(sources.iter().map(String::as_str));
    let changed = git(package, &status)?;
    Some(match changed.is_empty() {
        true => commit,
        false => format!("{commit}-modified"),
    })
}

/// Returns what git says; none if it fails or is not there.
fn git(folder: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(folder).args(args).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}
