//! The display of a run at work: on a terminal a bar for each running step and one for the whole run, else a line for each
//! transition, and JSON lines for programs. The run never waits for its display.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::DateTime;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rekindle_model::event::{Event, Payload, Record};
use rekindle_model::id::StepId;
use rekindle_model::next_action::NextAction;
use rekindle_model::origin::RunKind;
use rekindle_model::run::Deadlock;
use rekindle_report::burndown::{Burndown, BurndownRow};
use rekindle_report::recovery::AtRisk;
use rekindle_report::text;
use rekindle_server::RunUpdate;
use serde_json::json;

use crate::printer::Printer;

/// How often a bar without news still locks, so that a person sees that it lives.
const TICK: Duration = Duration::from_millis(120);

/// How finely the bar of the whole run shows a step that is half done.
const PARTS: u64 = 1000;

/// How far a run was when its display began.
#[derive(Debug, Default)]
pub struct Whole {
    /// How many steps it has; 0 if that is not known.
    pub steps: usize,
    /// Those that were over.
    pub ended: HashSet<StepId>,
    /// Whether its result lists every step. Then a step that succeeds is not told before.
    pub lists_steps: bool,
    /// Whether its RTOs count down.
    pub burns_down: bool,
}

/// A display of one run.
pub struct Live {
    printer: Printer,
    bars: MultiProgress,
    running: HashMap<StepId, ProgressBar>,
    whole: Whole,
    /// The bar of the whole run, while any step is at work.
    overall: Option<ProgressBar>,
    /// The RTOs of a recovery that count down: the tightest one, and that of the whole.
    objectives: Vec<ProgressBar>,
    /// How many bytes each step has dealt with, as far as it told.
    bytes: HashMap<StepId, u64>,
    /// Never shown: it knows the rate of late.
    rate: ProgressBar,
}

impl Live {
    /// Returns a display on which nothing has happened yet.
    pub fn new(printer: Printer, whole: Whole) -> Self {
        Self {
            printer,
            bars: MultiProgress::new(),
            running: HashMap::new(),
            whole,
            overall: None,
            objectives: Vec::new(),
            bytes: HashMap::new(),
            rate: ProgressBar::hidden(),
        }
    }

    /// Shows what happens now.
    pub fn show(&mut self, update: &RunUpdate) {
        match update {
            RunUpdate::Record(record) => self.happened(&record.event),
            RunUpdate::Below { path, record } => self.happened_below(path, record),
            RunUpdate::Progress {
                step,
                done,
                total,
                bytes,
            } => self.progressed(step, *done, *total, *bytes),
            RunUpdate::Ended(_) => self.clear(),
        }
    }

