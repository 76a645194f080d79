//! Every key of `system.yaml`.

use rekindle_model::keys::Format::*;
use rekindle_model::keys::Takes::*;
use rekindle_model::keys::{Key, Object, key};
use rekindle_model::system::System;

use crate::workflow::keys::{CWD, ENV, HOOKS, SCRIPT, SECRETS};

use super::probe_keys::{HEALTH, PROBE};

const DESCRIPTION: Key = key("description", Text(Plain), "What it is, for people.");

/// The whole file.
pub(crate) const SYSTEM: &Object = &Object {
    noun: "system",
    keys: &[
        key("system", Text(Plain), "The system's name.").required(),
        DESCRIPTION,
        key("root", Text(Plain), "The folder that holds the system's data, relative to this file.").or("."),
        key("max_parallel", Integer(1, System::MOST_PARALLEL as u64),
            "How many steps of all runs may be at work at once in the workspace. Without it 16."),
        key("components", Named("component", &Object(COMPONENT)),
            "The parts that can be recovered, by name.").required(),
        key("tiers", Named("tier", &Object(TIER)), "The places that keep backups, by name."),
        key("data_classes", Named("data class", &Object(DATA_CLASS)),
            "The kinds of data that recovery points are promised for, by name."),
        key("impact_levels", Named("impact level", &Object(IMPACT_LEVEL)),
            "How long an outage may last, by level."),
        key("objectives", Object(OBJECTIVES), "The objectives of the whole system."),
        key("health", List(&Object(HEALTH)),
            "Where the system answers while it runs. While one of them answers, a recovery in place is refused."),
        key("integrity", List(&OneOf(PROBE)), "Probes across components, after a recovery."),
        key("rules", Named("rule", &Text(Expression)),
            "Formulas that decide, by name: `recovery_ready` and `system_operational`."),
        key("targets", Named("targets", &Named("target", &Short(TARGET))),
            "What measured numbers must be, by group and name."),
        key("hooks", Object(HOOKS),
            "Handlers of the system's backups, recoveries and verifications. If a workflow has such a list itself, that \
             list runs instead. See [handlers](workflow-yaml.md#handlers)."),
        key("scenarios", Named("scenario", &Object(SCENARIO)),
            "The disasters that a recovery may name, by name."),
    ],
};

const COMPONENT: &Object = &Object {
    noun: "component",
    keys: &[
        DESCRIPTION,
        key("aliases", Texts(Plain), "Other names of the component."),
        key("source", Source, "Where its data is. Without it the component has no data of its own."),
        key("unreadable", Word(&["incomplete", "accept"]),
            "What a backup makes of files and folders that it cannot read. It always stores the rest and names them. \
             With `incomplete` the recovery set is not ready and the exit code is 3; with `accept` the component counts \
             as complete.").or("incomplete"),
        key("priority", Integer(0, u32::MAX as u64),
            "Its place in a recovery. A component with a lower number comes back sooner.").or("100"),
        key("after", List(&Short(AFTER)),
            "Components whose data must be restored, and their own recovery steps done, before its recovery begins."),
        key("reads", Texts(Plain),
            "Components whose data its validation reads. The validation waits until they are restored."),
        key("recovery", List(&Object(RECOVERY_STEP)),
            "Its own steps between the restore and the validation, in order."),
        key("validate", List(&OneOf(PROBE)), "Probes that judge it after its recovery."),
        key("prove", Word(&["always", "daily", "weekly", "never"]),
            "How often a backup proves that the stored copy can be recovered. It restores the copy into a sandbox and runs \
             the validations there. If they fail, the copy is stored, marked invalid, and its recovery set is not ready. A \
             proof needs room for the restored data in the workspace.").or("never"),
        key("rto", Text(Duration),
            "How soon after a disaster it must be valid again. Without it `objectives.default_rto` applies."),
        key("classes", Texts(Plain), "The data classes that it carries."),
        key("impact", Text(Plain), "Its impact level."),
    ],
};

const AFTER: &Object = &Object {
    noun: "predecessor",
    keys: &[
        key("component", Text(Plain), "The component.").required(),
        key("valid", Flag,
            "Whether it must also be valid. Without it a failed validation is reported and keeps nobody from being \
             restored."),
    ],
};

