//! What a file names and this host lacks: programs that do not exist or may not be run, folders, secrets, and the paths
//! of sources. A host that only checks a file may lack all of it, so these are warnings.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rekindle_model::system::{Probe, System};
use serde_json::Value;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity, Sink};
use crate::origin::Origin;
use crate::overlap::is_absolute;
use crate::system::Loaded;
use crate::workflow::{Hooks, StepTemplate, Workflow};

/// How an expression begins: its value is not known yet.
const EXPRESSION: &str = "${{";

impl Loaded<System> {
    /// Returns what the system names and this host lacks. `base_dir` is the folder of the file.
    pub fn lacks(&self, base_dir: &Path) -> Diagnostics {
        let (source, root) = self.origin();
        let mut sink = Sink::new(source);
        for (at, Lack { message, help }) in system_lacks(&self.value, base_dir) {
            sink.warn(root.locate(&at), message, Some(help));
        }
        let mut found = sink.finish();
        found.0.append(&mut self.hooks.lacks(base_dir));
        found
    }
}

impl Hooks {
    fn lacks(&self, base_dir: &Path) -> Vec<Diagnostic> {
        let lacks = |(step, origin)| step_lacks(step, origin, base_dir);
        self.written().flat_map(lacks).collect()
    }
}

impl Workflow {
    /// Returns what its steps name and this host lacks. `base_dir` is the folder in which programs run.
    pub fn lacks(&self, base_dir: &Path) -> Diagnostics {
        let lacks = |step| step_lacks(step, &self.origin, base_dir);
        Diagnostics(self.steps.iter().flat_map(lacks).collect())
    }
}

fn step_lacks(step: &StepTemplate, origin: &Origin, base_dir: &Path) -> Vec<Diagnostic> {
    let mut found: Vec<_> = action_lacks(&step.uses, &step.with, base_dir)
        .into_iter()
        .map(|(inside, lack)| ([&["with"][..], &inside].concat(), lack))
        .collect();
    if let Some(undo) = &step.compensate {
        let lacks = action_lacks(&undo.uses, &undo.with, base_dir).into_iter();
        found.extend(lacks.map(|(inside, lack)| ([&["compensate", "with"][..], &inside].concat(), lack)));
    }
    let warning = |(inside, Lack { message, help }): (Vec<&str>, Lack)| {
        let span = origin.root.locate(&step.path(&inside));
        origin
            .source
            .diagnostic(Severity::Warning, span, message, Some(help))
    };
    found.into_iter().map(warning).collect()
}

/// Something that is lacking, and the remedy.
struct Lack {
    message: String,
    help: String,
}

/// Returns what a system names and this host lacks, each with the way to it in the file.
fn system_lacks(system: &System, base_dir: &Path) -> Vec<(Vec<String>, Lack)> {
    let mut found = Vec::new();
    let mut note = |at: &[&str], lack: Option<Lack>| {
        found.extend(lack.map(|lack| (at.iter().map(|part| (*part).to_owned()).collect(), lack)));
    };
    let of_probe = |probe: &Probe| {
        probe
            .run
            .first()
            .and_then(|word| no_program(word, Some(base_dir), None))
    };
    let data = base_dir.join(&system.root);
    for (name, component) in &system.components {
        if let Some(source) = &component.source {
            let program =
                |key, cwd| first_word(source.settings.get(key)).and_then(|word| no_program(word, cwd, None));
            let at = |key: &'static str| ["components", name.as_str(), "source", key];
            note(&at("dump"), program("dump", Some(&data)));
            // It runs in the folder of a recovery, which may not be there yet.
            note(&at("restore"), program("restore", None));
            let path = source
                .path()
                .map(|path| data.join(path).components().collect::<PathBuf>());
            let is_absolute = source.path().is_some_and(is_absolute);
            // If the root is not there, that is what is lacking.
            let path = path.filter(|path| (is_absolute || data.is_dir()) && !path.exists());
            note(
                &at("path"),
                path.map(|path| Lack {
                    message: format!("{} is not there", path.display()),
                    help: match is_absolute {
                        true => format!("see that {name} has its data there"),
                        false => format!("`path` is relative to `root`; see that {name} has its data there"),
                    },
                }),
            );
        }
        for (number, probe) in component.validate.iter().enumerate() {
            note(
                &["components", name, "validate", &number.to_string(), "run"],
                of_probe(probe),
            );
        }
        for (number, step) in component.recovery.iter().enumerate() {
            let number = number.to_string();
            for (inside, lack) in action_lacks(&step.uses, &step.with, base_dir) {
                let at = [&["components", name, "recovery", &number, "with"][..], &inside].concat();
                note(&at, Some(lack));
            }
        }
    }
    for (number, probe) in system.integrity.iter().enumerate() {
        note(&["integrity", &number.to_string(), "run"], of_probe(probe));
    }
    found
}

