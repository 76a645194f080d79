//! How a recovery at work stands, as text.

use std::time::Duration;

use comfy_table::Cell;

use super::{bytes, duration, plain, printed, right};
use crate::burndown::{Burndown, BurndownRow, RestoreState};

/// How many characters a bar takes.
const BAR: u32 = 20;

/// Returns the time that is used of each RTO, and when each component will be restored.
pub fn burndown(found: &Burndown) -> String {
    let elapsed = found.elapsed.unwrap_or_default();
    let mut table = plain();
    table.set_header([
        "component",
        "restored",
        "left",
        "forecast",
        "RTO",
        "█ used ▒ forecast",
    ]);
    for row in found.components.iter().chain([&found.whole]) {
        table.add_row([
            Cell::new(row.component.as_deref().unwrap_or("all")),
            Cell::new(match row.state {
                RestoreState::Waits => "waits",
                RestoreState::Runs => "at work",
                RestoreState::Restored => "yes",
                RestoreState::Failed => "no",
            }),
            right(bytes(row.bytes_left)),
            right(match (row.is_open(), row.forecast) {
                (false, _) => String::new(),
                (true, Some(forecast)) => duration(forecast),
                (true, None) => "no data".to_owned(),
            }),
            right(row.target.map_or_else(|| "none".to_owned(), duration)),
            Cell::new(bar(row, elapsed)),
        ]);
    }
    format!("{} after the disaster\n{}\n", duration(elapsed), printed(table))
}

/// Returns in one sentence how an RTO stands.
pub fn burndown_row(row: &BurndownRow, elapsed: Duration) -> String {
    let forecast = row.forecast.map_or_else(String::new, |forecast| {
        format!(", restored after about {}", duration(forecast))
    });
    let target = row.target.unwrap_or_default();
    format!("{} of {}{forecast}", duration(elapsed), duration(target))
}

fn bar(row: &BurndownRow, elapsed: Duration) -> String {
    let Some(target) = row.target.filter(|_| row.is_open()) else {
        return String::new();
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of the bar, which is short"
    )]
    let cells = |until: Duration| {
        let share = until.as_secs_f64() / target.as_secs_f64().max(f64::EPSILON);
        (f64::from(BAR) * share.min(1.0)).ceil() as usize
    };
    let used = cells(elapsed);
    let forecast = row.forecast.map_or(used, cells).max(used);
    let free = (BAR as usize).saturating_sub(forecast);
    format!(
        "{}{}{}",
        "█".repeat(used),
        "▒".repeat(forecast - used),
        "·".repeat(free)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_what_is_used_and_what_the_forecast_still_needs() {
        let row = |forecast: Option<u64>, target: u64| BurndownRow {
            component: None,
            state: RestoreState::Runs,
            bytes: 1,
            bytes_left: 1,
            forecast: forecast.map(Duration::from_secs),
            target: Some(Duration::from_secs(target)),
        };
        let elapsed = Duration::from_secs(25);
        assert_eq!(bar(&row(Some(50), 100), elapsed), "█████▒▒▒▒▒··········");
        assert_eq!(bar(&row(None, 100), elapsed), "█████···············");
        assert_eq!(bar(&row(Some(400), 50), elapsed), "██████████▒▒▒▒▒▒▒▒▒▒");
        assert_eq!(
            bar(&row(Some(400), 0), elapsed),
            "████████████████████",
            "no panic"
        );
    }
}
