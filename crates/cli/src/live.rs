//! What a run shows while it works: a bar per running step on a terminal, a line per transition otherwise,
//! JSON lines for programs. It listens; nothing waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rekindle_engine::{Progress, Unit};
use rekindle_model::event::{Event, Record};
use rekindle_model::id::{RunId, StepId};
use rekindle_report::text;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::printer::Printer;

/// How often a bar that has nothing new to say still turns, so that a person sees that it lives.
const TICK: Duration = Duration::from_millis(120);

/// A running display.
pub struct Live {
    done: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Live {
    /// Begins to show what happens to one run.
    pub fn begin(
        printer: Printer,
        run: RunId,
        records: Receiver<Arc<Record>>,
        progress: Receiver<Progress>,
    ) -> Self {
        let done = CancellationToken::new();
        let task = tokio::spawn(show(Display::new(printer), run, records, progress, done.clone()));
        Self { done, task }
    }

    /// Shows what has arrived until now and ends.
    pub async fn end(self) {
        self.done.cancel();
        // A display that broke has taken nothing with it.
        let _ = self.task.await;
    }
}

async fn show(
    mut display: Display,
    run: RunId,
    mut records: Receiver<Arc<Record>>,
    mut progress: Receiver<Progress>,
    done: CancellationToken,
) {
    let mut measuring = true;
    loop {
        tokio::select! {
            biased;
            record = records.recv() => match record {
                Ok(record) if record.run == run => display.happened(&record.event),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            },
            told = progress.recv(), if measuring => match told {
                Ok(told) if told.run == run => display.progressed(&told),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => measuring = false,
            },
            () = done.cancelled() => break,
        }
    }
    display.clear();
}

struct Display {
    printer: Printer,
    bars: MultiProgress,
    running: HashMap<StepId, ProgressBar>,
}

impl Display {
    fn new(printer: Printer) -> Self {
        Self {
            printer,
            bars: MultiProgress::new(),
            running: HashMap::new(),
        }
    }

    fn happened(&mut self, event: &Event) {
        if let (true, Some(step)) = (self.printer.is_json(), event.step()) {
            if !matches!(event, Event::StepCheckpoint { .. }) {
                self.printer
                    .note("step", &json!({ "step": step, "event": event.name() }));
            }
            return;
        }
        match event {
            Event::StepStarted { step, attempt } => self.started(step, *attempt),
            Event::StepReconciled { step, verdict, .. } => {
                let verdict = match verdict {
                    rekindle_model::event::Verdict::Adopt => "its work is whole, adopted",
                    rekindle_model::event::Verdict::Continue => "continues from what is there",
                    rekindle_model::event::Verdict::Redo => "starts afresh",
                };
                self.line(format!("{step}: was cut off; {verdict}"));
            }
            Event::StepSucceeded { step, measures, .. } => {
                self.ended(step);
                let written = measures
                    .get("bytes_written")
                    .or_else(|| measures.get("bytes_read"));
                let bytes = written
                    .filter(|bytes| **bytes >= 0.0)
                    .map(|bytes| format!(" ({})", text::bytes(*bytes as u64)));
                self.line(format!("{step}: done{}", bytes.unwrap_or_default()));
            }
            Event::StepFailed {
                step,
                error,
                retry_at,
                ..
            } => {
                self.ended(step);
                let again = if retry_at.is_some() {
                    "; will try again"
                } else {
                    ""
                };
                self.line(format!("{step}: failed: {error}{again}"));
            }
            Event::StepSkipped { step, .. } => self.line(format!("{step}: skipped")),
            Event::StepInvalidated { step, why } => self.line(format!("{step}: no longer holds: {why}")),
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
            Event::StepCheckpoint { .. }
            | Event::RunCreated { .. }
            | Event::RunAdopted { .. }
            | Event::RunReopened { .. }
            | Event::RunFinished { .. } => {}
        }
    }

    fn started(&mut self, step: &StepId, attempt: u32) {
        if !self.printer.live() {
            return;
        }
        let bar = self.bars.add(ProgressBar::new_spinner().with_style(spinner()));
        let again = if attempt > 1 {
            format!(" (attempt {attempt})")
        } else {
            String::new()
        };
        bar.set_prefix(format!("{step}{again}"));
        bar.enable_steady_tick(TICK);
        self.running.insert(step.clone(), bar);
    }

    fn progressed(&mut self, told: &Progress) {
        let unit = match told.unit {
            Unit::Bytes => "bytes",
            Unit::Items => "items",
        };
        if self.printer.is_json() {
            let body = json!({ "step": told.step, "done": told.done, "total": told.total, "unit": unit });
            self.printer.note("progress", &body);
            return;
        }
        let Some(bar) = self.running.get(&told.step) else {
            return;
        };
        if let Some(total) = told.total
            && bar.length() != Some(total)
        {
            bar.set_length(total);
            bar.set_style(filling(matches!(told.unit, Unit::Bytes)));
        }
        bar.set_position(told.done);
    }

    fn ended(&mut self, step: &StepId) {
        if let Some(bar) = self.running.remove(step) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    fn line(&self, line: String) {
        if self.printer.live() {
            // Above the bars; without bars it is an ordinary line.
            let _ = self.bars.println(line);
        } else {
            self.printer.say(line);
        }
    }

    fn clear(&mut self) {
        self.running.drain().for_each(|(_, bar)| bar.finish_and_clear());
        let _ = self.bars.clear();
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn filling(bytes: bool) -> ProgressStyle {
    let template = if bytes {
        "{spinner} {prefix:<34} {bar:24} {decimal_bytes:>9}/{decimal_total_bytes:<9} {decimal_bytes_per_sec}"
    } else {
        "{spinner} {prefix:<34} {bar:24} {pos:>9}/{len:<9}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