const RECOVERY_STEP: &Object = &Object {
    noun: "recovery step",
    keys: &[
        key("id", Text(Name), "The step's name within the component.").required(),
        key("uses", Text(Plain), "The action that the step runs. With `shell` it is `command`, else required."),
        key("with", With, "The action's parameters."),
        SCRIPT,
        ENV,
        CWD,
        SECRETS,
        key("timeout", Text(Duration), "How long one attempt may take."),
    ],
};

const TIER: &Object = &Object {
    noun: "tier",
    keys: &[
        key("url", Text(Location), "Its one location. A tier has either `url` or `urls`."),
        key("urls", Texts(Location), "Its locations. Each of them keeps everything."),
        key("every", Text(Duration),
            "How often a recovery set is due here. The tier with the shortest interval counts as the fastest."),
        key("retain", Text(Duration),
            "How long the tier keeps things. Today only the copies of runs' journals are ever removed."),
        key("storage_class", Text(Plain), "The class of storage, for people and reports."),
        key("location", Text(Plain), "Where the tier is, for people and reports."),
        DESCRIPTION,
    ],
};

const DATA_CLASS: &Object = &Object {
    noun: "data class",
    keys: &[
        key("rpo", Text(Duration), "How much of the newest data may be lost, as a length of time.").required(),
        DESCRIPTION,
    ],
};

const IMPACT_LEVEL: &Object = &Object {
    noun: "impact level",
    keys: &[
        key("max_downtime", Text(Duration), "How long an outage of such a component may last.").required(),
        DESCRIPTION,
    ],
};

const OBJECTIVES: &Object = &Object {
    noun: "objectives",
    keys: &[
        key("default_rto", Text(Duration), "The RTO of a component that states none."),
        key("complete_system_recovery", Text(Duration),
            "How soon after a disaster the whole system must be back."),
    ],
};

const TARGET: &Object = &Object {
    noun: "target",
    keys: &[
        key("expect", Text(Comparison), "What the number must be.").required(),
        key("component", Text(Plain), "The component whose probe measures it."),
        key("measure", Text(Plain), "The number's name in what the probe measures."),
        DESCRIPTION,
    ],
};

const SCENARIO: &Object = &Object {
    noun: "scenario",
    keys: &[
        key("affects", AllOrTexts, "The components that the disaster hits.").required(),
        key("rto", Text(Duration), "How soon they must be back."),
        key("rpo", Text(Duration), "How much of their newest data may be lost, as a length of time."),
        key("damage", List(&Object(DAMAGE)),
            "How a drill causes it. Without it everything that the disaster hits is gone."),
        key("load", OneOf(PROBE),
            "A probe that puts the system under load in the sandbox and measures it: once before the disaster, and once \
             while the drill recovers. The first numbers are the baseline. It must name `${{ target.root }}`."),
        key("inject", Object(INJECT),
            "In place of `damage`: the drill recovers nothing. It verifies each tier, but reads damaged copies of some of its \
             objects, and the verification must name these and no others."),
        DESCRIPTION,
    ],
};

const INJECT: &Object = &Object {
    noun: "injected faults",
    keys: &[
        key("count", Integer(1, 1000), "How many objects of each tier are damaged: a bit is flipped, half is cut off, or they \
             are missing.").or("6"),
        key("seed", Integer(0, i64::MAX as u64), "Chooses the objects. Without it each drill chooses others."),
    ],
};

const DAMAGE: &Object = &Object {
    noun: "damage",
    keys: &[
        key("how", Word(&["delete", "corrupt", "tamper", "encrypt"]),
            "What happens to files: they are gone, a few bytes are other ones, a digit or a letter is another one, or they \
             are encrypted and renamed."),
        key("run", Texts(CommandWord),
            "In place of `how`: a program that does the damage, with its arguments. It runs once for each component, and \
             must name `${{ target.root }}` or `${{ target.place }}`."),
        key("components", Texts(Plain), "The components. Without it all that the scenario affects."),
        key("count", Integer(1, 10_000), "How many files of each component. Without it all."),
        key("seed", Integer(0, i64::MAX as u64),
            "Chooses the files and the bytes. Without it each drill chooses others, and its report names the seed."),
    ],
};
