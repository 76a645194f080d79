//! The mistakes that new users make, and all that the product says about each: what is wrong, where, and what to do.
//!
//! A snapshot has each mistake as a person sees it on the screen. Read a changed one as that person would.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use rekindle_tests::sandbox::{NOTES, Sandbox, said};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// What a person sees, with folders, ids and times that differ each time replaced.
struct Screen {
    sandbox: Sandbox,
    shown: String,
}

impl Screen {
    fn of(sandbox: Sandbox) -> Self {
        Self {
            sandbox,
            shown: String::new(),
        }
    }

    /// A workspace with one component, one tier and one backup.
    fn with_a_backup() -> Self {
        let sandbox = Sandbox::with_a_note(BINARY, NOTES, "one");
        sandbox.ok(&["backup"]);
        Self::of(sandbox)
    }

    /// Makes a mistake, which the product must notice and must have an answer to.
    fn mistake(&mut self, line: &str) {
        let args: Vec<&str> = line.split(' ').collect();
        let output = self.sandbox.run(&args);
        let said = self.redacted(&said(&output));
        let exit = output.status.code();
        assert!(
            exit.is_some_and(|code| code != 0),
            "{line}: nothing was noticed: {said}"
        );
        let answers = ["hint: ", "= help: ", "tip: ", "Usage: ", "expected ", "must be "];
        assert!(
            answers.iter().any(|answer| said.contains(answer)),
            "{line}: what to do? {said}"
        );
        for nameless in [" : ", "``", "\"\"", "tier :", " ,", "file  "] {
            assert!(!said.contains(nameless), "{line}: something has no name: {said}");
        }
        let code = exit.unwrap_or_default();
        self.shown += &format!("$ rekindle {line}\n{}\nexit {code}\n\n", said.trim_end());
    }

    /// Writes a file, in place of what was there, and looks at it.
    fn in_file(&mut self, name: &str, text: &str) {
        fs::write(self.sandbox.path(name), text).expect("write a file");
        self.mistake(&format!("lint {name}"));
    }

    /// Compares what was shown with the snapshot of that name.
    fn is_known(&self, name: &str) {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../../snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.bind(|| insta::assert_snapshot!(name, self.shown));
    }

    fn redacted(&self, said: &str) -> String {
        let folder = self.sandbox.path("").display().to_string();
        let said = said
            .replace(folder.trim_end_matches('/'), "/home/ann")
            .replace("rekindle-under-test", "rekindle");
        let mut shown = String::new();
        let mut rest = said.as_str();
        while let Some(c) = rest.chars().next() {
            let known = [("ID", ID), ("TIME", TIME), ("TIME", SHOWN_TIME)];
            let known = known
                .iter()
                .find_map(|(name, form)| Some((*name, has_form(rest, form)?)));
            let (word, length) =
                known.map_or((&rest[..c.len_utf8()], c.len_utf8()), |(name, len)| (name, len));
            shown.push_str(word);
            rest = &rest[length..];
        }
        shown
    }
}

/// The forms of what differs each time: `x` is a digit of either system.
const ID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
const TIME: &str = "xxxx-xx-xxTxx:xx:xxZ";
const SHOWN_TIME: &str = "xxxx-xx-xx xx:xx:xx UTC";

/// Returns the length of a form that a text begins with.
fn has_form(text: &str, form: &str) -> Option<usize> {
    let begins = text.get(..form.len())?;
    let fits = |(c, form): (char, char)| {
        if form == 'x' {
            c.is_ascii_hexdigit()
        } else {
            c == form
        }
    };
    begins.chars().zip(form.chars()).all(fits).then_some(form.len())
}

#[test]
fn on_the_command_line() {
    let mut screen = Screen::with_a_backup();
    for line in [
        "recver",
        "recover --dryrun",
        "backup --component note",
        "backup --tier neer",
        "show 0000dead",
        "retry latest captur",
        "recover --to out --from 0000dead",
        "recover --scenario fire --to out",
        "restore notes",
        "restore note --to out",
        "restore notes --to out --include *.txt",
        "restore notes --to data",
        "recover",
        "runs --since tomorow",
        "demo --size huge",
        "verify --sample 120%",
        "run nightly.yaml",
        "lint system.yml",
    ] {
        screen.mistake(line);
    }
    screen.is_known("mistakes_on_the_command_line");
}

#[test]
fn before_there_is_anything() {
    let mut screen = Screen::of(Sandbox::empty(BINARY, NOTES));
    fs::remove_file(screen.sandbox.path("system.yaml")).expect("remove system.yaml");
    screen.mistake("backup");
    screen.mistake("status");
    screen.mistake("lint");
    fs::write(screen.sandbox.path("system.yaml"), NOTES).expect("write system.yaml");
    screen.mistake("backup");
    screen.sandbox.ok(&["init"]);
    screen.mistake("show");
    screen.mistake("recover --dry-run");
    screen.mistake("restore notes --to out");
    screen.is_known("mistakes_before_there_is_anything");
}

