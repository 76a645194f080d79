//! The documents are true of the tree: every path that they name exists, and ARCHITECTURE.md names every crate and
//! tool.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// All Markdown files at the top, in docs/ and of the formats.
fn documents() -> Vec<String> {
    let mut documents = vec![
        "crates/journal-local/FORMAT.md".to_owned(),
        "crates/vault/FORMAT.md".to_owned(),
        "tests/README.md".to_owned(),
    ];
    for folder in ["", "docs/"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") {
                documents.push(format!("{folder}{name}"));
            }
        }
    }
    documents
}

/// The words in backticks that begin with a folder of this repository.
fn paths(text: &str) -> Vec<&str> {
    let words = text.split('`').skip(1).step_by(2);
    words
        .filter(|word| {
            ["crates/", "tools/", "tests/", "workflows/"]
                .iter()
                .any(|folder| word.starts_with(folder))
        })
        .filter(|word| !word.contains([' ', '*', '<', '…', ':']))
        .collect()
}

#[test]
fn every_path_in_the_documents_exists() {
    for file in documents() {
        let text = read(&file);
        for path in paths(&text) {
            assert!(
                root().join(path).exists(),
                "{file} names {path}, which does not exist"
            );
        }
    }
}

#[test]
fn every_crate_and_tool_is_on_the_map() {
    let map = read("ARCHITECTURE.md");
    for folder in ["crates", "tools"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder").flatten() {
            if entry.path().is_dir() {
                let path = format!("`{folder}/{}`", entry.file_name().to_string_lossy());
                assert!(map.contains(&path), "ARCHITECTURE.md does not name {path}");
            }
        }
    }
}

/// The folders of the crates and tools whose manifest names a dependency.
fn users_of(dependency: &str) -> Vec<String> {
    let mut users = Vec::new();
    for folder in ["crates", "tools"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder").flatten() {
            let manifest = fs::read_to_string(entry.path().join("Cargo.toml")).unwrap_or_default();
            if manifest
                .lines()
                .any(|line| line.starts_with(&format!("{dependency}.workspace")))
            {
                users.push(format!("{folder}/{}", entry.file_name().to_string_lossy()));
            }
        }
    }
    users.sort();
    users
}

#[test]
fn sled_and_petgraph_are_named_by_one_crate_of_the_product_each() {
    assert_eq!(users_of("sled"), ["crates/journal-local", "tools/bench"]);
    assert_eq!(users_of("petgraph"), ["crates/plan"]);
}

/// The edges of ARCHITECTURE.md's picture: which crates of this repository each crate may depend on, tests aside.
const EDGES: [(&str, &[&str]); 17] = [
    ("model", &[]),
    ("plan", &["model"]),
    ("journal", &["model"]),
    ("journal-local", &["journal", "model"]),
    ("vault", &["model"]),
    ("sources", &["model"]),
    ("report", &["model", "plan"]),
    ("engine", &["journal", "model", "plan"]),
    ("actions", &["engine", "model", "plan", "sources", "vault"]),
    ("server", &["engine", "journal", "model", "plan"]),
    ("replica", &["engine", "journal", "model", "vault"]),
    (
        "workspace",
        &[
            "actions",
            "engine",
            "journal",
            "journal-local",
            "model",
            "plan",
            "replica",
            "report",
            "server",
            "sources",
            "vault",
        ],
    ),
    (
        "demo",
        &[
            "actions",
            "factoria",
            "model",
            "plan",
            "report",
            "sources",
            "workspace",
        ],
    ),
    (
        "cli",
        &[
            "actions",
            "demo",
            "engine",
            "journal",
            "model",
            "plan",
            "replica",
            "report",
            "server",
            "workspace",
        ],
    ),
    ("factoria", &["model"]),
    ("bench", &["engine", "journal", "journal-local", "model", "plan"]),
    (
        "tests",
        &[
            "cli",
            "engine",
            "factoria",
            "journal",
            "journal-local",
            "model",
            "plan",
        ],
    ),
];

/// The files that may write to the standard streams or to the terminal: the printer, which escapes; a prompt of constant
/// words; the place where logs go; a supervisor, which has no printer.
const PRINTS: [&str; 4] = [
    "crates/actions/src/supervise/mod.rs",
    "crates/cli/src/lib.rs",
    "crates/cli/src/printer.rs",
    "crates/cli/src/prompt.rs",
];

