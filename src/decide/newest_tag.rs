//! Which of a repository's tags is the newest.
//!
//! By version, not by date: a tag has no date of its own that could be trusted. The version begins at the first digit
//! of the name: numbers between dots, compared one by one; of two that are equal there, one with more behind them
//! (`-rc.1`) comes before the one without, as in Semantic Versioning. Names without a digit come first of all. Of equal
//! versions the name decides.

use std::cmp::Ordering;

/// A run of digits, or of anything else. Numbers come first, and are compared as numbers of any length.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece<'a> {
    Number(usize, &'a str),
    Text(&'a str),
}

/// The newest of these names.
pub fn newest_tag<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names.into_iter().max_by(|a, b| by_version(a, b))
}

fn by_version(a: &str, b: &str) -> Ordering {
    let ((a_numbers, a_rest), (b_numbers, b_rest)) = (version(a), version(b));
    let by_rest = match (a_rest.is_empty(), b_rest.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => pieces(a_rest).cmp(&pieces(b_rest)),
    };
    a_numbers.cmp(&b_numbers).then(by_rest).then_with(|| a.cmp(b))
}

/// The numbers of a version, without zeros at their end, and what stands behind them, without build metadata.
fn version(name: &str) -> (Vec<Piece<'_>>, &str) {
    let start = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
    let text = &name[start..];
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let mut numbers: Vec<Piece<'_>> =
        text[..end].split('.').filter(|part| !part.is_empty()).map(number).collect();
    let has_number = !numbers.is_empty();
    while numbers.last() == Some(&Piece::Number(0, "")) {
        numbers.pop();
    }
    if has_number {
        // So that 0 comes after a name without any number.
        numbers.insert(0, Piece::Text(""));
    }
    (numbers, text[end..].split('+').next().unwrap_or_default())
}

fn number(digits: &str) -> Piece<'_> {
    let digits = digits.trim_start_matches('0');
    Piece::Number(digits.len(), digits)
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_number = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(rest.len());
        pieces.push(if is_number { number(&rest[..end]) } else { Piece::Text(&rest[..end]) });
        rest = &rest[end..];
    }
    pieces
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::by_version;
    use super::newest_tag;

    #[test]
    fn tags_are_ordered_by_their_versions() {
        let sorted = [
            "latest",
            "v0",
            "v0.9",
            "v1.0.0-alpha",
            "v1.0.0-alpha.1",
            "v1.0.0-beta.2",
            "v1.0.0-beta.11",
            "v1.0.0-rc9",
            "v1.0.0-rc10",
            "v1.0.0",
            "v1.0.1",
            "v1.2",
            "v1.10.0",
            "v2",
            "release-3.1",
            "v2026.11.24",
            "v99999999999999999999999999",
        ];
        for pair in sorted.windows(2) {
            assert!(by_version(pair[0], pair[1]).is_lt(), "{pair:?}");
        }
        assert_eq!(newest_tag(sorted), sorted.last().copied());
    }

    #[test]
    fn of_equal_versions_the_name_decides_and_of_none_there_is_none() {
        assert_eq!(newest_tag(["v1", "1.0", "v1.0.0"]), Some("v1.0.0"));
        assert_eq!(newest_tag(["v1.0+b", "v1.0+a"]), Some("v1.0+b"));
        assert_eq!(newest_tag([]), None);
    }
}
