//! What the end-to-end tests share: a system in a temporary folder, the product with kill points planted, and
//! judges that do not ask the engine.
//!
//! | module | what it holds |
//! |---|---|
//! | [`chaos`] | what the chaos tests share: dice, a journal's writer, what it told, disks of a test's own |
//! | [`faults`] | the journal and the actions of the product, wrapped: they kill the process where they are told |
//! | [`hosts`] | several hosts that share a tier, and processes that are stopped and let go on |
//! | [`product`] | the product as a process: what it tells while it works, held against what is read afterwards |
//! | [`recording`] | the recordings in the documents, compared with what the product prints today |
//! | [`reference`] | a pure model of what a workflow must come to, whatever was killed |
//! | [`sandbox`] | a system, its workspace and its tiers, to run the product in |
//! | [`schema`] | a judge of data by JSON Schema |
//! | [`shapes`] | workflows of every shape, as YAML and as plans of the reference model |
//! | [`small`] | a small system of files and a database, and a judge of what was recovered of it |
//! | [`tree`] | a hash of a tree: paths, types, modes, times, contents |
//! | [`wait`] | waiting for what another process does |
//! | [`effects`] | the effect log, which the engine never reads, held against the journal's history |

pub mod chaos;
pub mod effects;
pub mod faults;
pub mod hosts;
pub mod product;
pub mod recording;
pub mod reference;
pub mod sandbox;
pub mod schema;
pub mod shapes;
pub mod small;
pub mod tree;
pub mod wait;
