//! Sizes as the owner writes them: `500MB`, `4GB`. Pure.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Deserializer;
use serde::de;

use crate::config::duration::TextOrNumber;

/// The units, largest first, each a thousand of the next: what sellers of cards and Docker itself mean by them.
const UNITS: [(&str, u64); 4] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];

/// A number of bytes, written as a whole number with a unit: `500MB`, `4GB`, `0kB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String", extend("pattern" = "^\\d+(k|M|G|T)B$"))]
pub struct Size(u64);

impl Size {
    /// So many megabytes.
    pub const fn from_megabytes(megabytes: u64) -> Self {
        Self(megabytes * 1_000_000)
    }

    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = String;

    /// Refuses numbers without a unit, fractions, unknown units, and more bytes than can be counted.
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("`{text}` has no unit: write `{text}MB` or `{text}GB`"));
        }
        let parsed = UNITS.iter().find_map(|(unit, worth)| {
            let number = text.strip_suffix(unit).filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?;
            number.parse::<u64>().ok()?.checked_mul(*worth)
        });
        parsed.map(Self).ok_or_else(|| {
            format!(
                "`{text}` is not a size: write a whole number with `kB`, `MB`, `GB` or `TB`, such as `500MB`"
            )
        })
    }
}

impl fmt::Display for Size {
    /// In the largest unit of which there is one at least, with one decimal if that says more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.into_iter().find(|(_, worth)| self.0 >= *worth);
        match unit {
            Some((unit, worth)) if self.0 % worth < worth / 10 => write!(f, "{} {unit}", self.0 / worth),
            Some((unit, worth)) => write!(f, "{}.{} {unit}", self.0 / worth, self.0 % worth / (worth / 10)),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(TextOrNumber("a size such as `500MB`"))?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::Size;

    #[test]
    fn whole_numbers_with_a_unit_are_sizes() {
        let bytes = |text: &str| text.parse::<Size>().map(Size::bytes);
        assert_eq!(bytes("500MB"), Ok(500_000_000));
        assert_eq!(bytes("4GB"), Ok(4_000_000_000));
        assert_eq!(bytes("0kB"), Ok(0));
        assert_eq!(bytes("500").unwrap_err(), "`500` has no unit: write `500MB` or `500GB`");
        for text in ["", "MB", "1.5GB", "-1GB", "+1GB", "5 GB", "5gb", "5GiB", "99999999999TB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn they_are_printed_as_people_say_them() {
        let said = |bytes| Size::from_bytes(bytes).to_string();
        assert_eq!(said(999), "999 bytes");
        assert_eq!(said(4_000_000_000), "4 GB");
        assert_eq!(said(1_549_000_000), "1.5 GB");
        assert_eq!(said(12_345_678), "12.3 MB");
    }
}
