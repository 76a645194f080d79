//! The protected system: components, tiers, objectives, scenarios. This is the shape of `system.yaml` after
//! `rekindle-plan` has read and checked it. The Rust code contains no number of any system; all numbers come from
//! here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::expect::Expect;
use crate::keys::OneOf;
pub use crate::period::{BadPeriod, Period};
pub use crate::probe::{At, Probe, names_target};
use crate::scenario::{Affects, Damage, How, Scenario};
use crate::source::SourceSpec;

/// A system under protection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// Its name.
    pub system: String,
    /// What it is, for people.
    #[serde(default)]
    pub description: Option<String>,
    /// The folder that holds the system's data, relative to the file.
    #[serde(default = "System::default_root")]
    pub root: String,
    /// How many steps of all runs of the workspace may be at work at once, at most [`System::MOST_PARALLEL`]. Without
    /// it, the usual number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// The recoverable parts, by name.
    pub components: BTreeMap<String, Component>,
    /// The data classes, by name. An RPO belongs to one.
    #[serde(default)]
    pub data_classes: BTreeMap<String, DataClass>,
    /// How long an outage may last, by level.
    #[serde(default)]
    pub impact_levels: BTreeMap<String, ImpactLevel>,
    /// Objectives of the whole system.
    #[serde(default)]
    pub objectives: Objectives,
    /// The places that keep backups, by name.
    #[serde(default)]
    pub tiers: BTreeMap<String, TierSpec>,
    /// Targets of measured numbers, by group and name.
    #[serde(default)]
    pub targets: BTreeMap<String, BTreeMap<String, Target>>,
    /// Formulas that decide (`recovery_ready`, `system_operational` …), printed with their inputs.
    #[serde(default)]
    pub rules: BTreeMap<String, String>,
    /// How to see that the system runs. If one of these answers, a recovery in place is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<Health>,
    /// Checks across components, after a recovery.
    #[serde(default)]
    pub integrity: Vec<Probe>,
    /// Disasters that are drilled and recovered from, by name.
    #[serde(default)]
    pub scenarios: BTreeMap<String, Scenario>,
}

impl System {
    /// Returns the system, unless there is none: a workspace may only run workflows. It then has the default.
    pub fn present(&self) -> Option<&Self> {
        (*self != Self::default()).then_some(self)
    }

    /// The most steps that may be at work at once in a workspace. Each may hold a program with its pipes and a file or
    /// two, and by default a process may have only 1024 open files.
    pub const MOST_PARALLEL: u32 = 256;

    fn default_root() -> String {
        ".".to_owned()
    }

    /// Returns the component of that name or alias, with its own name.
    pub fn component(&self, name: &str) -> Option<(&str, &Component)> {
        self.components
            .iter()
            .find(|(own, component)| *own == name || component.aliases.iter().any(|alias| alias == name))
            .map(|(own, component)| (own.as_str(), component))
    }

    /// Returns the names of all components, ordered by priority number, then by name.
    pub fn components_by_priority(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.components.keys().map(String::as_str).collect();
        names.sort_by_key(|name| (self.components[*name].priority, *name));
        names
    }

    /// Returns a component's recovery time objective: its own, or the default of the system. If its impact level allows
    /// less, that limit governs.
    pub fn rto(&self, component: &Component) -> Option<Duration> {
        let stated = component.rto.or(self.objectives.default_rto);
        let level = component.impact.as_ref();
        let limit = level.and_then(|level| self.impact_levels.get(level));
        let limit = limit.map(|level| level.max_downtime);
        stated.into_iter().chain(limit).min().map(|period| period.0)
    }

