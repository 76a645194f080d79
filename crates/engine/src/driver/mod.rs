//! The driver of one run: appends first, then performs.

use std::sync::Arc;

use rekindle_model::event::Record;
use rekindle_model::run::RunState;
use rekindle_plan::Plan;
use serde_json::Value;

use crate::control::{Control, Ended};
use crate::engine::Shared;
use crate::error::EngineError;

/// Drives a run; the machine that decides is not in yet, so the run is handed back as it stands.
pub(crate) async fn drive(
    _shared: Arc<Shared>,
    records: &[Record],
    _epoch: u64,
    _plan: Arc<Plan>,
    _ambient: Value,
    _control: &Control,
) -> Result<Ended, EngineError> {
    Ok(Ended::Interrupted(RunState::from_records(records)?))
}
