//! The doctor: checks that everything is in place to back up and to recover, and says what to do if it is not.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rekindle_journal::RunFilter;
use rekindle_model::next_action::{Action, NextAction, Recover};
use rekindle_model::time;
use rekindle_plan::Diagnostics;
use rekindle_report::text;
use rekindle_server::{Client, OwnerInfo, Unreachable};
use rekindle_vault::{CatalogCheck, Remembered, Spool, Tier, TierError};
use serde::Serialize;

use crate::Application;
use crate::error::Error;
use crate::keys::{self, EXPOSED, OpenKey, kit};
use crate::layout::Layout;
use crate::load_system;
use crate::open::{self, KNOCK, ReadOnlyWorkspace, ReadWriteWorkspace};
use crate::tiers::Lacking;
use crate::trust::read_to_show;
use crate::{lookup, replica, run_spec, staging, tiers, trust};

/// Less free space than this is worth a warning: a window of a restore and a pack fit twice.
const LITTLE_SPACE: u64 = 256 << 20;
/// How far the clock may lag behind the newest record before it is worth a warning.
const CLOCK_LAG: Duration = Duration::from_secs(60);

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Something will fail, or is not safe.
    Warning,
    /// Something fails now.
    Fault,
}

/// One check, and what to do about it.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<NextAction>,
}

impl Finding {
    fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            verdict: Verdict::Ok,
            found: found.into(),
            next: Vec::new(),
        }
    }

    fn warning(check: impl Into<String>, found: impl Into<String>, next: NextAction) -> Self {
        Self {
            verdict: Verdict::Warning,
            next: vec![next],
            ..Self::ok(check, found)
        }
    }

    fn fault(check: impl Into<String>, error: impl Into<Error>) -> Self {
        let error = error.into();
        let details = error.details().map(|details| format!("\n{}", details.trim_end()));
        Self {
            verdict: Verdict::Fault,
            // This is doctor itself, so do not send the person to doctor.
            next: error.own_next().to_vec(),
            ..Self::ok(check, format!("{error}{}", details.unwrap_or_default()))
        }
    }
}

/// Examines everything that a backup and a recovery need.
///
/// # Errors
/// There is no workspace.
pub async fn examine(app: &Application) -> Result<Vec<Finding>, Error> {
    let layout = Layout::find(&app.selection)?;
    let mut findings = vec![owner(&layout).await];
    if let Err(error) = trust::check(&app.trust(), &layout) {
        findings.push(Finding::fault("ownership", error));
    }
    findings.extend(journal(app).await);
    findings.extend(workflows(app, &layout));
    if !crate::keys::has_system(&layout) {
        let found = "there is none; this workspace only runs workflows, and protects nothing";
        findings.push(Finding::ok("system.yaml", found));
        findings.extend(space("workspace", &layout.state));
        return Ok(findings);
    }
    let system = system(&layout, &mut findings);
    let key = match keys::open(&layout, &app.unlocker) {
        Ok(key) => {
            findings.push(Finding::ok(
                "key",
                format!("opens; fingerprint {}", key.pinned.fingerprint),
            ));
            findings.push(match kit::kit_fault(&key.pinned, &tiers::urls(&layout)) {
                None => Finding::ok("recovery kit", "handed out, and leads to every tier"),
                Some(fault) => Finding::warning(
                    "recovery kit",
                    fault,
                    NextAction::new(
                        Action::ExportKit,
                        "writes it to a file; keep that on another machine",
                    ),
                ),
            });
            Some(key)
        }
        Err(error) => {
            findings.push(Finding::fault("key", error));
            None
        }
    };
    let faults = app.unlocker.identity_faults();
    findings.extend(faults.into_iter().map(|fault| Finding::fault("identity", fault)));
    findings.push(space("workspace", &layout.state).unwrap_or_else(|| {
        let next = NextAction::advice("runs can be read and not driven; mount it writable");
        Finding {
            verdict: Verdict::Fault,
            ..Finding::warning(
                "workspace",
                format!("{} is read-only", layout.state.display()),
                next,
            )
        }
    }));
    if let Some(system) = &system {
        let root = run_spec::data_root(&layout.system_dir(), system);
        match root.exists() {
            // A backup needs no more. A recovery in place reports this itself.
            true => findings.push(
                space("root", &root)
                    .unwrap_or_else(|| Finding::ok("root", format!("{} is read-only", root.display()))),
            ),
            false if run_spec::uses_root(system) => findings.push(Finding::warning(
                "root",
                format!("{} is not there", root.display()),
                NextAction::new(Action::Recover(Recover::default()), "recovers it"),
            )),
            false => {}
        }
        if let Some(key) = &key {
            let remembered = Remembered::of(&layout.state);
            let mut open = Vec::new();
            for (name, spec) in &system.tiers {
                let check = format!("tier {name}");
                findings.extend(match tiers::open_tier(&layout, key, name, spec).await {
                    Ok(tier) => {
                        let held = holds(name, &tier).await;
                        open.push(Arc::new(tier));
                        held
                    }
                    Err(error) if is_absent(&error) && tiers::is_new(&layout, key, name) => {
                        vec![Finding::warning(
                            check,
                            format!("nothing was ever stored there: {}", tiers::bare(name, &error)),
                            NextAction::new(
                                Action::Backup,
                                "makes it; if it is to be mounted, mount it first",
                            ),
                        )]
                    }
                    Err(error) => {
                        let found = tiers::bare(name, &error);
                        vec![Finding {
                            found,
                            ..Finding::fault(check, error)
                        }]
                    }
                });
            }
            findings.extend(unreadable_notes(&remembered));
            findings.extend(lost(&open).await);
            findings.extend(left_by_killed_writes(&layout, key, &open).await);
        }
    }
    Ok(findings)
}

