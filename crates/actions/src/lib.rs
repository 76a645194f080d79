//! The actions that a workflow's steps name under `uses:`. Each action checks its parameters when a workflow is read,
//! looks at the world after a crash, and does its work under checkpoints.
//!
//! | action | what it does |
//! |---|---|
//! | `snapshot` | captures one component into the spool |
//! | `store` | copies to one tier what it lacks of a snapshot |
//! | `verify` | reads back what a tier has stored |
//! | `verify-catalog` | reads every recovery set and snapshot document that a tier must hold |
//! | `verify-replicas` | reads back the replicas of runs' journals that a tier keeps |
//! | `seal-set` | seals the recovery set of a run |
//! | `locate-set` | picks the recovery set to come back from |
//! | `set-aside` | moves existing content away before a recovery in place |
//! | `restore` | puts one component back |
//! | `validate` | runs a component's probes and judges the numbers |
//! | `system-integrity` | judges the system as a whole |
//! | `set-up` | restores a component into the sandbox of a drill |
//! | `damage` | causes the disaster of a drill in its sandbox |
//! | `detect-damage` | runs the validations that the damage must fail |
//! | `load` | puts the system in the sandbox of a drill under load, and measures it |
//! | `inject-faults` | verifies a tier of which some copies are damaged: they must be named |
//! | `remove-sandbox` | removes the sandbox of a drill |
//! | `command` | runs a program |
//! | `http` | sends a request |
//! | `notify` | notifies people, by a program or a webhook |
//! | `workflow` | runs another workflow, as a run of its own |
//! | `noop` | does nothing: for measurements, and to try a workflow out |
//!
//! Programs of steps and probes run as children of [`supervise`], so that none of them outlives its step.
//!
//! All actions share one [`Site`]; [`registry`] gives them to the engine.

mod checks;
mod choose;
mod command;
mod compose;
mod copy;
mod damage;
mod detect_damage;
pub mod displace;
mod failures;
mod findings;
mod health;
mod http;
mod http_client;
mod inject_faults;
mod isolation;
mod json;
mod locate_set;
mod measure;
mod named_outputs;
mod noop;
mod notify;
mod outlook;
mod params;
mod prober;
mod process;
mod programs;
mod put_back;
mod put_under_load;
mod redact;
mod remove_sandbox;
mod replica_reader;
mod restore;
mod rto_watch;
mod rule;
mod scratch;
mod seal_set;
mod search;
mod secrets;
mod set_aside;
mod set_up;
mod shapes;
mod shown;
mod site;
mod snapshot;
mod step_log;
mod store;
pub mod supervise;
mod system_integrity;
pub mod trust;
mod validate;
mod verify;
mod verify_catalog;
mod verify_replicas;
mod views;
mod workflow;

use std::sync::Arc;

use rekindle_engine::Registry;

pub use damage::DAMAGE;
pub use detect_damage::DETECT_DAMAGE;
pub use health::{Answer, ask as ask_health};
pub use inject_faults::INJECT_FAULTS;
pub use locate_set::{FoundSet, find_set};
pub use put_under_load::LOAD;
pub use remove_sandbox::REMOVE_SANDBOX;
pub use replica_reader::{ReplicaFault, ReplicaReader, ReplicasReport};
pub use restore::sandbox_room;
pub use seal_set::sealed_set;
pub use set_up::SET_UP;
pub use shapes::shapes;
pub use shown::shown;
pub use site::{Site, SiteParts};
pub use step_log::path as log_file;
pub use verify_catalog::VERIFY_CATALOG;
pub use verify_replicas::{VERIFY_REPLICAS, VERIFY_REPLICAS_ALIAS};

use findings::Verifying;

/// The action that runs a program.
pub(crate) const COMMAND: &str = "command";

/// Returns every action, for the steps of a run at `site`.
pub fn registry(site: Arc<Site>) -> Registry {
    registry_inside(site, workflow::Outer::default())
}

/// Returns every action, to check the steps of a workflow that others run.
pub(crate) fn registry_inside(site: Arc<Site>, outer: workflow::Outer) -> Registry {
    let run_workflow = workflow::RunWorkflow {
        site: Arc::clone(&site),
        outer,
    };
    Registry::new()
        .with_output_fields(shapes::OUTPUT_FIELDS)
        .with(rekindle_engine::WORKFLOW, run_workflow)
        .with("snapshot", snapshot::TakeSnapshot(Arc::clone(&site)))
        .with("store", store::Store(Arc::clone(&site)))
        .with("verify", Verifying(verify::Verify(Arc::clone(&site))))
        .with(
            VERIFY_CATALOG,
            Verifying(verify_catalog::VerifyCatalog(Arc::clone(&site))),
        )
        .with(
            VERIFY_REPLICAS,
            Verifying(verify_replicas::VerifyReplicas(Arc::clone(&site))),
        )
        .with(
            VERIFY_REPLICAS_ALIAS,
            Verifying(verify_replicas::VerifyReplicas(Arc::clone(&site))),
        )
        .with("seal-set", seal_set::SealSet(Arc::clone(&site)))
        .with("locate-set", locate_set::LocateSet(Arc::clone(&site)))
        .with("set-aside", set_aside::SetAside(Arc::clone(&site)))
        .with("restore", restore::Restore(Arc::clone(&site)))
        .with("validate", validate::Validate(Arc::clone(&site)))
        .with(
            "system-integrity",
            system_integrity::SystemIntegrity(Arc::clone(&site)),
        )
        .with(SET_UP, set_up::SetUp(restore::Restore(Arc::clone(&site))))
        .with(DAMAGE, damage::CauseDamage(Arc::clone(&site)))
        .with(DETECT_DAMAGE, detect_damage::DetectDamage(Arc::clone(&site)))
        .with(LOAD, put_under_load::PutUnderLoad(Arc::clone(&site)))
        .with(INJECT_FAULTS, inject_faults::InjectFaults(Arc::clone(&site)))
        .with(REMOVE_SANDBOX, remove_sandbox::RemoveSandbox(Arc::clone(&site)))
        .with("http", http::SendRequest)
        .with("noop", noop::Noop)
        .with("notify", notify::Notify(Arc::clone(&site)))
        .with(COMMAND, command::RunCommand(site))
}
