//! Instants on the command line: RFC 3339 with an offset, or relative as in `2h ago`.

use chrono::{DateTime, Utc};

use rekindle_workspace::Error;

/// Reads an instant. Refuses a time without an offset, since it would be unclear whose clock it is.
pub(crate) fn parse(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, Error> {
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    if let Some(period) = text.strip_suffix("ago") {
        return ago(period, now).ok_or_else(|| bad(text));
    }
    DateTime::parse_from_rfc3339(text)
        .map(|instant| instant.to_utc())
        .map_err(|_| bad(text))
}

/// Reads a period such as `7d` and returns the instant that long before `now`.
pub(crate) fn since(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, Error> {
    match ago(text, now) {
        Some(instant) => Ok(instant),
        None => parse(text, now),
    }
}

fn ago(period: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let period = humantime::parse_duration(period.trim()).ok()?;
    now.checked_sub_signed(chrono::Duration::from_std(period).ok()?)
}

fn bad(text: &str) -> Error {
    Error::usage(format!("{text:?} is not an instant"))
        .with_advice("write it with its offset (2026-11-23T10:00:00Z, 2026-11-23T10:00:00+01:00), or relative (\"2h ago\")")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_needs_an_offset_or_is_relative() {
        let now = parse("2026-11-23T10:00:00Z", DateTime::UNIX_EPOCH).unwrap();
        for (text, expect) in [
            ("2026-11-23T10:00:00+01:00", Some("2026-11-23T09:00:00Z")),
            ("2h ago", Some("2026-11-23T08:00:00Z")),
            ("1d 30m ago", Some("2026-11-22T09:30:00Z")),
            ("now", Some("2026-11-23T10:00:00Z")),
            ("2026-11-23T10:00:00", None),
            ("yesterday", None),
            ("900000000000y ago", None),
        ] {
            assert_eq!(
                parse(text, now).ok().map(rekindle_model::time::show).as_deref(),
                expect,
                "{text}"
            );
        }
        assert_eq!(
            rekindle_model::time::show(since("7d", now).unwrap()),
            "2026-11-16T10:00:00Z"
        );
    }
}