/// Returns what the parameters of an action name and this host lacks, each with its way below `with`.
fn action_lacks<'w>(uses: &str, with: &'w Value, base_dir: &Path) -> Vec<(Vec<&'w str>, Lack)> {
    let mut found = Vec::new();
    let key = match uses {
        "command" => "run",
        "notify" => "command",
        _ => return found,
    };
    let cwd = match with.get("cwd") {
        None => Some(base_dir.to_owned()),
        Some(cwd) => cwd
            .as_str()
            .filter(|cwd| !cwd.contains(EXPRESSION))
            .map(|cwd| base_dir.join(cwd)),
    };
    // An earlier step may make the folder, or put a program there.
    let there = cwd.filter(|cwd| cwd.is_dir());
    let path = with
        .get("env")
        .and_then(|env| env.get("PATH"))
        .and_then(Value::as_str);
    let program = first_word(with.get(key));
    found.extend(
        program
            .and_then(|word| no_program(word, there.as_deref(), path))
            .map(|lack| (vec![key], lack)),
    );
    let secrets = with.get("secrets").and_then(Value::as_object);
    for (name, from) in secrets.into_iter().flatten() {
        let known = |key: &str| {
            from.get(key)
                .and_then(Value::as_str)
                .filter(|text| !text.contains(EXPRESSION))
        };
        let lack = if let Some(own) = known("env").filter(|own| std::env::var_os(own).is_none()) {
            Some(format!("the variable `{own}` of this environment is not set"))
        } else if let (Some(file), Some(cwd)) = (known("file"), &there) {
            let file = cwd.join(file);
            (!file.is_file()).then(|| format!("there is no file {}", file.display()))
        } else {
            let word = first_word(from.get("command"));
            word.and_then(|word| no_program(word, there.as_deref(), None))
                .map(|lack| lack.message)
        };
        let help = format!("the secret `{name}` comes from it; the step fails without it");
        found.extend(lack.map(|message| (vec!["secrets", name.as_str()], Lack { message, help })));
    }
    found
}

/// Returns the program of a command line.
fn first_word(words: Option<&Value>) -> Option<&str> {
    words?.as_array()?.first()?.as_str()
}

/// Returns what is wrong if a program does not exist or may not be run. One with a relative path is looked for in `cwd`.
/// Which program an expression means, only a run knows.
fn no_program(word: &str, cwd: Option<&Path>, path: Option<&str>) -> Option<Lack> {
    if word.contains(EXPRESSION) {
        return None;
    }
    let (there, message) = if word.contains('/') {
        let place = match (Path::new(word).is_absolute(), cwd) {
            (true, _) => PathBuf::from(word),
            (false, cwd) => cwd?.join(word),
        };
        (runs(&place), format!("there is no program {}", place.display()))
    } else {
        if path.is_some_and(|path| path.contains(EXPRESSION)) {
            return None;
        }
        let path = path.map_or_else(|| std::env::var_os("PATH").unwrap_or_default(), Into::into);
        let there = std::env::split_paths(&path).any(|folder| runs(&folder.join(word)));
        (there, format!("there is no program `{word}` on PATH"))
    };
    let help = match word.contains(char::is_whitespace) {
        true => "the first word of the list is the program alone; its arguments follow",
        false => "install it on the host that runs this, or write its path",
    };
    let help = help.to_owned();
    (!there).then_some(Lack { message, help })
}

fn runs(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
