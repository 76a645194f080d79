//! The La Factoria context system: a real system to protect, to run, to measure and to damage.
//!
//! La Factoria makes educational material. Its state is a tree of Markdown, JSON, model files, logs and two
//! SQLite databases, laid out as [`layout`] says. This library makes such a system of any size from a seed,
//! measures how whole one is, and destroys parts of one on purpose:
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@generate`] | writes a system; the same seed and size give the same bytes, modes and times |
//! | [`mod@probe`] | measures a system on disk; every number is counted there and then |
//! | [`mod@serve`] | runs a system: records with stamps in three stores, health and contexts over HTTP |
//! | [`stamps`] | how far a system or a copy of it reaches, and whether anything is missing before that |
//! | [`context`] | finds the documents of one context: the requested one and what it imports |
//! | [`optimise`] | answers requests for contexts, as they are and optimised; rebuilds the cache |
//! | [`mod@load`] | sends requests to a running system at a constant rate, and measures its answers |
//! | [`mod@damage`] | deletes or corrupts components, only below a root that carries the marker |
//! | [`layout`] | folders, files and shares of size that the other modules agree on |
//! | [`manifest`] | digests that travel inside each component, so that a restored copy can be judged alone |
//! | [`frameworks`] | the educational frameworks as data, and the names no copy may lack |
//! | [`audit`] | the format of the hash-chained and signed audit log |
//! | `signing` | the keys, and what they sign |
//! | `curriculum`, `compose`, `assess` | the documents that content is made of, making a piece, and scoring one |
//! | `models` | the trained models |
//! | `produced` | analytics, reports and assessments, which can be produced again |
//! | [`text`] | seeded prose, varied enough that it compresses like real text |
//! | [`command`] | `rekindle factoria …`: arguments, and results as JSON; printing is the caller's |

mod assess;
pub mod audit;
mod bounded;
mod client;
pub mod command;
mod compose;
pub mod context;
mod curriculum;
pub mod damage;
pub mod error;
pub mod frameworks;
pub mod generate;
mod lacking;
pub mod layout;
pub mod load;
pub mod manifest;
mod models;
pub mod optimise;
pub mod probe;
mod produced;
mod readability;
pub mod serve;
mod signing;
pub mod size;
pub mod stamps;
pub mod text;

pub use command::{FactoriaCommand, run};
pub use damage::{DamageOptions, Damaged, How, damage};
pub use error::FactoriaError;
pub use generate::{GenerateOptions, Generated, generate};
pub use load::{LoadOptions, Loaded, load};
pub use optimise::{Optimiser, Profile, Request};
pub use probe::{Baseline, ProbeKind, probe, probe_with};
pub use serve::{ServeOptions, Served, Serving, serve};
pub use stamps::{StoreMark, watermark};
