//! Read-only projections of the journal: the history of a run, the cost of an interruption, how a recovery
//! met its objectives, and whether the system can come back at all.
//!
//! Nothing here can write: every projection is a pure function of an [`Evidence`], which is a run's records
//! and the blobs that they refer to. The caller reads the journal and prints.
//!
//! | module | answers |
//! |---|---|
//! | [`evidence`] | what does the journal prove about this run? |
//! | [`steps`] | what did each step do, and how long did it take? |
//! | [`rework`] | what did an interruption cut off, and how much work did it not cost? |
//! | [`recovery`] | did the recovery meet RTO and RPO, component by component? |
//! | [`burndown`] | how does a recovery at work stand against its RTOs? |
//! | [`forecast`] | how long will a recovery take, by an earlier one? |
//! | [`drill`] | what did the drill of a scenario prove? |
//! | [`provenance`] | which components of the set were restored, and from which tiers? |
//! | [`copies`] | in which state did each run see the stored copies? |
//! | [`rule`] | which formula decided, and over which values? |
//! | [`targets`] | which targets of the system are met, missed, or not measured? |
//! | [`backup`] | what did a backup store, and where is it verified? |
//! | [`status`] | can we come back, how long will it take, how much will we lose, where is the proof? |
//! | [`unfinished`] | how far is an unfinished run, and what does it wait for? |
//! | [`text`] | all of it as text for people |
//! | [`unheld`] | what could the target of a restore not hold? |
//! | [`units`] | durations, counts and sizes as people read them |

pub mod backup;
pub mod burndown;
pub mod copies;
pub mod drill;
pub mod evidence;
pub mod forecast;
pub mod provenance;
pub mod recovery;
pub mod rework;
pub mod rule;
mod seconds;
pub mod status;
pub mod steps;
pub mod targets;
pub mod text;
pub mod unfinished;
pub mod unheld;
pub mod units;
pub mod window;

pub use evidence::{Evidence, blobs_of};
