//! Durations in JSON are seconds with a fraction, so a script can sum them. None is `null`.

use std::time::Duration;

use serde::Serializer;

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
pub(crate) fn serialize<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0),
        None => serializer.serialize_none(),
    }
}