#[test]
fn nothing_reaches_a_terminal_around_the_printer() {
    let mut prints = BTreeSet::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("list a folder").flatten() {
            let path = entry.path();
            let name = path
                .strip_prefix(root())
                .expect("below the root")
                .display()
                .to_string();
            if path.is_dir() {
                folders.push(path);
            } else if name.contains("/src/") && name.ends_with(".rs") && !name.contains("/bin/") {
                let text = fs::read_to_string(&path).expect("read a source");
                let product = text.split("#[cfg(test)]").next().unwrap_or_default();
                let words = [
                    "io::stdout",
                    "io::stderr",
                    "println!(",
                    "eprint!(",
                    " print!(",
                    "/dev/tty\"",
                ];
                if words.iter().any(|word| product.contains(word)) && !name.ends_with("/tests.rs") {
                    prints.insert(name);
                }
            }
        }
    }
    assert_eq!(prints, PRINTS.map(str::to_owned).into());
}

#[test]
fn every_crate_depends_on_the_crates_of_the_picture_and_on_no_other() {
    let metadata = std::process::Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--locked",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    assert!(
        metadata.status.success(),
        "{}",
        String::from_utf8_lossy(&metadata.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let own = |name: &serde_json::Value| {
        let name = name.as_str().unwrap_or_default();
        name.strip_prefix("rekindle-").map(str::to_owned)
    };
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let dependencies = package["dependencies"].as_array().expect("dependencies");
        let built = dependencies.iter().filter(|one| one["kind"] != "dev");
        let mut edges: Vec<String> = built.filter_map(|one| own(&one["name"])).collect();
        edges.sort();
        found.push((own(&package["name"]).expect("a crate of ours"), edges));
    }
    found.sort();
    let mut picture: Vec<(String, Vec<String>)> = EDGES
        .iter()
        .map(|(name, edges)| {
            (
                (*name).to_owned(),
                edges.iter().map(|one| (*one).to_owned()).collect(),
            )
        })
        .collect();
    picture.sort();
    assert_eq!(found, picture);
}

#[test]
fn the_application_knows_no_command_line() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "-e",
            "normal",
            "--prefix",
            "none",
            "-p",
            "rekindle-workspace",
        ])
        .current_dir(root())
        .output()
        .expect("cargo tree");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8_lossy(&tree.stdout);
    assert!(tree.contains("rekindle-engine "), "{tree}");
    for face in ["clap ", "indicatif ", "rekindle-cli "] {
        assert!(!tree.lines().any(|line| line.starts_with(face)), "{face}");
    }
}

#[test]
fn every_file_of_claims_is_part_of_the_binary_that_runs_them() {
    fn modules(folder: &str, list: &str) {
        let named = read(&format!("{folder}/{list}"));
        for entry in fs::read_dir(root().join(folder)).expect("a folder").flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            let name = file.trim_end_matches(".rs");
            assert!(
                file == list || named.contains(&format!("\nmod {name};")),
                "{folder}/{list} does not name {name}"
            );
            if entry.path().is_dir() {
                modules(&format!("{folder}/{name}"), "mod.rs");
            }
        }
    }
    modules("tests/tests", "main.rs");
}

#[test]
fn the_table_of_planted_faults_is_what_is_planted() {
    let (table, script) = (read("tests/README.md"), read("tools/planted"));
    let named = read("crates/model/src/planted.rs");
    let planted: Vec<Vec<&str>> = script
        .split("table='")
        .nth(1)
        .and_then(|rest| rest.split('\'').next())
        .expect("a table")
        .lines()
        .map(|line| line.split_whitespace().collect())
        .filter(|words: &Vec<&str>| !words.is_empty())
        .collect();
    assert_eq!(
        planted.len(),
        named.matches(" => \"").count(),
        "each fault has its line"
    );
    for words in &planted {
        let [fault, _, test] = words[..] else {
            panic!("a fault, a binary and a test: {words:?}");
        };
        assert!(
            named.contains(&format!("=> \"{fault}\"")),
            "{fault} is not planted"
        );
        let told = table.lines().any(|line| {
            line.starts_with(&format!("| `{fault}` |")) && line.ends_with(&format!("| `{test}` |"))
        });
        assert!(told, "tests/README.md does not say that {test} notices {fault}");
    }
}
