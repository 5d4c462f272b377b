//! Puts the lines of a program's output together from chunks of raw bytes: cleaned, redacted, of limited
//! length. Pure; holds at most one line, so its memory does not grow with the output.
//!
//! A secret that is spread over two chunks is found, since only whole lines are looked at; one that lies
//! across the cut of an overlong line too, since the line is read on beyond the cut.

use crate::logging::clean::Escapes;
use crate::logging::clean::Piece;
use crate::logging::clean::printable;
use crate::logging::redact::Redactor;

/// The length in bytes at which a line is cut.
pub const LONGEST_LINE: usize = 4096;

/// One stream of output on its way to lines.
#[derive(Debug)]
pub struct Lines {
    redactor: Redactor,
    escapes: Escapes,
    line: Vec<u8>,
    /// Bytes of the present line that found no place in `line`.
    cut: usize,
    /// A carriage return came last: the next text overwrites the line.
    returned: bool,
}

impl Lines {
    /// A stream of which nothing has come yet.
    pub fn new(redactor: Redactor) -> Self {
        Self { redactor, escapes: Escapes::default(), line: Vec::new(), cut: 0, returned: false }
    }

    /// Takes the next bytes; hands on each line that they complete, without its end.
    pub fn push(&mut self, bytes: &[u8], mut give: impl FnMut(String)) {
        let mut escapes = std::mem::take(&mut self.escapes);
        escapes.strip(bytes, |piece| match piece {
            Piece::Text(text) => self.append(text),
            Piece::Return => self.returned = true,
            Piece::Newline => give(self.take_line()),
        });
        self.escapes = escapes;
    }

    /// The line that was begun and not ended, if there is one. The stream may go on with a new line.
    pub fn finish(&mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.take_line())
    }

    fn append(&mut self, text: &[u8]) {
        // A progress display: only its last state is worth a line.
        if std::mem::take(&mut self.returned) {
            self.line.clear();
            self.cut = 0;
        }
        let room = LONGEST_LINE + self.redactor.longest() - self.line.len();
        let (kept, cut) = text.split_at(room.min(text.len()));
        self.line.extend_from_slice(kept);
        self.cut += cut.len();
    }

    fn take_line(&mut self) -> String {
        let clean = printable(&self.line);
        self.line.clear();
        self.returned = false;
        let cut = std::mem::take(&mut self.cut);
        // Where bytes are missing, the end of what is there may be the beginning of a secret.
        let whole = if cut == 0 { clean.len() } else { clean.len().saturating_sub(self.redactor.longest()) };
        let end = whole.min(LONGEST_LINE);
        let mut shown = self.redactor.redact_up_to(&clean, end).into_owned();
        let missing = clean.len() - end + cut;
        if missing > 0 {
            shown.push_str(&format!(" … [line cut, {missing} more bytes]"));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;
    use secrecy::SecretString;

    use super::LONGEST_LINE;
    use super::Lines;
    use crate::logging::redact::Redactor;

    const SECRET: &str = "s3cr3t-t0ken";

    fn lines_of(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::new(Redactor::new([&SecretString::from(SECRET)], []));
        let mut out = Vec::new();
        for chunk in chunks {
            lines.push(chunk, |line| out.push(line));
        }
        out.extend(lines.finish());
        out
    }

    #[test]
    fn chunks_become_lines() {
        assert_eq!(lines_of(&[b"a", b"b\nc\n", b"\nd"]), ["ab", "c", "", "d"]);
        assert_eq!(lines_of(&[b"a\r\nb\r", b"\n"]), ["a", "b"]);
        assert!(lines_of(&[]).is_empty());
    }

    #[test]
    fn of_a_progress_display_the_last_state_is_kept() {
        assert_eq!(lines_of(&[b"10%\r50%", b"\r\x1b[K100%\ndone"]), ["100%", "done"]);
        assert_eq!(lines_of(&[b"10%\r\r"]), ["10%"]);
    }

    #[test]
    fn a_secret_across_chunks_and_escapes_is_masked() {
        assert_eq!(lines_of(&[b"x s3cr\x1b[1m3t-t0", b"ken y\n"]), ["x [redacted] y"]);
    }

    #[test]
    fn an_overlong_line_is_cut_and_says_so() {
        let out = lines_of(&[&[b'x'; 10_000], b"\nnext"]);
        assert_eq!(
            out,
            [format!("{} … [line cut, 5904 more bytes]", "x".repeat(LONGEST_LINE)), "next".into()]
        );
    }

    #[test]
    fn a_secret_across_the_cut_of_an_overlong_line_is_masked() {
        for before in LONGEST_LINE - 20..LONGEST_LINE + 20 {
            let mut bytes = vec![b'.'; before];
            bytes.extend_from_slice(SECRET.as_bytes());
            for behind in [0, 7, 5000] {
                let mut bytes = bytes.clone();
                bytes.resize(bytes.len() + behind, b'.');
                let out = lines_of(&[&bytes]).concat();
                assert!(!out.contains("s3c"), "{before} {behind}: {}", &out[LONGEST_LINE - 20..]);
            }
        }
    }

    proptest! {
        #[test]
        fn neither_controls_nor_secrets_get_out_in_any_chunking(
            parts in prop::collection::vec(
                prop_oneof![
                    Just(SECRET.as_bytes().to_vec()),
                    Just(b"\x1b[31m".to_vec()), Just(b"\x1b]0;".to_vec()), Just(b"\r\n".to_vec()), Just(b"\r".to_vec()),
                    Just("\u{9b}\u{85}\u{202e}é".as_bytes().to_vec()),
                    prop::collection::vec(any::<u8>(), 0..20),
                    (4070..4110usize).prop_map(|n| vec![b'-'; n]),
                ], 0..30),
            size in 1..50usize,
        ) {
            let bytes = parts.concat();
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            let out = lines_of(&chunks);
            for line in &out {
                prop_assert!(!line.chars().any(|c| c.is_control() && c != '\t'), "{line:?}");
                prop_assert!(!line.contains(SECRET), "{line:?}");
                prop_assert!(line.len() < LONGEST_LINE + 200);
            }
            prop_assert_eq!(out, lines_of(&[&bytes]));
        }
    }
}
