//! Sizes as people write them: `5MB`, `1.5 GiB`, `700000`.

/// A text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a size such as 5MB, 1.5GiB or 700000, found {0:?}")]
pub struct BadSize(String);

/// Parses a size in bytes. Units are KB, MB, GB (powers of 1000) and KiB, MiB, GiB (powers of 1024), in any
/// case, with or without the B; no unit means bytes.
pub fn parse(text: &str) -> Result<u64, BadSize> {
    let bad = || BadSize(text.to_owned());
    let trimmed = text.trim();
    let end = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        _ => return Err(bad()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(bad);
    }
    let (whole, fraction) = number.split_once('.').ok_or_else(bad)?;
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| bad())?
    };
    // Nine digits of a fraction are finer than a byte of a gigabyte; more would overflow the scale.
    if fraction.is_empty() || fraction.len() > 9 {
        return Err(bad());
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(9));
    let fraction: u128 = fraction.parse().map_err(|_| bad())?;
    let bytes = u128::from(whole) * u128::from(factor) + fraction * u128::from(factor) / scale;
    u64::try_from(bytes).map_err(|_| bad())
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
