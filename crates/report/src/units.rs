//! Durations, counts and sizes as people read them.

use std::time::Duration;

use bytesize::ByteSize;
use rekindle_model::shown::line;

/// Returns a duration with two units at most: `830 ms`, `12.4 s`, `3m 20s`, `2h 05m`, `3d 4h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", (duration.as_secs_f64() * 10.0).floor() / 10.0),
        60..3600 if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ if seconds % 86_400 < 3600 => format!("{}d", seconds / 86_400),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Returns a number with its noun, which takes an `s` for more than one: `1 step`, `3 steps`.
pub fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// Returns a number of entries.
pub(crate) fn entries(n: u64) -> String {
    match n {
        1 => "1 entry".to_owned(),
        n => format!("{n} entries"),
    }
}

/// Returns the names that a report has, each on one line, and how many more there are.
pub(crate) fn named<S: AsRef<str>>(names: &[S], count: u64) -> String {
    let more = match count.saturating_sub(names.len() as u64) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names: Vec<_> = names.iter().map(|name| line(name.as_ref())).collect();
    format!("{}{more}", names.join(", "))
}

/// Returns bytes in decimal units, as disks are sold.
pub fn bytes(bytes: u64) -> String {
    ByteSize(bytes).display().si().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_at_most_two_units_and_none_of_nothing() {
        for (seconds, shown) in [
            (1.25, "1.2 s"),
            (900.0, "15m"),
            (3_661.0, "1h 01m"),
            (86_400.0, "1d"),
            (31_536_000.0, "365d"),
            (90_000.0, "1d 1h"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), shown);
        }
    }
}
