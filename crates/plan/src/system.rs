//! `system.yaml` to [`System`]: every key, number, glob, expression and cross-reference is judged in one pass.

mod cross;
mod parts;

use std::path::Path;

use rekindle_model::system::{DataClass, ImpactLevel, System};

use crate::diagnostic::{Diagnostics, Severity, Sink, SourceText, suggest};
use crate::expr;
use crate::judge;
use crate::plan::Catalog;
use crate::probe;
use crate::read::{self, Fields};
use crate::workflow::Origin;
use crate::yaml::{self, Kind, Node};

use cross::check;
pub(crate) use parts::check_globs;
use parts::{component, objectives, scenario, targets, tier};

/// A value, the text it was read from, and what to mind about it.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The value.
    pub value: T,
    /// What is no error and still worth a look.
    pub warnings: Diagnostics,
    /// The text as it was read: what a run is pinned to.
    pub text: String,
    origin: Origin,
}

impl Loaded<System> {
    /// Returns what the objectives promise and may not keep, with the arithmetic, each at its place in the file.
    /// Paths are relative to `base_dir`, the folder of the file.
    pub fn judge(&self, base_dir: &Path) -> Diagnostics {
        let mut sink = Sink::new(&self.origin.source);
        for finding in judge::objectives(&self.value, base_dir) {
            sink.warn(
                self.origin.root.locate(&finding.at),
                finding.message,
                finding.help,
            );
        }
        sink.finish()
    }

    /// Returns what is wrong with the actions of components' own recovery steps.
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

/// Reads a system; `name` is the file's, for diagnostics.
///
/// # Errors
/// All faults of the file at once, each with its place.
pub fn load_system(name: &str, text: &str) -> Result<Loaded<System>, Diagnostics> {
    let source = SourceText::new(name, text);
    let mut sink = Sink::new(&source);
    let root = yaml::read(text, &mut sink);
    let system = root.as_ref().and_then(|root| {
        let system = system(root, &mut sink)?;
        check(&system, root, &mut sink);
        Some(system)
    });
    let found = sink.finish();
    match (root, system) {
        (Some(root), Some(value))
            if !found
                .0
                .iter()
                .any(|diagnostic| diagnostic.severity == Severity::Error) =>
        {
            Ok(Loaded {
                value,
                warnings: found,
                text: text.to_owned(),
                origin: Origin { source, root },
            })
        }
        _ => Err(found),
    }
}

/// The most components of a system.
const MAX_COMPONENTS: usize = 10_000;

fn system(root: &Node, sink: &mut Sink<'_>) -> Option<System> {
    let known = [
        "system",
        "description",
        "root",
        "max_parallel",
        "components",
        "data_classes",
        "impact_levels",
        "objectives",
        "tiers",
        "targets",
        "rules",
        "health",
        "integrity",
        "scenarios",
    ];
    let fields = Fields::open(root, "a system", &known, sink)?;
    let name = fields
        .require("system", sink)
        .and_then(|node| read::text(node, sink));
    fields.require("components", sink);
    if let Some(Kind::Map(entries)) = fields.get("components").map(|node| &node.kind)
        && let Some((key, _)) = entries.get(MAX_COMPONENTS)
    {
        sink.error(
            key.span,
            format!("more than {MAX_COMPONENTS} components"),
            Some("split the system".to_owned()),
        );
        return None;
    }
    let system = System {
        system: name.unwrap_or_default(),
        description: fields.text("description", sink),
        root: fields.text("root", sink).unwrap_or_else(|| ".".to_owned()),
        max_parallel: fields.integer_between("max_parallel", 1, System::MOST_PARALLEL, sink),
        components: fields.named("components", sink, component),
        data_classes: fields.named("data_classes", sink, |node, name, sink| {
            let fields = Fields::open(
                node,
                &format!("data class `{name}`"),
                &["rpo", "description"],
                sink,
            )?;
            let description = fields.text("description", sink);
            Some(DataClass {
                rpo: fields
                    .require("rpo", sink)
                    .and_then(|node| read::parse(node, sink))?,
                description,
            })
        }),
        impact_levels: fields.named("impact_levels", sink, |node, name, sink| {
            let fields = Fields::open(
                node,
                &format!("impact level `{name}`"),
                &["max_downtime", "description"],
                sink,
            )?;
            let description = fields.text("description", sink);
            let max_downtime = fields
                .require("max_downtime", sink)
                .and_then(|node| read::parse(node, sink))?;
            Some(ImpactLevel {
                max_downtime,
                description,
            })
        }),
        objectives: fields
            .get("objectives")
            .and_then(|node| objectives(node, sink))
            .unwrap_or_default(),
        tiers: fields.named("tiers", sink, tier),
        targets: fields.named("targets", sink, targets),
        rules: fields.named("rules", sink, |node, _, sink| {
            let rule = read::text(node, sink)?;
            if let Err(error) = expr::check(&rule) {
                sink.error(node.span, error.to_string(), None);
            }
            Some(rule)
        }),
        health: fields.list("health", sink, probe::health),
        integrity: fields.list("integrity", sink, probe::read),
        scenarios: fields.named("scenarios", sink, scenario),
    };
    Some(system)
}
