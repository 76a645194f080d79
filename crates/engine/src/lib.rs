//! The engine decides the next steps of a run, journals the decision, and then acts.
//!
//! A pure machine decides: it takes a run's history and an input, and returns effects, which are data. A driver
//! performs the effects with tokio. An [`Action`] does the work of a step, and a [`Registry`] knows the actions by
//! name. An [`Engine`] creates runs, takes over those that another process left, and drives them.
//!
//! `ARCHITECTURE.md` tells the life of a step. The rules below are the details.
//!
//! # Steps
//!
//! - **Whether one runs.** `run_if` decides once all that the step needs has ended. `success`: all of them succeeded;
//!   `failure`: one failed, or was skipped because one did; `always`; an expression.
//! - **Which one starts.** The lowest priority number goes first. The limits are the plan's `max_parallel`, the
//!   process's permits ([`Permits`]: the next one goes to the most urgent step of all runs) and one step at a time of
//!   each `concurrency` group ([`Groups`]).
//! - **What it gets.** A [`StepContext`]: parameters, the outputs of the steps that have ended, a `stop`. If an
//!   expression in `with` fails, that is the failure of the attempt (`expression`), and the engine never calls the
//!   action. The next attempt gets the last checkpoint.
//! - **How it fails.** A panic is the failure `internal`. If an attempt takes longer than its `timeout`, the engine asks
//!   it to end (`timeout`). If it gives no sign of progress and records nothing for its `stall_timeout`, that is `stalled`.
//!   The retry policy grants another attempt if the failure is retryable, its code is not excluded and attempts are
//!   left. All attempts together have the step's `deadline`, and the run has its own. Both count from journaled times,
//!   so a resume does not restart them.
//! - **Cut off.** That uses up no attempt. The engine first makes sure that the programs of the attempt are gone.
//! - **Invalidated.** When a run is driven again, the engine first *rechecks* every succeeded step that unfinished
//!   steps need, directly or through others. If the artefact of a step is gone, the engine invalidates the step with
//!   the reason, and with it every ended step that came after it. These steps run again, and no others do.
//!
//! # Group locks
//!
//! If the workflow names a `concurrency` group, one of its runs is at work at a time. The others wait before they
//! begin or continue, and the oldest is next. A run gives its lock back when it is over or no longer driven. A run
//! that is the work of a run's step shares that run's lock. The engine journals a wait (`turn_awaited`, `turn_taken`).
//! The run's deadline counts from its first lock. If the run waits for a later lock after a crash, that wait counts
//! too.
//!
//! Runs may wait for each other: each has a lock, and a step whose run wants the other's lock. Then the youngest of
//! the runs that wait for a lock gives way. The engine journals the cycle of waits (`deadlocked`), starts no more of
//! that run's steps, and the run fails. So the others continue.
//!
//! # The end of a run, and undo
//!
//! A run is over when all steps have ended. Its outcome is succeeded if none failed; partial if some failed, but all
//! steps of some component (`each["component"]`) succeeded; else failed or cancelled.
//!
//! An undo covers every step with a `compensate` that was started since the run's last undo. The step's retry policy
//! also applies to its undo. After a person's retry of a stuck undo, the undos of the steps that started before it
//! follow. If a run goes forward again, it runs the undone steps again.
//!
//! # Runs of runs
//!
//! A step that `uses:` [`WORKFLOW`] runs another workflow as a run of its own. The step records that run's id before
//! the run exists. The process that drives the step's run drives that run too ([`SubRuns`]), and stops or cancels both
//! together. If the inner run is interrupted, so is the outer run, and both are resumed together. Such a step takes no
//! permit.
//!
//! # Copies elsewhere
//!
//! If a [`Replica`] keeps copies of a run's journal, an action can wait for them ([`StepContext::barrier`]). An attempt
//! begins only if a check within the last second showed no takeover by another host. Once another host takes the run
//! over, the driver drops everything at once and appends nothing more ([`EngineError::TakenOver`]).
//!
//! # Ending early
//!
//! [`Control::stop`] asks the work at hand to end. Attempts record a checkpoint and return [`INTERRUPTED`]. The engine
//! does not journal that, so they count as cut off. [`Ask::Cancel`] asks the same, journals the attempts as failed
//! (`cancelled`), skips the rest and finishes the run. If an action does not end within a grace period, the engine
//! drops it. If the journal refuses an append, the engine drops everything at once.
//!
//! # Requests that a person may make
//!
//! [`Engine::request`] journals a person's request before it takes effect. If a request does not fit, the engine
//! refuses it and says what to do instead ([`Refusal`]).
//!
//! - **Pause.** No step starts any more, and no retry or reconciliation begins. The work at hand continues to its end.
//!   A paused run that is driven waits, and does not end even when all its steps have ended. Timeouts continue.
//! - **Approve, reject.** A step that `uses:` [`APPROVE`] asks a person. It is no task and takes no permit. A crash
//!   does not affect it, and its timeout counts from the question.
//! - **Retry.** A step that has ended runs again, with everything that came after it. If a step was skipped because
//!   another failed, that one runs again too. If a step waits for its next attempt, it begins it. Either way, its
//!   failures and its deadline count from the start again.
//! - **Skip.** A person leaves a step out for a reason, and the steps that need it continue. A run with such a step is
//!   done in part.
//!
//! Retry and skip also open a run that is over. It is then adopted and driven like one that was interrupted.

mod action;
mod approve;
mod context;
mod control;
mod deadlock;
mod driver;
mod engine;
mod error;
mod groups;
mod machine;
mod nest;
mod orphans;
mod payload;
mod permits;
pub mod process;
mod progress;
mod registry;
mod replica;
mod request;
mod shared;

pub use action::{Action, Output, Reconciled};
pub use approve::APPROVE;
pub use context::{EndedSteps, INTERRUPTED, STALE, StepContext, StepView};
pub use control::{Control, Ended};
pub use engine::{Engine, NewRun};
pub use error::EngineError;
pub use groups::Groups;
pub use nest::{SubEnd, SubRun, SubRuns, WORKFLOW, WaitingStep};
pub use permits::Permits;
pub use progress::{Progress, Unit};
pub use registry::Registry;
pub use replica::{Replica, TakenOver};
pub use request::{Ask, Refusal, Request, TakenBy};