    fn happened(&mut self, event: &Event) {
        if let Event::StepCheckpoint {
            progress: Payload::Inline(progress),
            ..
        } = event
        {
            // Live output shows no time, so the time of the record is not needed.
            for warning in AtRisk::of(DateTime::UNIX_EPOCH, progress) {
                let sentence = warning.sentence();
                if !self.printer.has_told(&sentence) {
                    self.printer.warn(sentence.clone());
                    self.printer.tells(sentence);
                }
            }
        }
        if let (true, Some(step)) = (self.printer.is_json(), event.step()) {
            let mut body = json!({ "step": step, "event": event.name() });
            // Programs get the reason too.
            if let Event::StepFailed { error, .. }
            | Event::UndoFailed { error, .. }
            | Event::UndoStuck { error, .. } = event
            {
                body["error"] = json!({ "code": error.code, "message": error.message, "next": error.next });
            }
            if !matches!(event, Event::StepCheckpoint { .. }) {
                self.printer.note("step", &body);
            }
            return;
        }
        match event {
            Event::StepStarted { step, attempt } => self.started(step, *attempt),
            Event::StepReconciled { step, verdict, .. } => {
                let verdict = match verdict {
                    rekindle_model::event::Verdict::Complete => "its work is complete",
                    rekindle_model::event::Verdict::Continue => "continues from what is there",
                    rekindle_model::event::Verdict::Redo => "starts afresh",
                };
                self.line(format!("{step}: was cut off; {verdict}"));
            }
            Event::StepSucceeded { step, measures, .. } => {
                self.over(step);
                let dealt_with = ["bytes_written", "bytes", "bytes_read"];
                // What a validation measures is not what it wrote.
                let judges = ["validate", "prove"].contains(&step.template());
                let written = dealt_with.iter().find_map(|name| measures.get(*name));
                let bytes = written
                    .filter(|bytes| **bytes >= 0.0 && !judges)
                    .map(|bytes| format!(" ({})", text::bytes(*bytes as u64)));
                if !self.whole.lists_steps {
                    self.line(format!("{step}: done{}", bytes.unwrap_or_default()));
                }
            }
            Event::StepFailed {
                step,
                error,
                retry_at,
                ..
            } => {
                match retry_at {
                    Some(_) => self.ended(step),
                    None => self.over(step),
                }
                let again = if retry_at.is_some() {
                    "; will try again"
                } else {
                    ""
                };
                let next: Vec<NextAction> = error.next.iter().cloned().map(NextAction::from).collect();
                let advice = match next.as_slice() {
                    [] => String::new(),
                    next => format!(": {}", self.printer.advice(next)),
                };
                // A tier that is lost fails every step there, and each attempt. It says so once.
                let quiet = self.printer.is_quiet();
                if quiet && retry_at.is_some() {
                    return;
                }
                let reason = error.to_string();
                match (self.printer.has_told(&reason), quiet) {
                    (false, true) => self.printer.warn(format!("{step}: failed: {reason}{advice}")),
                    (false, false) => self.line(format!("{step}: failed: {reason}{advice}{again}")),
                    (true, true) => {}
                    (true, false) => self.line(format!("{step}: failed for the same reason{again}")),
                }
                self.printer.tells(reason);
            }
            Event::UndoStarted { step, attempt } => {
                self.started(step, *attempt);
                self.line(format!("{step}: is being undone"));
            }
            Event::UndoSucceeded { step, .. } => {
                self.ended(step);
                self.line(format!("{step}: undone"));
            }
            Event::UndoFailed { step, error, .. } => {
                self.ended(step);
                self.line(format!("{step}: could not be undone: {error}; will try again"));
            }
            Event::UndoStuck { step, error, .. } => {
                self.ended(step);
                self.line(format!(
                    "{step}: could not be undone: {error}; a person must see to it"
                ));
            }
            Event::StepSkipped { step, .. } => {
                self.over(step);
                self.line(format!("{step}: skipped"));
            }
            Event::StepInvalidated { step, why } => {
                self.whole.ended.remove(step);
                self.line(format!("{step}: no longer holds: {why}"));
            }
            Event::ApprovalRequested { step, prompt, .. } => {
                self.ended(step);
                self.line(format!("{step}: waits for approval: {prompt}"));
            }
            Event::Approved { step, by, .. } => self.line(format!("{step}: approved by {by}")),
            Event::Rejected { step, by, .. } => self.line(format!("{step}: rejected by {by}")),
            Event::RetryRequested { step, by, .. } => {
                self.line(format!("{step}: {by} asked for it to run again"))
            }
            Event::PauseRequested { by, .. } => self.line(format!("paused by {by}; nothing more starts")),
            Event::RunUnpaused { by, .. } => self.line(format!("{by} lets it go on")),
            Event::CancelRequested { by, .. } => self.line(format!("cancelled by {by}")),
            Event::GroupLockAwaited { group, holder } => self.line(format!(
                "waits for its group lock: one run of {group} at a time, and run {holder} is before it"
            )),
            Event::GroupLockTaken { .. } => self.line("has its group lock".to_owned()),
            Event::Deadlocked { group, cycle } => self.line(format!(
                "gives up the lock of group {group}: {}",
                Deadlock::describe(cycle)
            )),
            Event::DeadlinePassed => self.line("the run's deadline has passed".to_owned()),
            Event::RunCreated { kind, .. } => self.whole.lists_steps = *kind == Some(RunKind::Verify),
            Event::StepCheckpoint { .. }
            | Event::ChildStarted { .. }
            | Event::RunAdopted { .. }
            | Event::RunReopened { .. }
            | Event::RunFinished { .. } => {}
        }
    }

    /// Shows a question or a pause of a run that a step of this run waits for.
    fn happened_below(&mut self, path: &str, record: &Record) {
        if self.printer.is_json() {
            let step = record.event.step().map(|step| format!("{path}/{step}"));
            let body = json!({ "step": step.as_deref().unwrap_or(path), "event": record.event.name(), "run": record.run });
            return self.printer.note("step", &body);
        }
        let line = match &record.event {
            Event::ApprovalRequested { step, prompt, .. } => {
                format!("{path}/{step}: waits for approval: {prompt}")
            }
            Event::Approved { step, by, .. } => format!("{path}/{step}: approved by {by}"),
            Event::Rejected { step, by, .. } => format!("{path}/{step}: rejected by {by}"),
            Event::PauseRequested { by, .. } => format!("{path}: paused by {by}; nothing more starts"),
            Event::RunUnpaused { by, .. } => format!("{path}: {by} lets it go on"),
            _ => return,
        };
        self.line(line);
    }

    fn started(&mut self, step: &StepId, attempt: u32) {
        self.whole.ended.remove(step);
        if !self.printer.live() {
            return;
        }
        let bar = ProgressBar::new_spinner().with_style(spinner());
        let bar = match &self.overall {
            Some(overall) => self.bars.insert_before(overall, bar),
            None => self.bars.add(bar),
        };
        let again = if attempt > 1 {
            format!(" (attempt {attempt})")
        } else {
            String::new()
        };
        bar.set_prefix(self.printer.narration(&format!("{step}{again}")));
        bar.enable_steady_tick(TICK);
        self.running.insert(step.clone(), bar);
        self.show_whole();
    }

