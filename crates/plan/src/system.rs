//! Reads `system.yaml`. [`keys`] describes every key; [`rules`] and [`cross`] judge the keys together.

mod cross;
#[rustfmt::skip] // a key a line
pub(crate) mod keys;
#[rustfmt::skip]
mod probe_keys;
mod rules;

use std::path::Path;

use rekindle_model::system::{System, SystemKinds, TierUrls};

use crate::catalog::Catalog;
use crate::diagnostic::{Diagnostics, Sink, SourceText, suggest};
use crate::feasibility;
use crate::origin::Origin;
use crate::read;
use crate::shell_code;
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

    /// Returns the faults of the actions in components' own recovery steps.
    pub fn check_actions(&self, catalog: &dyn Catalog) -> Diagnostics {
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
        sink.finish()
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
        Some((root, value)) if !found.has_errors() => Ok(Loaded {
            value,
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

fn system(root: yaml::Node, sink: &mut Sink<'_>) -> Option<(yaml::Node, System)> {
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
    let root = read::root(root, keys::SYSTEM, sink)?;
    let system: System = read::typed(&root, sink)?;
    cross::check(&system, &root, sink);
    Some((root, system))
}
