//! Reads `system.yaml`. [`keys`] describes every key; [`rules`] and [`cross`] judge the keys together.

mod cross;
mod expressions;
#[rustfmt::skip] // a key a line
pub(crate) mod keys;
#[rustfmt::skip]
mod probe_keys;
mod rules;

use std::path::Path;

use rekindle_model::system::{System, SystemKinds, TierUrls};

use crate::builtin;
use crate::catalog::Catalog;
use crate::diagnostic::{Diagnostic, Diagnostics, Sink, SourceText, suggest};
use crate::expand::faults_of;
use crate::feasibility;
use crate::origin::Origin;
use crate::plan::Inputs;
use crate::read;
use crate::shell_code;
use crate::typed::typed;
use crate::workflow::{Hooks, StepTemplate, hooks, load_workflow, short_forms};
use crate::yaml;

/// A value, the text that it was read from, and warnings.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The value.
    pub value: T,
    /// Faults that do not keep the value from being used.
    pub warnings: Diagnostics,
    /// The text as it was read: a run is pinned to it.
    pub text: String,
    /// The handlers of its backups, recoveries and verifications.
    pub hooks: Hooks,
    origin: Origin,
    tier_urls: &'static TierUrls,
}

impl Loaded<System> {
    /// Returns the text and the tree that it was read from.
    pub(crate) fn origin(&self) -> (&SourceText, &yaml::Node) {
        (&self.origin.source, &self.origin.root)
    }

    /// Returns the objectives that the system may not meet, with the arithmetic, each at its place in the file. Paths are
    /// relative to `base_dir`, the folder of the file.
    pub fn judge(&self, base_dir: &Path) -> Diagnostics {
        let mut sink = Sink::new(&self.origin.source);
        for finding in feasibility::check(&self.value, base_dir, self.tier_urls) {
            sink.warn(
                self.origin.root.locate(&finding.at),
                finding.message,
                finding.help,
            );
        }
        sink.finish()
    }

    /// Returns the sources that claim the same file, as only the folder of the file shows: by a relative path and an absolute
    /// one, or by a link on the way.
    pub fn check_places(&self, base_dir: &Path) -> Diagnostics {
        let mut sink = Sink::new(&self.origin.source);
        cross::check_places(&self.value, &self.origin.root, base_dir, &mut sink);
        sink.finish()
    }

    /// Returns the faults that the reader does not know: of the actions and expressions that the system names, and of its
    /// hooks. They concern one program, probe or step each, and must not keep anybody from recovering the rest.
    pub fn check(&self, catalog: &dyn Catalog) -> Diagnostics {
        let names = catalog.names();
        let mut sink = Sink::new(&self.origin.source);
        for (name, component) in &self.value.components {
            for (at, step) in component.recovery.iter().enumerate() {
                let at = at.to_string();
                let path = ["components", name, "recovery", &at];
                if !names.contains(&step.uses) {
                    let span = self.origin.root.locate(&[&path[..], &["uses"]].concat());
                    sink.error(
                        span,
                        format!("unknown action `{}`", step.uses),
                        suggest(&step.uses, &names),
                    );
                    continue;
                }
                for problem in catalog.check(&step.uses, &step.with) {
                    let inside: Vec<&str> = problem.at.iter().map(String::as_str).collect();
                    let span = self.origin.root.locate(&[&path[..], &["with"], &inside].concat());
                    sink.error(span, problem.message, problem.help);
                }
            }
        }
        let mut found = sink.finish();
        found.0.extend(self.check_expressions());
        found.0.extend(self.check_hooks(catalog));
        found
    }

    /// Returns the faults that the hooks have in any of the built-in workflows.
    fn check_hooks(&self, catalog: &dyn Catalog) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for (name, text) in builtin::WORKFLOWS {
            let Ok(mut workflow) = load_workflow(&format!("built-in workflow {name}"), text) else {
                continue;
            };
            let none = Diagnostics::default();
            let faults = match workflow.add_hooks(&self.hooks) {
                Ok(()) => faults_of(
                    none,
                    Some(&workflow),
                    Some(&self.value),
                    &Inputs::default(),
                    catalog,
                ),
                Err(faults) => faults,
            };
            for fault in faults.0 {
                if fault.file == self.origin.source.name && !found.contains(&fault) {
                    found.push(fault);
                }
            }
        }
        found
    }
}

/// Reads a system. `name` is the file's, for diagnostics.
///
/// # Errors
/// All faults of the file at once, each with its place.
pub fn load_system(name: &str, text: &str, kinds: SystemKinds) -> Result<Loaded<System>, Diagnostics> {
    let source = SourceText::new(name, text);
    let mut sink = Sink::of_system(&source, kinds);
    let root = yaml::read(text, &mut sink);
    let read = root.and_then(|root| system(root, &mut sink));
    let found = sink.finish();
    match read {
        Some(Read { root, value, hooks }) if !found.has_errors() => Ok(Loaded {
            value,
            hooks: hooks.map_or_else(Hooks::default, |(steps, root)| {
                let source = source.clone();
                Hooks::new(steps, Origin { source, root })
            }),
            warnings: found,
            text: text.to_owned(),
            origin: Origin { source, root },
            tier_urls: kinds.tier_urls,
        }),
        _ => Err(found),
    }
}

/// The most components of a system.
const MAX_COMPONENTS: usize = 10_000;

/// A system's file as it was read, and the hooks that were in it.
struct Read {
    root: yaml::Node,
    value: System,
    hooks: Option<(Vec<StepTemplate>, yaml::Node)>,
}

fn system(root: yaml::Node, sink: &mut Sink<'_>) -> Option<Read> {
    if let Some((key, _)) = root.entries_of("components").get(MAX_COMPONENTS) {
        sink.error(
            key.span,
            format!("more than {MAX_COMPONENTS} components"),
            Some("split the system".to_owned()),
        );
        return None;
    }
    rules::check(&root, sink);
    shell_code::check(&root, sink);
    let mut root = read::root(root, keys::SYSTEM, sink)?;
    short_forms::write_out_recoveries(&mut root, sink);
    let hooks = hooks::take(&mut root, sink);
    let value: System = typed(&root, sink)?;
    cross::check(&value, &root, sink);
    Some(Read { root, value, hooks })
}
