//! The numbers that Rekindle itself measures, by the group of targets that states what they must be.
//!
//! Every other group of targets is about numbers that probes print. This table is only names and formulas: a system's
//! file has every limit.

/// A number that Rekindle measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The group of its target.
    pub group: &'static str,
    /// Its name.
    pub name: &'static str,
    /// How it is computed, for people.
    pub formula: &'static str,
}

const fn of(group: &'static str, name: &'static str, formula: &'static str) -> Measured {
    Measured { group, name, formula }
}

/// The group of targets whose share that is met is `recovery.post_recovery_performance`.
pub const PERFORMANCE: &str = "performance";

/// Every number that Rekindle measures.
pub const MEASURED: [Measured; 21] = [
    of(
        "backup",
        "success_rate",
        "components stored and verified in every due tier / components attempted",
    ),
    of(
        "backup",
        "completion_seconds",
        "seconds from the start of the backup to its end",
    ),
    of(
        "backup",
        "verification_rate",
        "stored copies that were read back / copies stored",
    ),
    of(
        "backup",
        "integrity",
        "copies and proofs found good / copies and proofs examined",
    ),
    of(
        "backup",
        "stored_share",
        "bytes that the tiers keep for the snapshots / bytes of their sources, for each tier",
    ),
    of(
        "recovery",
        "success_rate",
        "components restored and valid / components",
    ),
    of(
        "recovery",
        "rto_compliance",
        "components valid again within their RTO / components judged that have one",
    ),
    of(
        "recovery",
        "rpo_compliance",
        "data classes whose loss is within their RPO / data classes measured",
    ),
    of(
        "recovery",
        "validation_rate",
        "expectations met / expectations measured",
    ),
    of(
        "recovery",
        "post_recovery_performance",
        "targets of the group performance that are met / those judged",
    ),
    of(
        "availability",
        "system",
        "time in which the system answered / time observed",
    ),
    of(
        "availability",
        "backup_system",
        "backups that ended well / backups that ended",
    ),
    of(
        "availability",
        "recovery_readiness",
        "tiers that hold a ready set which is not overdue / tiers",
    ),
    of(
        "testing",
        "scenario_success_rate",
        "drills that succeeded / drills",
    ),
    of("testing", "rto_compliance", "drills within their RTO / drills"),
    of("testing", "rpo_compliance", "drills within their RPO / drills"),
    of(
        "testing",
        "functionality_restored",
        "components that worked after a drill / components tried",
    ),
    of(
        "testing",
        "backup_verification",
        "copies found good in drills / copies examined",
    ),
    of(
        "testing",
        "recovery_validation",
        "expectations met in drills / expectations measured",
    ),
    of(
        "testing",
        "data_consistency",
        "checks across components that held in drills / checks measured",
    ),
    of(
        "testing",
        "performance_maintained",
        "targets of the group performance met in drills / those judged",
    ),
];

/// Returns the numbers of a group; empty if the group is about numbers of probes.
pub fn of_group(group: &str) -> impl Iterator<Item = &'static Measured> {
    MEASURED.iter().filter(move |measured| measured.group == group)
}

/// Returns the number of that group and name.
pub fn find(group: &str, name: &str) -> Option<&'static Measured> {
    of_group(group).find(|measured| measured.name == name)
}
