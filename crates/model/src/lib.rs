//! The nouns and pure rules of Rekindle. No I/O happens here, except that [`time::SystemClock`] reads
//! the clocks of the machine.
//!
//! | module | what it holds |
//! |---|---|
//! | [`id`] | names of runs, steps, snapshots, recovery sets and blobs |
//! | [`time`] | stamps, and the [`time::Clock`] that every `now` comes from |
//! | [`origin`] | where a run comes from: its kind and its trigger |
//! | [`event`] | the journal's vocabulary: what can happen to a run |
//! | [`step`] | the one transition table: [`step::StepRecord::apply`] |
//! | [`approval`] | a question to a person, and what was decided |
//! | [`run`] | the one fold: [`run::RunState::fold`] |
//! | [`undo`] | the undo of a step's work, and its states |
//! | [`process`] | the programs that a step has started |
//! | [`planted`] | faults that the tests must notice; no product contains them |
//! | [`failure`] | why a step failed, with a code and what to do next |
//! | [`problem`] | an error as one process gives it to another, with its kind |
//! | [`next_action`] | what a person can do next, as data |
//! | [`shown`] | text that a terminal shows as it is |
//! | [`shell`] | words of commands, quoted for a shell |
//! | [`keys`] | what the keys of a YAML object mean and take |
//! | [`entry`] | one entry of a captured tree |
//! | [`globs`] | globs that select paths of such a tree |
//! | [`source`] | where the data of a component come from: a type and its settings |
//! | [`system`] | what is protected: components, tiers, objectives, scenarios |
//! | [`expect`] | a target such as `<= 100`, and whether a measured number meets it |
//! | [`measured`] | the numbers that Rekindle itself measures |

pub mod approval;
pub mod burndown;
pub mod entry;
pub mod event;
pub mod expect;
pub mod failure;
pub mod globs;
pub mod id;
pub mod keys;
mod loops;
pub mod measured;
pub mod next_action;
pub mod origin;
pub mod period;
pub mod planted;
pub mod probe;
pub mod problem;
pub mod process;
pub mod run;
pub mod scenario;
pub mod shell;
pub mod shown;
pub mod source;
pub mod step;
pub mod system;
pub mod time;
pub mod undo;