    /// Shows how far the whole run is, below all steps. The time that is left follows from the share that is done, where
    /// each step counts the same: it is rough.
    fn show_whole(&mut self) {
        if self.whole.steps == 0 {
            return;
        }
        let share = |bar: &ProgressBar| match bar.length() {
            Some(length) if length > 0 => (PARTS * bar.position() / length).min(PARTS),
            _ => 0,
        };
        let ended = self.whole.ended.len() as u64;
        let done = PARTS * ended + self.running.values().map(share).sum::<u64>();
        let bytes: u64 = self.bytes.values().sum();
        self.rate.set_position(bytes);
        let overall = self.overall.get_or_insert_with(|| {
            let bar = ProgressBar::new(PARTS * self.whole.steps as u64).with_style(overall());
            let bar = self.bars.add(bar);
            bar.set_position(done);
            bar.reset_eta();
            bar.enable_steady_tick(TICK);
            bar
        });
        overall.set_prefix(format!("{ended} of {} steps", self.whole.steps));
        let rate = self.rate.per_sec();
        let rate = if rate.is_finite() { rate as u64 } else { 0 };
        overall.set_message(format!("{}, {}/s", text::bytes(bytes), text::bytes(rate)));
        overall.set_position(done);
    }

    /// Shows how a recovery stands against its RTOs, below all else.
    pub fn burn_down(&mut self, found: &Burndown) {
        let elapsed = found.elapsed.unwrap_or_default();
        let whole = Some(&found.whole).filter(|row| row.is_open() && row.target.is_some());
        let rows: Vec<&BurndownRow> = found.tightest().into_iter().chain(whole).collect();
        while self.objectives.len() > rows.len() {
            self.objectives.pop().inspect(ProgressBar::finish_and_clear);
        }
        while self.objectives.len() < rows.len() {
            let bar = ProgressBar::new(0).with_style(objective());
            self.objectives.push(self.bars.add(bar));
        }
        for (bar, row) in self.objectives.iter().zip(rows) {
            let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            bar.set_length(millis(row.target.unwrap_or_default()));
            bar.set_position(millis(elapsed));
            let who = row.component.as_deref().unwrap_or("all");
            bar.set_prefix(self.printer.narration(&format!("RTO of {who}")));
            bar.set_message(text::burndown_row(row, elapsed));
        }
    }

    fn progressed(&mut self, step: &StepId, done: u64, total: Option<u64>, bytes: bool) {
        if self.printer.is_json() {
            let unit = if bytes { "bytes" } else { "items" };
            let body = json!({ "step": step, "done": done, "total": total, "unit": unit });
            self.printer.note("progress", &body);
            return;
        }
        let Some(bar) = self.running.get(step) else {
            return;
        };
        match total {
            Some(total) if bar.length() != Some(total) => {
                bar.set_length(total);
                bar.set_style(filling(bytes));
            }
            None if bytes && bar.position() == 0 => bar.set_style(counting()),
            _ => {}
        }
        bar.set_position(done);
        if bytes {
            self.bytes.insert(step.clone(), done);
        }
        self.show_whole();
    }

    /// Takes the bar of a step away.
    fn ended(&mut self, step: &StepId) {
        if let Some(bar) = self.running.remove(step) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        self.show_whole();
    }

    /// Takes the bar of a step away that is over.
    fn over(&mut self, step: &StepId) {
        self.whole.ended.insert(step.clone());
        self.ended(step);
    }

    fn line(&self, line: String) {
        if self.printer.live() {
            // If there are bars, this is above them; else it is an ordinary line.
            let _ = self.bars.println(self.printer.narration(&line));
        } else {
            self.printer.say(line);
        }
    }

    /// Removes the bars; the printed lines stay.
    pub fn clear(&mut self) {
        let overall = self.overall.take();
        let bars = self.running.drain().map(|(_, bar)| bar).chain(overall);
        let bars = bars.chain(self.objectives.drain(..));
        bars.for_each(|bar| bar.finish_and_clear());
        let _ = self.bars.clear();
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

// The lines below have room in 80 columns: the bar takes what is left.

/// A step that does not know how much there is.
fn counting() -> ProgressStyle {
    let template = "{spinner} {prefix:36!} {decimal_bytes:>9}  {decimal_bytes_per_sec}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn filling(bytes: bool) -> ProgressStyle {
    let template = if bytes {
        "{spinner} {prefix:36!} {wide_bar} {decimal_bytes:>9}/{decimal_total_bytes:<9} {decimal_bytes_per_sec:>11}"
    } else {
        "{spinner} {prefix:36!} {wide_bar} {pos:>9}/{len:<9}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The time that is used of an RTO.
fn objective() -> ProgressStyle {
    let template = "  {prefix} {wide_bar} {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn overall() -> ProgressStyle {
    let template = "  {prefix} {wide_bar} {msg}, about {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
