//! The shared parts of the end-to-end tests: a system in a temporary folder, the product with planted kill
//! points, and judges that do not ask the engine.
//!
//! | module | what it holds |
//! |---|---|
//! | [`chaos`] | the shared parts of the chaos tests: dice, a journal's writer and its reports, disks of a test's own |
//! | [`faults`] | the product's journal and actions, wrapped: they kill the process at planted places |
//! | [`hosts`] | several hosts that share a tier, with processes that can be stopped and continued |
//! | [`output_schema`] | what `--json` prints, held against the schema that the product prints |
//! | [`product`] | the product as a process: its reports during work, compared with later histories |
//! | [`recording`] | the recordings in the documents, compared with the product's output |
//! | [`reference`] | a pure model of a workflow's result, which no kill may change |
//! | [`sandbox`] | a system, its workspace and its tiers, to run the product in |
//! | [`schema`] | checks data by JSON Schema |
//! | [`shapes`] | workflows of every shape, as YAML and as plans of the reference model |
//! | [`small`] | a small system of files and a database, and a judge of its recovery |
//! | [`tree`] | a hash of a tree: paths, types, modes, times, contents |
//! | [`wait`] | waiting for another process |
//! | [`effects`] | the effect log, which the engine never reads, compared with the journal's history |

pub mod chaos;
pub mod effects;
pub mod faults;
pub mod hosts;
pub mod output_schema;
pub mod product;
pub mod recording;
pub mod reference;
pub mod sandbox;
pub mod schema;
pub mod shapes;
pub mod small;
pub mod tree;
pub mod wait;
