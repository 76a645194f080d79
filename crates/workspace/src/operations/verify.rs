//! A verification of the stored copies.

use rekindle_model::origin::RunKind;
use rekindle_plan::{Inputs, builtin};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::names;
use crate::open::ReadWriteWorkspace;
use crate::operations::run::RunRequest;
use crate::run_spec::{self, LoadedSpec};

/// What to verify.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyRequest {
    /// These tiers; empty for all.
    pub tiers: Vec<String>,
    /// How deep.
    pub level: VerifyLevel,
    /// The share of the chunks to read, in percent, as the workflow's parameter `sample` takes it ("10%").
    pub sample: String,
}

/// How deep a verification looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyLevel {
    /// All objects are there, with the right size.
    Exists,
    /// Every chunk is read, decrypted and hashed again.
    Read,
}

/// Checks a verification.
///
/// # Errors
/// An unknown tier, or an invalid system file.
pub fn prepare(workspace: &ReadWriteWorkspace, request: &VerifyRequest) -> Result<RunRequest, Error> {
    let layout = &workspace.context.layout;
    let system = run_spec::system(layout)?;
    let mut loops = system.default_loops(RunKind::Verify);
    if !request.tiers.is_empty() {
        loops.insert("tier".to_owned(), names::tiers(&system, &request.tiers)?);
    }
    let level = match request.level {
        VerifyLevel::Exists => "exists",
        VerifyLevel::Read => "read",
    };
    let params = Map::from_iter([
        ("level".to_owned(), Value::from(level)),
        ("sample".to_owned(), Value::from(request.sample.clone())),
    ]);
    Ok(RunRequest {
        spec: LoadedSpec::new(layout, "verify", builtin::VERIFY, Inputs { params, loops })?,
        kind: RunKind::Verify,
        disaster_at: None,
    })
}
