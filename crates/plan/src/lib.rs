//! From YAML to a validated plan, or to diagnostics that name every fault with its line and column.
//!
//! | module | what it does |
//! |---|---|
//! | [`diagnostic`] | faults, their places, and how they are shown |
//! | `yaml`, `read` | a tree in which every node knows its place, within budgets; typed readers that collect faults |
//! | [`system`] | `system.yaml` to [`rekindle_model::system::System`], cross-references judged |
//! | [`workflow`] | a workflow file to [`Workflow`] |
//! | [`plan`] | what a run is created with, and the plan that it follows |
//! | [`expand`](mod@expand) | loops, needs and priorities: a workflow to a [`Plan`] |
//! | `turns` | whether runs may come to wait for each other's groups |
//! | [`expr`] | `${{ }}` expressions |
//! | [`graph`] | a plan for people's eyes |
//! | [`judge`] | whether the objectives of a system can be kept, with the arithmetic |
//! | [`schema`] | the shape of both kinds of file, for editors |
//! | [`builtin`] | the workflows and the system that ship |

pub mod builtin;
mod cycle;
pub mod diagnostic;
pub mod expand;
pub mod expr;
pub mod graph;
pub mod judge;
mod location;
mod overlap;
pub mod plan;
mod probe;
mod read;
pub mod schema;
mod sources;
pub mod system;
mod turns;
pub mod workflow;
mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, Problem, Severity, suggest};
pub use expand::{expand, faults_of};
pub use plan::{Backoff, Catalog, Compensate, Inputs, Plan, PlanStep, Retry, RunIf};
pub use system::{Loaded, load_system};
pub use turns::{Turns, may_wait_for_each_other};
pub use workflow::{ParamKind, ParamSpec, StepTemplate, Workflow, load_workflow};
pub use yaml::value as yaml_value;