/// Takes the rights of other users from the identity file. Removes what killed processes have left: staged copies, and
/// temporary files in the spool and the tiers.
///
/// # Errors
/// Another process owns the workspace, or a tier that answers cannot be written.
pub async fn fix(workspace: &ReadWriteWorkspace) -> Result<(), Error> {
    let context = &workspace.context;
    if workspace.other_owner().is_some() {
        return Err(workspace.held_by_other());
    }
    let (closed, faults) = context.unlocker.close_identities();
    for (file, mode) in closed {
        context.notices.warn(format!(
            "{} was open to other users (its mode was {mode:04o}) and is closed; {EXPOSED}",
            file.display()
        ));
    }
    faults
        .iter()
        .for_each(|fault| context.notices.warn(fault.to_string()));
    // Opening the workspace has removed the staged copies.
    let system = run_spec::system(&context.layout)?;
    let key = context.key()?;
    let spool = context.layout.state.join("spool");
    if spool.is_dir() {
        let spool = Spool::open(&spool, Arc::clone(&key.keyring)).await?;
        spool.abandoned(true).await?;
    }
    for (name, spec) in &system.tiers {
        match tiers::open_tier(&context.layout, &key, name, spec).await {
            Ok(tier) => drop(tier.abandoned(true).await?),
            Err(error) => context.notices.warn(error.to_string()),
        }
    }
    Ok(())
}

/// Names what the tiers should hold and do not.
async fn lost(open: &[Arc<Tier>]) -> Vec<Finding> {
    let lacking = tiers::lacking(open, CatalogCheck::Documents).await;
    let faults = lacking.into_iter().map(|Lacking { tier, text, .. }| Finding {
        verdict: Verdict::Fault,
        ..Finding::warning(
            format!("tier {tier}"),
            text,
            NextAction::new(
                Action::RepairTier { tier },
                "copies the missing objects from the other tiers",
            ),
        )
    });
    faults.collect()
}

/// Names the notes of heads that could not be read and were set aside: what they knew is not known any more.
fn unreadable_notes(remembered: &Remembered) -> Vec<Finding> {
    let set_aside = remembered.unreadable_heads().into_iter();
    let findings = set_aside.map(|file| {
        Finding::warning(
            "workspace",
            format!(
                "{} could not be read and was set aside: whether a tier was put back to an earlier state before that \
                 is not known",
                file.display()
            ),
            NextAction::advice("compare it with a copy of the workspace if you have one; then remove it"),
        )
    });
    findings.collect()
}

/// Counts the temporary files of killed writes, in the tiers and in the spool.
async fn left_by_killed_writes(layout: &Layout, key: &OpenKey, open: &[Arc<Tier>]) -> Vec<Finding> {
    let mut left = Vec::new();
    for tier in open {
        match tier.abandoned(false).await {
            Ok(found) if found.is_empty() => {}
            Ok(found) => {
                let bytes = found.iter().map(|(_, file)| file.len).sum();
                left.push(abandoned(format!("tier {}", tier.name()), found.len(), bytes));
            }
            Err(error) => left.push(Finding::fault(format!("tier {}", tier.name()), error)),
        }
    }
    let dir = layout.state.join("spool");
    if dir.is_dir()
        && let Ok(spool) = Spool::open(&dir, Arc::clone(&key.keyring)).await
        && let Ok(found) = spool.abandoned(false).await
        && !found.is_empty()
    {
        let bytes = found.iter().map(|file| file.len).sum();
        left.push(abandoned("workspace".to_owned(), found.len(), bytes));
    }
    left
}

