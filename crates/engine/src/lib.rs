//! The engine decides with a pure machine, then does with tokio.
mod action;
mod context;
mod control;
mod driver;
mod engine;
mod error;
mod payload;
mod progress;
mod registry;

pub use action::{Action, Output, Reconciled};
pub use context::{INTERRUPTED, STALE, StepContext, StepView};
pub use control::{Control, Ended};
pub use engine::{Engine, NewRun};
pub use error::EngineError;
pub use progress::{Progress, Unit};
pub use registry::Registry;
