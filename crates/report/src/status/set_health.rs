//! Judges whether a recoverable set can still be restored, from the newest evidence about each of its
//! copies.

use std::collections::BTreeSet;

use rekindle_model::event::Outcome;
use rekindle_model::id::RunId;

use super::{Findings, Proven};
use crate::backup::{BackupTable, Member};
use crate::copies::{Position, Saw, Sighting};
use crate::recovery::RecoveryTable;

/// Evidence about a set, with its run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Claim {
    pub(super) text: String,
    pub(super) run: Option<RunId>,
}

/// Whether a recoverable set can still be restored, by everything that was seen of its copies.
#[derive(Debug, Default)]
pub(super) struct SetHealth {
    /// Components that cannot be restored.
    pub(super) bad: Vec<Claim>,
    /// Components that may or may not be restorable.
    pub(super) unsure: Vec<Claim>,
    /// Flaws, although every component has a verified copy that can be reached.
    pub(super) flaws: Vec<Claim>,
    /// Components that are verified in every tier.
    pub(super) whole: usize,
    /// Components in the set.
    pub(super) all: usize,
}

impl SetHealth {
    pub(super) fn is_sound(&self) -> bool {
        self.claims().next().is_none()
    }

    /// Returns the run to look at first, if one speaks against the set.
    pub(super) fn shown(&self) -> Option<RunId> {
        self.claims().find_map(|claim| claim.run)
    }

    fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.bad.iter().chain(&self.unsure).chain(&self.flaws)
    }
}

/// Returns the health of the set that a backup sealed.
pub(super) fn set_health(findings: &Findings<'_>, backup: &Proven<BackupTable>) -> SetHealth {
    let mut health = SetHealth {
        all: backup.table.members.len(),
        ..SetHealth::default()
    };
    if health.all == 0 {
        health.unsure.push(Claim {
            text: "its content is unknown".to_owned(),
            run: Some(backup.run),
        });
    }
    for (component, member) in &backup.table.members {
        add_member(findings, backup, component, member, &mut health);
    }
    for (tier, why) in &findings.tiers {
        let holds = backup
            .table
            .members
            .values()
            .any(|member| member.tiers.contains(tier));
        let Some(why) = why.as_ref().filter(|_| holds) else {
            continue;
        };
        let claim = Claim {
            text: format!("tier {tier} does not answer ({why})"),
            run: None,
        };
        if !health.claims().any(|said| *said == claim) {
            health.flaws.push(claim);
        }
    }
    add_lost(findings, backup, &mut health);
    for row in &backup.table.components {
        let Some((before, files)) = row.shrunk_from.zip(row.files) else {
            continue;
        };
        let set = backup.table.predecessor.as_deref().unwrap_or("an older one");
        health.flaws.push(Claim {
            text: format!(
                "{} went from {} files to {files}: if that is not meant, the set before it is {set}",
                row.component, before.files
            ),
            run: Some(backup.run),
        });
    }
    if let Some(failed) = failed_since(findings, backup.position) {
        health.flaws.push(Claim {
            text: "a recovery since then did not succeed".to_owned(),
            run: Some(failed.run),
        });
    }
    health
}

/// Returns whether a component can be brought back from the set that a backup sealed, by everything that was seen of its
/// copies.
pub(super) fn can_come_back(
    findings: &Findings<'_>,
    backup: &Proven<BackupTable>,
    component: &str,
    member: &Member,
) -> bool {
    let mut health = SetHealth::default();
    add_member(findings, backup, component, member, &mut health);
    health.bad.is_empty() && !every_tier_has_lost(findings, backup, member)
}

/// Returns whether every tier has lost a component's snapshot, or the set that names it.
fn every_tier_has_lost(findings: &Findings<'_>, backup: &Proven<BackupTable>, member: &Member) -> bool {
    let has_lost = |tier: &str, id: &str| {
        let of_tier = findings.lost.iter().filter(|lost| lost.tier == tier);
        of_tier
            .filter_map(|lost| lost.id.as_deref())
            .any(|lost| lost == id)
    };
    let set = backup.table.set.as_deref().unwrap_or_default();
    let snapshot = member.snapshot.as_deref().unwrap_or_default();
    let gone = |tier: &String| has_lost(tier, set) || has_lost(tier, snapshot);
    !member.tiers.is_empty() && member.tiers.iter().all(gone)
}

/// Adds what the tiers should hold and do not. What every tier has lost is not restorable.
fn add_lost(findings: &Findings<'_>, backup: &Proven<BackupTable>, health: &mut SetHealth) {
    for (component, member) in &backup.table.members {
        if every_tier_has_lost(findings, backup, member) {
            health.bad.push(Claim {
                text: format!("every tier has lost {component}, or the set that names it"),
                run: None,
            });
        }
    }
    let claims = findings.lost.iter().map(|lost| Claim {
        text: format!("tier {}: {}", lost.tier, lost.text),
        run: None,
    });
    health.flaws.extend(claims);
    let unchecked = findings.unchecked.iter().map(|why| Claim {
        text: format!("whether a tier has lost something was not checked: {why}"),
        run: None,
    });
    health.flaws.extend(unchecked);
}

