//! Any workflow as a run, and the checks before it is submitted.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use rekindle_model::origin::RunKind;
use rekindle_plan::{Inputs, Severity, load_workflow};
use rekindle_sources::private;
use serde_json::{Map, Value};

use crate::Application;
use crate::error::Error;
use crate::guards::{occupied, target};
use crate::layout::Layout;
use crate::open::ReadWriteWorkspace;
use crate::run_spec::{self, LoadedSpec};
use crate::trust;

/// A run that has passed every check and can be submitted.
pub struct RunRequest {
    /// What it is pinned to.
    pub spec: LoadedSpec,
    /// What it is for.
    pub kind: RunKind,
    /// When the disaster struck, if a person said so.
    pub disaster_at: Option<DateTime<Utc>>,
}

/// A workflow to be run over the default loops of its kind.
pub struct WorkflowRequest {
    /// The person's name for it: a file or a name.
    pub name: String,
    /// Its YAML.
    pub yaml: String,
    /// Parameters, as text.
    pub params: Vec<(String, String)>,
}

/// Checks the run of a workflow.
///
/// # Errors
/// The workflow does not expand, a parameter is given twice, or it would write over something.
pub async fn prepare(workspace: &ReadWriteWorkspace, request: &WorkflowRequest) -> Result<RunRequest, Error> {
    let WorkflowRequest { name, yaml, params } = request;
    let context = &workspace.context;
    let system = run_spec::system_if_any(&context.layout)?;
    let inputs = Inputs {
        params: typed_once(params)?,
        loops: BTreeMap::new(),
    };
    let mut spec = LoadedSpec::new(&context.layout, name, yaml, inputs)?;
    let kind = RunKind::of_workflow(&spec.workflow.name);
    spec.inputs.loops = system.default_loops(kind);
    let alternatives = occupied::alternatives(&spec, name, &context.layout);
    let mut named = None;
    if let Some(Value::String(to)) = spec.inputs.params.get_mut("to")
        && !to.is_empty()
        && system.present().is_some()
    {
        let place = target::named(&context.layout, &system, Path::new(to), &alternatives)?;
        // A resumed run may start in another folder, and a link may lead elsewhere by then.
        *to = place.path().to_string_lossy().into_owned();
        named = Some(place);
    }
    let ready = spec.ready(context)?;
    occupied::refuse(context, &ready, named.as_ref(), &alternatives).await?;
    Ok(RunRequest {
        spec: ready.spec,
        kind,
        disaster_at: None,
    })
}

/// Makes a workspace in the current folder if there is none, for a workflow that works on no system.
///
/// # Errors
/// The workflow is invalid or needs a system, or the folder cannot be written.
pub fn make_workspace(app: &Application, name: &str, yaml: &str) -> Result<(), Error> {
    let Some(layout) = Layout::to_be_made(&app.selection) else {
        return Ok(());
    };
    let needs = load_workflow(name, yaml)?.needs_system(Severity::Error);
    if needs.has_errors() {
        return Err(needs.into());
    }
    trust::check(&app.trust(), &layout)?;
    private::create_dir_all(&layout.state)
        .map_err(|error| Error::io(format_args!("make {}", layout.state.display()), &error))?;
    app.notices.say(format!(
        "there is no workspace yet; {} keeps the journal",
        layout.state.display()
    ));
    Ok(())
}

fn typed_once(given: &[(String, String)]) -> Result<Map<String, Value>, Error> {
    let mut params = Map::new();
    for (key, value) in given {
        if params.insert(key.clone(), Value::String(value.clone())).is_some() {
            return Err(Error::usage(format!("parameter {key:?} is given twice")));
        }
    }
    Ok(params)
}
