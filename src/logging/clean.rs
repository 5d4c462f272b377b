//! Makes bytes of unknown origin safe to show: takes terminal escape sequences, control characters and
//! broken UTF-8 out. Bytes in pieces of any size, text and line ends out. Pure.
//!
//! What is left can neither move a cursor, nor colour or retitle a terminal, nor pass for a line of
//! its own.

/// What a piece of a byte stream means for the line that is being put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes of the line: tab, printable ASCII, and whatever is not ASCII.
    Text(&'a [u8]),
    /// A carriage return: what follows overwrites the line from its start.
    Return,
    /// The line ends.
    Newline,
}

/// Takes escape sequences and ASCII controls out of a byte stream.
#[derive(Debug, Default)]
pub struct Escapes {
    state: State,
}

/// Where in an escape sequence (ECMA-48) the stream is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// Behind ESC.
    Escape,
    /// Behind ESC and an intermediate byte, as in the choice of a character set.
    Intermediate,
    /// In a control sequence, ESC `[`, up to its final byte.
    Control,
    /// In a string such as a window title, ESC `]`, up to BEL or ESC `\`.
    Text,
    /// Behind an ESC within a string.
    TextEscape,
}

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;

impl Escapes {
    /// Hands on what is left of `bytes`. A sequence may begin in one call and end in another, but none
    /// reaches past the end of its line: an unfinished one must not swallow the rest of the log.
    pub fn strip<'a>(&mut self, bytes: &'a [u8], mut give: impl FnMut(Piece<'a>)) {
        let mut rest = bytes;
        while let Some((&byte, behind)) = rest.split_first() {
            if self.state == State::Ground && is_text(byte) {
                let length = rest.iter().position(|&b| !is_text(b)).unwrap_or(rest.len());
                let (text, others) = rest.split_at(length);
                give(Piece::Text(text));
                rest = others;
                continue;
            }
            // A byte that is not ASCII has no place in a sequence other than a string: it is text again.
            if byte >= 0x80 && !matches!(self.state, State::Text | State::TextEscape) {
                self.state = State::Ground;
                continue;
            }
            match byte {
                b'\n' => give(Piece::Newline),
                b'\r' => give(Piece::Return),
                _ => {}
            }
            self.state = self.state.after(byte);
            rest = behind;
        }
    }
}

impl State {
    const fn after(self, byte: u8) -> Self {
        // CAN and SUB end any sequence.
        if matches!(byte, b'\n' | b'\r' | 0x18 | 0x1a) {
            return Self::Ground;
        }
        match (self, byte) {
            (Self::Text | Self::TextEscape, BEL) | (Self::TextEscape, b'\\') => Self::Ground,
            (Self::Text | Self::TextEscape, ESC) => Self::TextEscape,
            (Self::Text | Self::TextEscape, _) => Self::Text,
            (_, ESC) => Self::Escape,
            (Self::Escape, b'[') => Self::Control,
            (Self::Escape, b']' | b'P' | b'X' | b'^' | b'_') => Self::Text,
            (Self::Escape | Self::Intermediate, 0x20..=0x2f) => Self::Intermediate,
            (Self::Control, 0x40..=0x7e) => Self::Ground,
            (Self::Control, _) => Self::Control,
            // Other controls are carried out within a sequence and do not end it.
            (Self::Escape, 0x00..=0x1f) => Self::Escape,
            (Self::Intermediate, 0x00..=0x1f) => Self::Intermediate,
            (Self::Ground | Self::Escape | Self::Intermediate, _) => Self::Ground,
        }
    }
}

const fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..=0x7e | 0x80..)
}

/// The text in `bytes`: broken UTF-8 becomes U+FFFD, and every character goes that a viewer would obey
/// instead of show: controls but tab, and those that reverse the direction of writing.
pub fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.chars().all(is_shown) { text.into_owned() } else { text.chars().filter_map(shown).collect() }
}

/// One line of text out of one or several: what [`printable`] takes out goes, line ends become blanks.
pub fn one_line(text: &str) -> String {
    let blank = |c| if matches!(c, '\n' | '\r') { ' ' } else { c };
    text.chars().map(blank).filter_map(shown).collect()
}

fn is_shown(c: char) -> bool {
    shown(c) == Some(c)
}

fn shown(c: char) -> Option<char> {
    match c {
        '\t' => Some(c),
        // Line ends to some viewers.
        '\u{2028}' | '\u{2029}' => Some(' '),
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
        _ => (!c.is_control()).then_some(c),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::Escapes;
    use super::Piece;
    use super::one_line;
    use super::printable;

    fn stripped(chunks: &[&[u8]]) -> String {
        let mut escapes = Escapes::default();
        let mut bytes = Vec::new();
        for chunk in chunks {
            escapes.strip(chunk, |piece| match piece {
                Piece::Text(text) => bytes.extend_from_slice(text),
                Piece::Return => bytes.extend_from_slice(b"<CR>"),
                Piece::Newline => bytes.extend_from_slice(b"<LF>"),
            });
        }
        printable(&bytes)
    }

    #[test]
    fn colours_titles_and_character_sets_are_taken_out() {
        assert_eq!(stripped(&[b"\x1b[1;31mred\x1b[0m plain"]), "red plain");
        assert_eq!(stripped(&[b"a\x1b]0;title\x07b\x1b]8;;http://x\x1b\\link"]), "ablink");
        assert_eq!(stripped(&[b"a\x1b(Bb\x1bcd\x1bPq#0\x1b\\e"]), "abde");
    }

    #[test]
    fn a_sequence_may_be_cut_between_chunks() {
        assert_eq!(stripped(&[b"a\x1b", b"[3", b"1", b"mb"]), "ab");
        assert_eq!(stripped(&[b"a\x1b]0;ti", b"tle\x1b", b"\\b"]), "ab");
    }

    #[test]
    fn an_unfinished_sequence_ends_with_its_line() {
        assert_eq!(stripped(&[b"a\x1b]0;no end\nb\x1b[\nc"]), "a<LF>b<LF>c");
    }

    #[test]
    fn controls_are_dropped_and_tabs_kept() {
        assert_eq!(stripped(&[b"a\0\x08\tb\x7f\x0b\x0cc\r"]), "a\tbc<CR>");
    }

    #[test]
    fn unicode_survives_and_broken_or_commanding_unicode_does_not() {
        assert_eq!(stripped(&["grün ✓".as_bytes()]), "grün ✓");
        assert_eq!(stripped(&[b"a\xff\x9b31mb"]), "a\u{fffd}\u{fffd}31mb");
        assert_eq!(stripped(&["a\u{9b}b\u{202e}c\u{2028}d".as_bytes()]), "abc d");
        assert_eq!(stripped(&[b"\x1b[3\xc3\xbc"]), "ü");
    }

    #[test]
    fn a_message_of_several_lines_becomes_one() {
        assert_eq!(one_line("a\nb\r\n\tc\x1b[1m"), "a b  \tc[1m");
    }
}