fn add_member(
    findings: &Findings<'_>,
    backup: &Proven<BackupTable>,
    component: &str,
    member: &Member,
    health: &mut SetHealth,
) {
    let about = About::of(findings.sightings, backup, component, member);
    if let Some(lost) = about.lost() {
        health.bad.push(Claim {
            text: match lost.saw {
                Saw::Invalid => format!("{component} was restored and is not valid"),
                _ => format!("{component} could not be restored whole from any tier"),
            },
            run: Some(lost.run),
        });
        return;
    }
    let due = backup
        .table
        .components
        .iter()
        .filter(|row| row.component == component)
        .flat_map(|row| row.tiers.keys());
    let tiers: BTreeSet<&String> = member.tiers.iter().chain(due).collect();
    let (mut good, mut damaged, mut open) = (0, Vec::new(), Vec::new());
    for tier in &tiers {
        let stood = about.tier(tier);
        let reachable = findings.tiers.get(*tier);
        match (stood.base, stood.unread, reachable) {
            (Some(found), _, _) if found.saw == Saw::Damaged => damaged.push(Claim {
                text: format!("the copy of {component} in tier {tier} is damaged"),
                run: Some(found.run),
            }),
            (_, _, None) => open.push(Claim {
                text: format!("tier {tier} is no longer in the system file"),
                run: None,
            }),
            (_, _, Some(Some(why))) => open.push(Claim {
                text: format!("tier {tier} does not answer ({why})"),
                run: None,
            }),
            (_, Some(found), _) => open.push(Claim {
                text: format!("the copy of {component} in tier {tier} could not be read"),
                run: Some(found.run),
            }),
            (None, None, _) => open.push(Claim {
                text: format!("the copy of {component} in tier {tier} was not verified"),
                run: None,
            }),
            (Some(_), None, Some(None)) => good += 1,
        }
    }
    health.whole += usize::from(good > 0 && good == tiers.len());
    let claims = match (good, damaged.is_empty(), open.is_empty()) {
        (1.., ..) => &mut health.flaws,
        (0, false, true) => &mut health.bad,
        _ => &mut health.unsure,
    };
    let mut found: Vec<Claim> = damaged.into_iter().chain(open).collect();
    if found.is_empty() && good == 0 {
        found.push(Claim {
            text: format!("no tier is known to hold {component}"),
            run: None,
        });
    }
    // A claim about a tier is listed once, however many components the tier holds.
    found.retain(|claim| !claims.contains(claim));
    claims.extend(found);
}

/// Returns the newest failed recovery after `since`, unless a later one with the same components succeeded.
fn failed_since<'a>(findings: &Findings<'a>, since: Position) -> Option<&'a Proven<RecoveryTable>> {
    let names = |recovery: &'a Proven<RecoveryTable>| -> BTreeSet<&'a str> {
        recovery
            .table
            .components
            .iter()
            .map(|row| row.component.as_str())
            .collect()
    };
    let mut came: BTreeSet<&str> = BTreeSet::new();
    for recovery in findings.recoveries.iter().filter(|one| one.position > since) {
        match recovery.table.outcome {
            Some(Outcome::Succeeded) => came.extend(names(recovery)),
            _ if !names(recovery).is_subset(&came) => return Some(recovery),
            _ => {}
        }
    }
    None
}

/// The sightings of one component of a set, oldest first.
struct About<'a> {
    seen: Vec<&'a Sighting>,
    snapshot: Option<&'a str>,
}

/// The newest evidence about one copy.
#[derive(Default)]
struct Stood<'a> {
    /// The newest that was seen of it and not outweighed.
    base: Option<&'a Sighting>,
    /// The newest attempt to read it in vain, if no later attempt read it.
    unread: Option<&'a Sighting>,
}

impl<'a> About<'a> {
    /// A damaged copy of another snapshot counts too if it was found later: snapshots share chunks.
    fn of(
        sightings: &'a [Sighting],
        backup: &Proven<BackupTable>,
        component: &str,
        member: &'a Member,
    ) -> Self {
        let snapshot = member.snapshot.as_deref();
        let mut seen: Vec<&Sighting> = sightings
            .iter()
            .filter(|one| one.component == component)
            .filter(|one| {
                let own = one.snapshot.as_deref() == snapshot;
                // What is not valid in one snapshot may be so in another.
                let of_content = one.saw == Saw::Invalid && one.snapshot.is_some();
                own || !of_content
                    && (one.position.commit > backup.position.commit
                        || (one.position.commit == backup.position.commit
                            && one.position.at > backup.position.at))
            })
            .collect();
        seen.sort_by_key(|one| one.position);
        Self { seen, snapshot }
    }

    fn is_own(&self, one: &Sighting) -> bool {
        one.snapshot.as_deref() == self.snapshot
    }

    fn tier(&self, tier: &str) -> Stood<'a> {
        let mut stood = Stood::default();
        for one in self.seen.iter().filter(|one| one.tier.as_deref() == Some(tier)) {
            let hurt = stood.base.is_some_and(|base| base.saw == Saw::Damaged);
            match one.saw {
                Saw::Damaged => stood.base = Some(one),
                Saw::Unread => stood.unread = Some(one),
                Saw::Whole if self.is_own(one) => stood.base = Some(one),
                Saw::Present if self.is_own(one) && !hurt => stood.base = Some(one),
                _ => {}
            }
            if one.saw != Saw::Unread {
                stood.unread = None;
            }
        }
        stood
    }

    /// Returns the recovery that could not bring the component back, unless newer evidence contradicts it. A
    /// whole copy that was read later outweighs lost data. Only a validation outweighs a validation.
    fn lost(&self) -> Option<&'a Sighting> {
        let mut lost: Option<&Sighting> = None;
        for one in &self.seen {
            let invalid = lost.is_some_and(|lost| lost.saw == Saw::Invalid);
            match (one.saw, &one.tier) {
                (Saw::Damaged | Saw::Invalid, None) => lost = Some(one),
                (Saw::Whole, None) if self.is_own(one) => lost = None,
                (Saw::Whole | Saw::Present, _) if self.is_own(one) && !invalid => lost = None,
                _ => {}
            }
        }
        lost
    }
}