    /// Returns the RTO of a recovery of these components as a whole: its scenario's, or that of the complete system if these
    /// are all.
    pub fn rto_of_all<'n>(
        &self,
        scenario: Option<&str>,
        recovered: impl IntoIterator<Item = &'n str>,
    ) -> Option<Duration> {
        let declared = scenario.and_then(|name| self.scenarios.get(name));
        let rto = match declared {
            Some(scenario) => scenario.rto,
            None => {
                let recovered: BTreeSet<&str> = recovered.into_iter().collect();
                let is_recovered = |name: &String| recovered.contains(name.as_str());
                let all = self.components.keys().all(is_recovered);
                self.objectives.complete_system_recovery.filter(|_| all)
            }
        };
        rto.map(|period| period.0)
    }

    /// Returns the components that a disaster hits, the most urgent first.
    pub fn affected_by<'s>(&'s self, scenario: &'s Scenario) -> Vec<&'s str> {
        let all = self.components_by_priority().into_iter();
        match &scenario.affects {
            Affects::All(_) => all.collect(),
            Affects::These(these) => {
                let named: Vec<&str> = these
                    .iter()
                    .filter_map(|name| Some(self.component(name)?.0))
                    .collect();
                all.filter(|name| named.contains(name)).collect()
            }
        }
    }

    /// Returns the damages of a disaster to a component, each with its place in the scenario's list.
    pub fn damages<'s>(
        &'s self,
        scenario: &'s Scenario,
        component: &'s str,
    ) -> impl Iterator<Item = (usize, &'s Damage)> {
        let is_it = move |name: &String| self.component(name).is_some_and(|(own, _)| own == component);
        let hits = move |damage: &Damage| damage.components.is_empty() || damage.components.iter().any(is_it);
        let damages = scenario.damage.iter().enumerate();
        damages.filter(move |(_, damage)| hits(damage))
    }

    /// Returns whether a disaster leaves nothing of a component: a recovery of it begins with nothing.
    pub fn loses_all(&self, scenario: &Scenario, component: &str) -> bool {
        let gone = |damage: &Damage| damage.how == Some(How::Delete) && damage.count.is_none();
        scenario.damage.is_empty() || self.damages(scenario, component).any(|(_, damage)| gone(damage))
    }

    /// Returns the components whose data the recovery or a validation of a component needs, as they are named there.
    pub fn needs_data_of<'s>(&self, component: &'s Component) -> impl Iterator<Item = &'s str> {
        let after = component.after.iter().map(After::component);
        let of_probes = component.validate.iter().flat_map(|probe| &probe.reads);
        let read = component.reads.iter().chain(of_probes).map(String::as_str);
        read.chain(after)
    }

    /// Returns the components that a proof of `names` restores into its sandbox: these, and all whose data they need.
    pub fn sandboxed<'s>(&'s self, names: impl IntoIterator<Item = &'s str>) -> BTreeSet<&'s str> {
        let mut wanted: Vec<&str> = names.into_iter().collect();
        let mut found = BTreeSet::new();
        while let Some(name) = wanted.pop() {
            if let Some((own, component)) = self.component(name)
                && found.insert(own)
            {
                wanted.extend(self.needs_data_of(component));
            }
        }
        found
    }

    /// Returns the probes that measure a component's baseline, while a backup captures it.
    pub fn baseline_probes<'s>(&self, component: &'s Component) -> impl Iterator<Item = &'s Probe> {
        component.validate.iter().filter(|probe| probe.at.backup())
    }
}

/// A component that another one's recovery waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum After {
    /// Until its data is restored and its own recovery steps are done.
    Data(String),
    /// With a choice.
    Chosen {
        /// The component.
        component: String,
        /// Whether it must also be valid.
        #[serde(default)]
        valid: bool,
    },
}

impl After {
    /// Returns the component's name or alias.
    pub fn component(&self) -> &str {
        match self {
            Self::Data(component) | Self::Chosen { component, .. } => component,
        }
    }

    /// Returns whether the component must also be valid.
    pub fn valid(&self) -> bool {
        matches!(self, Self::Chosen { valid: true, .. })
    }
}

/// One recoverable part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// What it is, for people.
    #[serde(default)]
    pub description: Option<String>,
    /// Other names it is known by.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Its place in a recovery; 1 comes first.
    #[serde(default = "Component::default_priority")]
    pub priority: u32,
    /// The name of its impact level.
    #[serde(default)]
    pub impact: Option<String>,
    /// How soon after a disaster it must be valid again.
    #[serde(default)]
    pub rto: Option<Period>,
    /// The data classes that it carries.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Components whose data must be back before its recovery begins.
    #[serde(default)]
    pub after: Vec<After>,
    /// Components whose data its validation reads.
    #[serde(default)]
    pub reads: Vec<String>,
    /// Where its data comes from; none for a service without data of its own.
    #[serde(default)]
    pub source: Option<SourceSpec>,
    /// What a backup makes of files and folders that it cannot read.
    #[serde(default, skip_serializing_if = "WhenUnreadable::is_default")]
    pub unreadable: WhenUnreadable,
    /// Its own steps between restore and validation, in order.
    #[serde(default)]
    pub recovery: Vec<RecoveryStep>,
    /// How it is validated after its recovery.
    #[serde(default)]
    pub validate: Vec<Probe>,
    /// How often a backup proves that its stored copy can be recovered.
    #[serde(default, skip_serializing_if = "Prove::is_default")]
    pub prove: Prove,
}

impl Component {
    fn default_priority() -> u32 {
        100
    }

    /// Returns what of it acts on the living system, also when the component is recovered into a sandbox: programs that do not
    /// name the target.
    pub fn escapes(&self) -> Vec<Escape> {
        let program = self.source.as_ref().filter(|source| source.kind == "command");
        let restore = program.and_then(|source| serde_json::to_value(source).ok());
        let restore = restore.filter(|source| !names_target(&source["restore"].to_string()));
        let steps = self.recovery.iter().enumerate();
        // These steps reach outside of a sandbox even if they name the target, and so does a file that does not name it.
        let leaves = |step: &RecoveryStep| {
            let file = &step.with["output_file"];
            ["http", "notify", "workflow"].contains(&step.uses.as_str())
                || (!file.is_null() && !names_target(&file.to_string()))
        };
        let acts = steps.filter(|(_, step)| !names_target(&step.with.to_string()) || leaves(step));
        let restore = restore.map(|_| Escape::Restore).into_iter();
        restore.chain(acts.map(|(at, _)| Escape::Recovery(at))).collect()
    }
}

