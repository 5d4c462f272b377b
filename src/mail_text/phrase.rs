//! Small phrases: moments, lengths of time, releases, and strangers' text made fit for print.

use std::time::Duration;

use chrono::DateTime;
use chrono::Utc;

use crate::model::Commit;
use crate::model::Release;

/// The longest name that a sentence carries in full; tags may have 128 characters.
const LONGEST_NAME: usize = 40;
/// The longest commit subject in a sentence.
const LONGEST_COMMIT_SUBJECT: usize = 60;

/// A moment: `2026-11-23 06:15 UTC`.
pub fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// A length of time in at most two units: `450 ms`, `2.3 s`, `35 s`, `1 min 05 s`, `3 h 20 min`, `2 d 4 h`.
pub fn length(time: Duration) -> String {
    let (millis, seconds) = (time.as_millis(), time.as_secs());
    match seconds {
        _ if millis < 1000 => format!("{millis} ms"),
        0..10 => format!("{}.{} s", seconds, time.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// `1 run`, `3 runs`.
pub fn count(number: u32, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A release by its tag.
pub fn tag(release: &Release) -> String {
    cut(release.tag.as_str(), LONGEST_NAME)
}

/// A commit as a person knows it: `1a2b3c4 "add login"`.
pub fn commit(commit: &Commit) -> String {
    let subject = cut(&commit.subject, LONGEST_COMMIT_SUBJECT);
    if subject.is_empty() {
        commit.sha.short().to_owned()
    } else {
        format!("{} \"{subject}\"", commit.sha.short())
    }
}

/// A stranger's text on one line of at most so many characters; what was cut is shown by `…`.
pub fn cut(text: &str, longest: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    cut_line(&line, longest)
}

/// A line of output with its indentation, of at most so many characters.
pub fn cut_line(text: &str, longest: usize) -> String {
    let clean: String = text.replace('\t', "    ").chars().filter(|c| is_fit_for_print(*c)).collect();
    match clean.char_indices().nth(longest) {
        None => clean,
        Some(_) => clean.chars().take(longest.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Not control characters, and none of the invisible ones that reorder or hide what stands around them.
fn is_fit_for_print(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The same beginning with a capital.
pub fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::time::Duration;

    use super::cut;
    use super::cut_line;
    use super::length;

    #[test]
    fn lengths_have_at_most_two_units() {
        let lengths =
            [0, 999, 1000, 9999, 10_000, 59_999, 60_000, 3_599_999, 3_600_000, 86_399_999, 187_200_000];
        let said: Vec<String> = lengths.map(|ms| length(Duration::from_millis(ms))).into();
        insta::assert_snapshot!(said.join(", "), @"0 ms, 999 ms, 1.0 s, 9.9 s, 10 s, 59 s, 1 min 00 s, 59 min 59 s, 1 h 00 min, 23 h 59 min, 2 d 4 h");
    }

    #[test]
    fn strangers_text_is_one_clean_line() {
        assert_eq!(cut("a\r\nBcc: x\u{1b}[31m \u{202e}gnp.exe\0", 100), "a Bcc: x[31m gnp.exe");
        assert_eq!(cut("äöüß", 4), "äöüß");
        assert_eq!(cut("äöüßx", 4), "äöü…");
        assert_eq!(cut_line("\tindented\u{7f}", 100), "    indented");
    }
}
