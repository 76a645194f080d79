//! Notices of the damage that opening a journal has found: nothing is skipped silently.

use rekindle_journal_local::OpenReport;

use crate::Application;
use crate::error::QUARANTINED;
use crate::guards::partial_recovery;
use crate::layout::Layout;

/// Gives notice of the damage that opening has repaired, or could not repair: it skips nothing silently.
pub(super) fn notice_damage(app: &Application, layout: &Layout, report: &OpenReport) {
    damage(report).iter().for_each(|what| app.notices.warn(what));
    notice_quarantined(app, layout, report);
}

/// Returns the damage that opening has found.
pub(super) fn damage(report: &OpenReport) -> Vec<String> {
    tracing::debug!(?report, "journal opened");
    let mut found: Vec<String> = report
        .damage
        .iter()
        .map(|damage| {
            let place = format!("{} at byte {}", damage.segment.display(), damage.offset);
            format!("the journal's log is damaged: {place}: {}", damage.what)
        })
        .collect();
    if report.relogged > 0 {
        let relogged = "records that the journal's log had lost were taken from its index and logged again";
        found.push(format!("{} {relogged}", report.relogged));
    }
    let rebuilt = report.rebuilt.iter();
    found.extend(rebuilt.map(|why| format!("the journal's index was rebuilt from the log: {why}")));
    found
}

pub(super) fn notice_quarantined(app: &Application, layout: &Layout, report: &OpenReport) {
    for (run, why) in &report.quarantined {
        app.notices
            .warn(format!("run {run} is quarantined, the others go on: {why}"));
        if let Some(left) = partial_recovery::left(layout, *run) {
            app.notices.give(left);
        }
    }
    if !report.quarantined.is_empty() {
        app.notices.warn(QUARANTINED);
    }
}
