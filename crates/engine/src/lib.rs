//! The engine decides what happens next in a run, journals it, and then does it.
//!
//! It decides with a pure machine (a run's history and something that happened → effects, which are data) and does
//! with tokio. An [`Action`] is what a step does; a [`Registry`] knows the actions by name; an [`Engine`] creates
//! runs, takes over those that another process left, and drives them.
//!
//! # The life of a step
//!
//! 1. **Pending.** A step waits until all that it needs has ended. Then its `run_if` says whether it runs
//!    (`success`: all of them succeeded; `failure`: one failed, or was skipped because one did; `always`; an
//!    expression). One that does not is journaled as skipped, with the reason.
//! 2. **Started.** Among the steps that could start, those with the lowest priority number go first, as far as the
//!    plan's `max_parallel` and the process's permits ([`Permits`]: the next one goes to the most urgent step of all runs)
//!    allow, one of each `concurrency` group ([`Groups`]) at a time. `StepStarted` is durable before the action is
//!    called, and stands in the same append as the outcome that unlocked it. Its `with` is rendered first; an expression that
//!    fails is the failure of that attempt (`expression`), and the action is never called.
//! 3. **At work.** The action has a [`StepContext`]: parameters, the outputs of what has ended, a `stop`. It may
//!    record checkpoints; a checkpoint is durable when [`StepContext::checkpoint`] returns.
//! 4. **Ended.** A success is journaled together with the starts that it unlocks, and never runs again. A failure is
//!    journaled with `retry_at` where the retry policy grants another attempt (retryable, its code not excluded,
//!    attempts left); the next attempt gets the last checkpoint. A panic is the failure `internal`; an attempt that
//!    takes longer than its `timeout` is told to end, and is the failure `timeout`; one that neither tells how far it is
//!    nor records anything for its `stall_timeout` is the failure `stalled`. All attempts of a step together have its
//!    `deadline`, the run its own; both count from what is journaled, so that no resume begins them anew.
//! 5. **Cut off.** A kill, a power cut or a graceful stop leaves a step started without an outcome. That uses up no
//!    attempt. When the run is adopted and driven again, the programs that the attempt had started are seen to be
//!    gone, and then the step is *reconciled* before anything else happens to it:
//!    the action looks at the world, and its verdict is journaled with its evidence: adopt (it succeeded after all),
//!    continue (a new attempt from the checkpoint) or redo (a new attempt from nothing).
//! 6. **Invalidated.** When a run is driven again, every succeeded step that unfinished ones rest on, at whatever
//!    distance, is *rechecked* first. One whose artefact is gone is invalidated with the reason, and so is everything
//!    final that came after it; they run again, and nothing else does.
//!
//! Where the workflow names a `concurrency` group, one of its runs is at work at a time: the others wait before they
//! begin or go on, the oldest is next, and a run gives its turn back when it is over or no longer driven. What a step
//! of a run runs has that run's turn. A wait is journaled (`turn_awaited`, `turn_taken`). The run's deadline counts
//! from its first turn, whatever it waits for a later one after a crash.
//! Where runs wait for each other (each has a turn, and a step whose run wants the other's), the youngest of those that
//! wait gives up its turn: that is journaled with who waits for whom (`deadlocked`), nothing of it starts, and it has
//! failed, so that the others go on.
//!
//! A run is over when all steps have ended: succeeded when none failed; partial when some did, but all steps of some
//! component (`each["component"]`) came through; failed; or cancelled.
//!
//! # Taking back
//!
//! Where nothing came of a run (it failed, or was cancelled), every step with a `compensate` that was started since it
//! was undone last is undone once all steps have ended: one at a time, those that started last first, each by its
//! step's retry policy, and again from its beginning where it was cut off. One that fails for good is *stuck*, and so is
//! the run; those before it follow when a person has had it tried again. A run that goes forward again runs anew what
//! was undone.
//!
//! # Runs of runs
//!
//! A step that `uses:` [`WORKFLOW`] runs another workflow as a run of its own, under an id that it has recorded before
//! that run exists. Whoever drives the step's run drives that run too ([`SubRuns`]), stops it with it and cancels it
//! with it; when it is interrupted, so is the run around it, and both are resumed together. Such a step takes no permit.
//!
//! # Copies elsewhere
//!
//! Where copies of a run's journal are kept ([`Replica`]), its creation and its adoption are in them before anything
//! acts, the rest follows a little later, and an action can wait for it ([`StepContext::barrier`]). No attempt begins
//! unless it was seen within a second that nobody else goes on with the run; once somebody does, everything is dropped
//! at once and nothing more is appended ([`EngineError::TakenOver`]).
//!
//! # Ending early
//!
//! [`Control::stop`] asks what is at work to end: attempts record a checkpoint and return [`INTERRUPTED`], which is
//! not journaled, so that they count as cut off. [`Ask::Cancel`] asks the same, journals the attempts as failed
//! (`cancelled`), skips the rest and finishes the run. An action that does not end within a grace period is dropped.
//! When the journal refuses an append, everything is dropped at once.
//!
//! # What a person may ask
//!
//! [`Engine::request`] journals what a person asks of a run before it has effect, whether this engine drives the run
//! or nobody does; in the latter case the rest follows when it is adopted and driven again. A request that does not
//! fit is refused with what to do instead ([`Refusal`]).
//!
//! - **Pause.** Nothing starts any more, no retry and no reconciliation either; what is at work goes on to its end.
//!   A paused run that is driven waits, and is not even over when all its steps have ended. Timeouts go on.
//! - **Approve, reject.** A step that `uses:` [`APPROVE`] asks a person. It is no task and takes no permit; a crash
//!   changes nothing for it, and its timeout counts from the question.
//! - **Retry.** A step that has ended runs again with everything that came after it; one that was skipped because
//!   another failed takes that one with it. A step that waits for its next attempt begins it. Either way its failures and
//!   its deadline count anew.
//! - **Skip.** A step is left out for a reason, and what needs it goes on. A run with such a step is done in part.
//!
//! Retry and skip also open a run that is over; it is then adopted and driven like one that was interrupted.

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

pub use action::{Action, Output, Reconciled};
pub use approve::APPROVE;
pub use context::{EndedSteps, INTERRUPTED, STALE, StepContext, StepView};
pub use control::{Control, Ended};
pub use engine::{Engine, NewRun};
pub use error::EngineError;
pub use groups::Groups;
pub use nest::{SubEnd, SubRun, SubRuns, WORKFLOW};
pub use permits::Permits;
pub use progress::{Progress, Unit};
pub use registry::Registry;
pub use replica::{Replica, TakenOver};
pub use request::{Ask, Refusal, Request, TakenBy};
