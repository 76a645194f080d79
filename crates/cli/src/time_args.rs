//! Instants on the command line: a date with a time of this machine's zone, RFC 3339 with an offset, or relative as in
//! `2h ago`.

use chrono::{DateTime, Local, NaiveDateTime, TimeZone, Utc};

use rekindle_workspace::Error;
use rekindle_workspace::tiers::{Tiers, Wanted};

use crate::App;

/// How people write a time without an offset.
const LOCAL: [&str; 4] = [
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M",
];

/// Reads an instant. A time without an offset is of this machine's zone; [`said`] says that back.
pub(crate) fn parse(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, Error> {
    read(text, now, &Local)
}

/// Reads an instant, and says how it was understood if its text does not name a zone.
pub(crate) fn instant(app: &App, text: &str) -> Result<DateTime<Utc>, Error> {
    let instant = parse(text, app.application.clock.now().utc)?;
    if let Some(said) = said(text, instant) {
        app.printer.say(said);
    }
    Ok(instant)
}

/// Returns an instant as it was understood, with the zone, if its text did not say the zone.
fn said(text: &str, instant: DateTime<Utc>) -> Option<String> {
    let local = naive(text.trim()).is_some();
    let instant = instant.with_timezone(&Local);
    local.then(|| {
        format!(
            "{text:?} is taken for {}",
            instant.format("%Y-%m-%d %H:%M:%S %:z")
        )
    })
}

fn read<Z: TimeZone>(text: &str, now: DateTime<Utc>, zone: &Z) -> Result<DateTime<Utc>, Error> {
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    if let Some(period) = text.strip_suffix("ago") {
        return ago(period, now).ok_or_else(|| bad(text));
    }
    if let Some(time) = naive(text) {
        // A time that was skipped or came twice, as clocks were put forward or back, does not name an instant.
        return match zone.from_local_datetime(&time).single() {
            Some(instant) => Ok(instant.to_utc()),
            None => Err(
                Error::usage(format!("{text:?} came twice or never, since clocks were changed"))
                    .with_advice("write it with its offset: 2026-10-25T02:30:00+02:00"),
            ),
        };
    }
    DateTime::parse_from_rfc3339(text)
        .map(|instant| instant.to_utc())
        .map_err(|_| bad(text))
}

fn naive(text: &str) -> Option<NaiveDateTime> {
    LOCAL
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
}

/// Reads a snapshot as a person names it: the beginning or end of its id, `COMPONENT` or `COMPONENT@TIME`.
pub(crate) fn snapshot(app: &App, tiers: &Tiers, word: &str) -> Result<Wanted, Error> {
    let component = |name: &str, at| Wanted::Component {
        name: name.to_owned(),
        at,
    };
    match word.rsplit_once('@') {
        Some((name, "latest")) => Ok(component(name, None)),
        Some((name, at)) => Ok(component(name, Some(instant(app, at)?))),
        None if tiers.system.component(word).is_some() => Ok(component(word, None)),
        None => Ok(Wanted::Id(word.to_owned())),
    }
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
    Error::usage(format!("{text:?} is not an instant")).with_advice(
        "write it as 2026-11-23 10:00:00, with an offset as 2026-11-23T10:00:00+01:00, or as \"2h ago\"",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_of_the_local_zone_has_an_offset_or_is_relative() {
        let zone = chrono::FixedOffset::east_opt(3600).unwrap();
        let now = parse("2026-11-23T10:00:00Z", DateTime::UNIX_EPOCH).unwrap();
        for (text, expect) in [
            ("2026-11-23 10:00:00", Some("2026-11-23T09:00:00Z")),
            ("2026-11-23 10:00", Some("2026-11-23T09:00:00Z")),
            ("2026-11-23T10:00:00", Some("2026-11-23T09:00:00Z")),
            ("2026-11-23T10:00:00+01:00", Some("2026-11-23T09:00:00Z")),
            ("2h ago", Some("2026-11-23T08:00:00Z")),
            ("1d 30m ago", Some("2026-11-22T09:30:00Z")),
            ("now", Some("2026-11-23T10:00:00Z")),
            ("2026-11-23", None),
            ("yesterday", None),
            ("900000000000y ago", None),
        ] {
            assert_eq!(
                read(text, now, &zone)
                    .ok()
                    .map(rekindle_model::time::show)
                    .as_deref(),
                expect,
                "{text}"
            );
        }
        assert!(said("2026-11-23 10:00", now).is_some_and(|said| said.contains("2026-11-23 1")));
        assert_eq!(said("2h ago", now), None);
        assert_eq!(
            rekindle_model::time::show(since("7d", now).unwrap()),
            "2026-11-16T10:00:00Z"
        );
    }
}