fn abandoned(check: String, files: usize, bytes: u64) -> Finding {
    let found = format!(
        "killed writes left {}, {}",
        text::count(files, "temporary file"),
        text::bytes(bytes)
    );
    Finding::warning(
        check,
        found,
        NextAction::new(Action::RemoveLeftovers, "removes them"),
    )
}

/// Checks which process drives the runs of this workspace, and whether it answers.
async fn owner(layout: &Layout) -> Finding {
    let mut left = STARTING;
    loop {
        return match Client::connect(&layout.state).await {
            Ok(client) => answers(client.info()),
            Err(Unreachable::Nobody { .. }) => match rekindle_journal_local::owner(&layout.state) {
                Ok(None) => Finding::ok("owner", "nobody drives runs here"),
                Ok(Some(_)) if left > 0 => {
                    left -= 1;
                    tokio::time::sleep(KNOCK).await;
                    continue;
                }
                Ok(Some(holder)) => Finding {
                    verdict: Verdict::Warning,
                    ..Finding::fault("owner", open::answers_nobody(holder))
                },
                Err(error) => Finding::fault("owner", error),
            },
            Err(error) => Finding::fault("owner", open::unreachable(error, &layout.state)),
        };
    }
}

/// How often to ask a process that starts or ends before it counts as one that answers nobody.
const STARTING: usize = 10;

fn answers(info: &OwnerInfo) -> Finding {
    let other = info.version != env!("CARGO_PKG_VERSION");
    let found = format!(
        "process {} drives {} since {}",
        info.pid,
        text::count(info.runs.len(), "run"),
        time::show(info.since)
    );
    match other {
        false => Finding::ok("owner", found),
        true => Finding::warning(
            "owner",
            format!("{found}, as version {}", info.version),
            NextAction::advice("end it and start it again as this version"),
        ),
    }
}

/// Checks whether the journal can be read, whether opening it found damage, and which runs wait to be resumed.
async fn journal(app: &Application) -> Vec<Finding> {
    let workspace = match ReadOnlyWorkspace::open(app).await {
        Ok(workspace) => workspace,
        Err(error) => return vec![Finding::fault("journal", error)],
    };
    let listed = workspace.context.journal.runs(&RunFilter::default()).await;
    let driven = workspace.driven().await;
    let (held, as_it_is, damage) = (
        workspace.held,
        workspace.as_it_is.clone(),
        workspace.damage.clone(),
    );
    let state = workspace.context.layout.state.clone();
    workspace.close().await;
    let runs = match listed {
        Ok(runs) => runs,
        Err(error) => return vec![Finding::fault("journal", error)],
    };
    let mut counted = text::count(runs.len(), "run");
    if let Some(why) = as_it_is.filter(|_| !held) {
        counted = format!("{counted}; {why}");
    }
    let mut findings = match damage.is_empty() {
        true => vec![Finding::ok("journal", counted)],
        false => vec![Finding::warning(
            "journal",
            format!("{counted}; it was found damaged"),
            NextAction::new(
                Action::VerifyJournal,
                "reads all of it; what could be repaired is, and a disk that has lost something once may lose more",
            ),
        )],
    };
    findings.extend(damage.into_iter().map(|what| Finding {
        verdict: Verdict::Warning,
        ..Finding::ok("journal", what)
    }));
    for run in runs.iter().filter(|run| run.quarantined.is_some()) {
        findings.push(Finding::warning(
            "journal",
            format!(
                "run {} is quarantined: {}",
                run.run,
                run.quarantined.as_deref().unwrap_or_default()
            ),
            NextAction::advice("the other runs are not affected; keep the workspace as it is"),
        ));
    }
    // A process may be working on a driven run right now, so such a run does not wait to be resumed.
    let interrupted =
        lookup::open(&runs).filter(|run| driven.as_ref().is_some_and(|driven| !driven.contains(&run.run)));
    findings.extend(interrupted.map(|run| {
        Finding::warning(
            "interrupted",
            format!("{} of {}", run.workflow, time::show(run.created.utc)),
            NextAction::new(replica::way_on(&state, run.run), "continues it"),
        )
    }));
    let staged = staging::leftovers(&state, &runs);
    // A driven run may need its copies right now.
    if !staged.is_empty() && driven.as_ref().is_some_and(|driven| driven.is_empty()) {
        findings.push(Finding::warning(
            "staging",
            format!(
                "plain copies of data are left in {}",
                text::count(staged.len(), "folder")
            ),
            NextAction::new(Action::RemoveLeftovers, "removes them"),
        ));
    }
    let now = app.clock.now().utc;
    if let Some(newest) = runs.iter().map(|run| run.updated.utc).max()
        && (newest - now).to_std().is_ok_and(|lag| lag > CLOCK_LAG)
    {
        findings.push(Finding::warning(
            "clock",
            format!(
                "the newest record is of {}, which is yet to come",
                time::show(newest)
            ),
            NextAction::advice(
                "set the clock; order does not depend on it, but objectives are measured by it",
            ),
        ));
    }
    findings
}

