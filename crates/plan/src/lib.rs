//! Reads YAML into a validated plan, or into diagnostics that name every fault with its line and column.
//!
//! | module | what it does |
//! |---|---|
//! | [`diagnostic`] | faults, their places, and how they are shown |
//! | `yaml` | a tree in which every node knows its place, read within budgets |
//! | `system::keys`, `workflow::keys` | the tables of all keys: the one description of each |
//! | `formats`, `read` | the forms of text; reads a tree by the tables and reports every fault |
//! | `elsewhere` | keys of other tools, and what they are called here |
//! | [`schema`], `docs` | the tables as JSON Schema, and in the documents |
//! | [`system`] | `system.yaml`, and the rules between its keys and components |
//! | [`feasibility`] | whether a system can meet its objectives, with the arithmetic |
//! | [`workflow`] | a workflow file to [`Workflow`] |
//! | [`catalog`] | the facts about actions that a plan needs |
//! | `group_locks` | whether runs may wait for each other's groups in a circle |
//! | [`plan`] | the inputs of a run, and its plan |
//! | [`expand`](mod@expand) | loops, needs and priorities: a workflow to a [`Plan`] |
//! | [`expr`] | `${{ }}` expressions |
//! | [`graph`] | a plan as text, Graphviz, Mermaid or SVG |
//! | [`builtin`] | the built-in workflows and the built-in system |

pub mod builtin;
pub mod catalog;
mod cycle;
pub mod diagnostic;
#[cfg(test)]
mod docs;
mod elsewhere;
pub mod expand;
pub mod expr;
pub mod feasibility;
mod formats;
pub mod graph;
mod group_locks;
mod lacking;
mod location;
mod numbers;
mod origin;
mod overlap;
pub mod plan;
mod read;
pub mod schema;
mod shell_code;
mod sources;
pub mod system;
mod typed;
mod words;
pub mod workflow;
mod yaml;

pub use catalog::{Catalog, GroupLocks, OF_A_SYSTEM};
pub use diagnostic::{Diagnostic, Diagnostics, Problem, Severity, suggest};
pub use expand::{expand, faults_of};
pub use group_locks::may_wait_for_each_other;
pub use numbers::beyond_64_bits;
pub use plan::{Backoff, Compensate, Handler, Inputs, Plan, PlanStep, Retry, RunIf};
pub use system::{Loaded, load_system};
pub use words::list_form;
pub use workflow::{
    ForEach, Hooks, ParamKind, ParamSpec, StepTemplate, Workflow, load_workflow, read_workflow,
};
pub use yaml::value as yaml_value;