#[test]
fn with_tiers_and_keys() {
    let mut screen = Screen::with_a_backup();
    let near = screen.sandbox.path("tiers/near");
    fs::rename(&near, screen.sandbox.path("unmounted")).expect("unmount the tier");
    screen.mistake("tier check");
    screen.mistake("recover --to out --dry-run");
    screen.mistake("restore notes --to out");
    fs::rename(screen.sandbox.path("unmounted"), &near).expect("mount it again");
    fs::rename(screen.sandbox.path("config"), screen.sandbox.path("lost")).expect("lose the key");
    screen.mistake("backup");
    screen.mistake("recover --to out");
    let stranger = Sandbox::with_a_note(BINARY, NOTES, "another system");
    fs::rename(stranger.path("config"), screen.sandbox.path("config")).expect("take another key");
    screen.mistake("backup");
    screen.is_known("mistakes_with_tiers_and_keys");
}

#[test]
fn in_system_yaml() {
    let mut screen = Screen::of(Sandbox::empty(BINARY, NOTES));
    let source = "{source: {type: files, path: notes}}";
    for text in [
        // A tab.
        &format!("system: shop\ncomponents:\n\tnotes: {source}\n"),
        // An indentation that fits nothing.
        &format!("system: shop\ncomponents:\n    notes: {source}\n  orders: {source}\n"),
        // A key twice.
        &format!("system: shop\ncomponents:\n  notes: {source}\n  notes: {source}\n"),
        // A key without its colon.
        "system: shop\ncomponents\n  notes: x\n",
        // Keys that do not exist.
        "system: shop\ncomponents:\n  notes: {path: notes, depends_on: [db]}\ntier:\n  near: {target: /mnt/near, schedule: 1h}\n",
        // A list where there must be names.
        "system: shop\ncomponents:\n  - notes\n",
        // Types, lengths of time and URLs that do not exist.
        "system: shop\ncomponents:\n  notes: {source: {type: postgress, path: notes}}\ntiers:\n  near: {url: /mnt/near, every: daily}\n  \
         far: {url: \"s3://bucket/x\", retain: 30}\n",
        // Names that do not exist.
        &format!(
            "system: shop\ncomponents:\n  notes: {{source: {{type: files, path: n}}, after: [ordes], rto: 1 hour}}\n  orders: {source}\n"
        ),
        // A circle.
        "system: shop\ncomponents:\n  a: {source: {type: files, path: a}, after: [b]}\n  b: {source: {type: files, path: b}, after: [a]}\n",
        // Nothing.
        "",
    ] {
        screen.in_file("system.yaml", text);
    }
    screen.is_known("mistakes_in_system_yaml");
}

#[test]
fn in_workflows() {
    let mut screen = Screen::with_a_backup();
    for text in [
        // Words of another tool.
        "name: nightly\njobs:\n  - name: build\n    run: make\n    if: success\n    timeout-minutes: 5\n",
        "workflow: nightly\nsteps:\n  - {name: a, run: make, if: success(), timeout-minutes: 5, continue-on-error: true, \
         depends_on: [b], working-directory: src, retries: 3}\n",
        // An action, a step and a condition that do not exist.
        "workflow: nightly\nsteps:\n  - {id: a, uses: snapshoot, needs: [b], run_if: allways}\n",
        // A step that does nothing.
        "workflow: nightly\nsteps:\n  - {id: a}\n",
        // A circle.
        "workflow: nightly\nsteps:\n  - {id: a, shell: make, needs: [b]}\n  - {id: b, shell: make, needs: [a]}\n",
        // Expressions.
        "workflow: nightly\nparams: {to: {type: string}}\nsteps:\n  - {id: a, shell: make, env: {TO: \"${{ params.too }}\", \
         X: \"${{ steps.a.out\", Y: \"${{ github.sha }}\"}}\n",
        // Numbers and lengths of time.
        "workflow: nightly\nmax_parallel: many\nsteps:\n  - {id: a, shell: make, timeout: 5 minuts, retry: 3}\n",
    ] {
        screen.in_file("nightly.yaml", text);
    }
    let asks = "workflow: nightly\nparams: {to: {type: string}}\nsteps:\n  - {id: a, shell: 'true'}\n";
    fs::write(screen.sandbox.path("nightly.yaml"), asks).expect("write a workflow");
    screen.mistake("run nightly.yaml");
    screen.mistake("run nightly.yaml -p too=x");
    screen.mistake("run nightly.yaml -p to");
    screen.is_known("mistakes_in_workflows");
}
