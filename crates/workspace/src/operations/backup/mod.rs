//! A backup: which components, into which tiers.

use rekindle_model::id::RunId;
use rekindle_model::next_action::Action;
use rekindle_model::origin::RunKind;
use rekindle_plan::{Inputs, builtin};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::guards::partial_recovery;
use crate::keys::{self, kit};
use crate::notice::Notice;
use crate::open::ReadWriteWorkspace;
use crate::operations::run::RunRequest;
use crate::replica;
use crate::run_spec::{self, LoadedSpec, SANDBOX};
use crate::{names, staging, tiers};

mod proofs;

/// What to back up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupRequest {
    /// These components, by name or alias; empty for all that have data.
    pub components: Vec<String>,
    /// These tiers; empty for all.
    pub tiers: Vec<String>,
    /// The recoveries in place whose result is accepted although they did not end well.
    pub accepted: Vec<RunId>,
    /// Whether a missed target is a partial failure.
    pub strict: bool,
}

/// Checks a backup.
///
/// # Errors
/// An unknown component or tier, a component without data, an invalid system file, a workspace without a key.
pub async fn prepare(workspace: &ReadWriteWorkspace, request: &BackupRequest) -> Result<RunRequest, Error> {
    let context = &workspace.context;
    let system = run_spec::system(&context.layout)?;
    run_spec::check_places(&context.layout)?;
    let mut loops = system.default_loops(RunKind::Backup);
    if !request.components.is_empty() {
        let named = names::components(&system, &request.components)?;
        if let Some(empty) = named.iter().find(|name| !system.has_source(name)) {
            return Err(Error::usage(format!(
                "component {empty:?} has no source: there is nothing to back up"
            )));
        }
        loops.insert("component".to_owned(), named);
    }
    if !request.tiers.is_empty() {
        loops.insert("tier".to_owned(), names::tiers(&system, &request.tiers)?);
    }
    let key = keys::pinned(&context.layout)?;
    if let Some(fault) = kit::kit_fault(&key, &tiers::urls(&context.layout)) {
        context
            .notices
            .give(Notice::warning(fault).with_next(Action::ExportKit, "writes it to a file"));
    }
    for run in context.interrupted().await? {
        let text = format!("run {} ({}) is not over", run.run, run.workflow);
        let way_on = replica::way_on(&context.layout.state, run.run);
        context
            .notices
            .give(Notice::warning(text).with_next(way_on, "continues it"));
    }
    let captured = loops.get("component").cloned().unwrap_or_default();
    let prove = proofs::due(context, &system, &captured).await?;
    let accepted: Vec<String> = request.accepted.iter().map(ToString::to_string).collect();
    let mut params = Map::new();
    if !accepted.is_empty() {
        params.insert(
            partial_recovery::ACCEPT.to_owned(),
            Value::from(accepted.join(" ")),
        );
    }
    if request.strict {
        params.insert("strict".to_owned(), Value::from(true));
    }
    if !prove.is_empty() {
        let sandboxed: Vec<&str> = system
            .sandboxed(prove.iter().map(String::as_str))
            .into_iter()
            .collect();
        params.insert("sandboxed".to_owned(), Value::from(sandboxed));
        params.insert(SANDBOX.to_owned(), Value::from(staging::sandbox()));
        params.insert("prove".to_owned(), Value::from(prove));
    }
    let spec = LoadedSpec::new(
        &context.layout,
        "backup",
        builtin::BACKUP,
        Inputs { params, loops },
    )?;
    Ok(RunRequest {
        spec,
        kind: RunKind::Backup,
        disaster_at: None,
    })
}