fn system(layout: &Layout, findings: &mut Vec<Finding>) -> Option<rekindle_model::system::System> {
    let name = layout.system_file.display().to_string();
    let loaded = crate::yaml_file::read_text(&layout.system_file)
        .and_then(|text| load_system(&name, &text).map_err(Error::from));
    match loaded {
        Ok(loaded) => {
            let judged = loaded.judge(&layout.system_dir());
            let components = text::count(loaded.value.components.len(), "component");
            findings.push(match loaded.warnings.0.len() + judged.0.len() {
                0 => Finding::ok("system.yaml", components),
                n => Finding::warning(
                    "system.yaml",
                    format!("{components}, {}", text::count(n, "finding")),
                    NextAction::new(
                        Action::Lint {
                            file: Some(layout.system_file.clone()),
                        },
                        "shows them",
                    ),
                ),
            });
            findings.extend(lacking("system.yaml", loaded.lacks(&layout.system_dir())));
            Some(loaded.value)
        }
        Err(error) => {
            findings.push(Finding::fault("system.yaml", error));
            None
        }
    }
}

/// Names what the workspace's own workflows need and this host lacks.
fn workflows(app: &Application, layout: &Layout) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in crate::yaml_file::workflows_of(layout) {
        let name = file.display().to_string();
        let loaded = read_to_show(app, &file)
            .and_then(|text| rekindle_plan::load_workflow(&name, &text).map_err(Error::from));
        match loaded {
            Ok(workflow) => findings.extend(lacking(&workflow.name, workflow.lacks(&layout.system_dir()))),
            Err(error) => findings.push(Finding::fault(name, error)),
        }
    }
    findings
}

fn lacking(check: &str, lacks: Diagnostics) -> impl Iterator<Item = Finding> {
    lacks.0.into_iter().map(move |lack| Finding {
        verdict: Verdict::Fault,
        next: lack.help.map(NextAction::advice).into_iter().collect(),
        ..Finding::ok(check, format!("{}:{}: {}", lack.file, lack.line, lack.message))
    })
}

async fn holds(name: &str, tier: &Tier) -> Vec<Finding> {
    let check = format!("tier {name}");
    let mut findings: Vec<Finding> = tier
        .down()
        .iter()
        .map(|(url, why)| {
            Finding::warning(
                check.clone(),
                format!("{url} does not answer: {why}"),
                NextAction::advice("its other locations serve meanwhile"),
            )
        })
        .collect();
    findings.push(match (tier.sets().await, tier.snapshots().await) {
        (Ok(sets), Ok(snapshots)) if sets.is_empty() => Finding::warning(
            check,
            format!("{} and no recovery set", text::count(snapshots.len(), "snapshot")),
            NextAction::new(Action::Backup, "makes the first one"),
        ),
        (Ok(sets), Ok(snapshots)) => Finding::ok(
            check,
            format!(
                "{}, {}",
                text::count(sets.len(), "recovery set"),
                text::count(snapshots.len(), "snapshot")
            ),
        ),
        (Err(error), _) | (_, Err(error)) => Finding::fault(check, error),
    });
    findings
}

/// Returns whether the tier's location is absent or holds no vault.
fn is_absent(error: &TierError) -> bool {
    matches!(error, TierError::Unreachable { .. } | TierError::NotAVault { .. })
}

/// Checks how much room there is on the disk that holds a path. None if the disk is read-only.
fn space(check: &str, path: &Path) -> Option<Finding> {
    Some(match rustix::fs::statvfs(path) {
        Ok(found) if found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) => return None,
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let said = format!("{} free at {}", text::bytes(free), path.display());
            match free < LITTLE_SPACE {
                true => Finding::warning(check, said, NextAction::advice("make room before the next run")),
                false => Finding::ok(check, said),
            }
        }
        Err(error) => Finding::fault(
            check,
            Error::io(format_args!("look at {}", path.display()), &error.into()),
        ),
    })
}