/// A part of a component that acts on the living system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// The program that restores its data.
    Restore,
    /// The recovery step at this index.
    Recovery(usize),
}

/// How often a backup proves that a component's stored copy can be recovered. A proof restores the copy into a sandbox and
/// runs the component's validations there, before the recovery set is sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prove {
    /// In each backup.
    Always,
    /// In the first backup a day after the last proof.
    Daily,
    /// In the first backup a week after the last proof.
    Weekly,
    /// In no backup.
    #[default]
    Never,
}

impl Prove {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the age at which a proof is due again; none if no proof is wanted.
    pub fn every(self) -> Option<Duration> {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        match self {
            Self::Always => Some(Duration::ZERO),
            Self::Daily => Some(DAY),
            Self::Weekly => Some(7 * DAY),
            Self::Never => None,
        }
    }
}

/// What a backup makes of files and folders that it cannot read. It always stores the rest and names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnreadable {
    /// The component is incomplete: the recovery set is not ready, and the command's exit code says so.
    #[default]
    Incomplete,
    /// The component counts as complete.
    Accept,
}

impl WhenUnreadable {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A step of a component's own recovery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoveryStep {
    /// Its id within the component.
    pub id: String,
    /// The action.
    pub uses: String,
    /// The action's parameters.
    #[serde(default)]
    pub with: Value,
    /// How long one attempt may take.
    #[serde(default)]
    pub timeout: Option<Period>,
}

/// A place where a running system answers over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// The URL to GET; only its path if `address` names the rest.
    pub url: String,
    /// A file which is there while the system runs: a JSON object whose `listening` is the
    /// URL at which it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// How long an answer may take; two seconds by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
}

/// What an RPO is stated for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataClass {
    /// How much of it may be lost.
    pub rpo: Period,
    /// What it is, for people.
    #[serde(default)]
    pub description: Option<String>,
}

/// How long an outage of components of one level may last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImpactLevel {
    /// The limit.
    pub max_downtime: Period,
    /// What such an outage means, for people.
    #[serde(default)]
    pub description: Option<String>,
}

/// Objectives of the whole system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objectives {
    /// The RTO of a component that states none.
    #[serde(default)]
    pub default_rto: Option<Period>,
    /// How soon after a disaster the whole system must be back.
    #[serde(default)]
    pub complete_system_recovery: Option<Period>,
}

/// The sources and tiers that a system may name, as a program knows them.
#[derive(Clone, Copy, Debug)]
pub struct SystemKinds {
    /// The keys of a component's `source:`, by the type of source.
    pub sources: &'static OneOf,
    /// The URLs of tiers.
    pub tier_urls: &'static TierUrls,
}

/// The URLs that a tier may have. The kinds of storage that a program knows say so.
#[derive(Clone, Copy, Debug)]
pub struct TierUrls {
    /// Returns the schemes that it opens.
    pub schemes: fn() -> Vec<&'static str>,
    /// Returns why a URL of such a scheme leads nowhere.
    pub fault: fn(&str) -> Option<String>,
    /// Returns the folder of this machine that a URL leads to, where it leads to one. A URL may be relative to the folder
    /// of the system's file.
    pub folder: fn(&str, &Path) -> Option<PathBuf>,
}

/// A place that keeps backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierSpec {
    /// Its one location.
    #[serde(default)]
    pub url: Option<String>,
    /// Its locations, where it has several; each holds everything.
    #[serde(default)]
    pub urls: Vec<String>,
    /// How often a recovery set is due here.
    #[serde(default)]
    pub every: Option<Period>,
    /// How long copies of journals are kept here. Nothing removes recovery sets.
    #[serde(default)]
    pub retain: Option<Period>,
    /// The class of storage, for people and for reports.
    #[serde(default)]
    pub storage_class: Option<String>,
    /// Where it is, for people and for reports.
    #[serde(default)]
    pub location: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
}

impl TierSpec {
    /// Returns all locations, in the order in which they are written.
    pub fn locations(&self) -> Vec<&str> {
        self.url.iter().chain(&self.urls).map(String::as_str).collect()
    }
}

/// The target of a measured number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Target {
    /// A comparison: `"<= 100"`.
    Expect(Expect),
    /// A comparison, and the component whose probe measures it under a name of its own.
    Measured {
        /// The comparison.
        expect: Expect,
        /// The component.
        #[serde(default)]
        component: Option<String>,
        /// The number's name in the probe's output.
        #[serde(default)]
        measure: Option<String>,
        /// What it means, for people.
        #[serde(default)]
        description: Option<String>,
    },
}

impl Target {
    /// Returns the comparison.
    pub fn expect(&self) -> &Expect {
        match self {
            Self::Expect(expect) | Self::Measured { expect, .. } => expect,
        }
    }
}
