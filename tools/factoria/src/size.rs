//! Sizes as people write them: `5MB`, `1.5 GiB`, `700000`.

use bytesize::ByteSize;

/// A text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a size such as 5MB, 1.5GiB or 700000, found {0:?}")]
pub struct BadSize(String);

/// Parses a size in bytes. Units are those of [`ByteSize`]: KB, MB … are powers of 1000, KiB, MiB … of 1024, in any
/// case, with or without the B; no unit means bytes.
pub fn parse(text: &str) -> Result<u64, BadSize> {
    match text.trim().parse::<ByteSize>() {
        // A size that is too large for its type is read as the largest.
        Ok(size) if size < ByteSize(u64::MAX) => Ok(size.as_u64()),
        _ => Err(BadSize(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("700000", Some(700_000)),
            ("5MB", Some(5_000_000)),
            ("5 mb", Some(5_000_000)),
            ("1.5GiB", Some(1_610_612_736)),
            (".5k", Some(500)),
            ("2g", Some(2_000_000_000)),
            ("", None),
            ("MB", None),
            ("5 parsecs", None),
            ("-5MB", None),
            ("1.2.3", None),
            ("99999999999999999999GB", None),
        ] {
            assert_eq!(parse(text).ok(), bytes, "{text:?}");
        }
    }
}
