//! Takes secrets out of text: the values themselves, and the forms in which tools print them: base64
//! at any alignment, in one line or broken into several, URL-encoded, escaped as in JSON, and the long lines of a
//! multi-line value. Pure.
//!
//! Works on one line at a time: whoever cuts a stream into lines must hand over whole ones. Values too
//! short to be secrets are left alone, since masking them would make the log unreadable.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use aho_corasick::AhoCorasickKind;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::AsciiSet;
use percent_encoding::CONTROLS;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;
use secrecy::ExposeSecret as _;
use secrecy::SecretString;

use crate::logging::clean::one_line;

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Shorter values are not masked.
const SHORTEST: usize = 4;
/// Shorter lines of a multi-line value are not masked: such a line is often `{` or `}`.
const SHORTEST_LINE: usize = 8;

/// The digits of base64 by which its first and its last line are known, where it is broken into lines.
const END_OF_BASE64: usize = 8;
/// Of the lines between them, one of these stretches of digits is whole in each, since tools make none shorter than 64.
const STRETCH: usize = 24;
/// From one such stretch to the next.
const STRIDE: usize = 16;

/// What RFC 3986 calls unreserved stays; all else is encoded.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// As JavaScript's `encodeURIComponent`.
const COMPONENT: &AsciiSet = &STRICT.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');
/// As HTML forms, where a blank becomes `+`.
const FORM: &AsciiSet = &STRICT.add(b'~').remove(b'*').remove(b' ');
/// As the user and password of a URL by the WHATWG standard.
const USER_INFO: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'=')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'|');

/// Masks a fixed set of secrets. Cheap to clone; shows nothing of them in `Debug`.
#[derive(Clone, Default)]
pub struct Redactor {
    matcher: Option<Arc<Matcher>>,
}

struct Matcher {
    patterns: AhoCorasick,
    /// The patterns from this index on are the base64 of a whole secret.
    first_base64: usize,
    /// The patterns from this index on are parts of a secret's base64.
    first_part: usize,
    longest: usize,
}

impl Redactor {
    /// A redactor of `secrets`, and of the `user:secret` pairs of `logins` as HTTP sends them.
    pub fn new<'a>(
        secrets: impl IntoIterator<Item = &'a SecretString>,
        logins: impl IntoIterator<Item = (&'a str, &'a SecretString)>,
    ) -> Self {
        let mut forms = Forms::default();
        for secret in secrets {
            forms.add_secret(secret.expose_secret());
        }
        for (user, secret) in logins {
            forms.add_secret(secret.expose_secret());
            forms.add_login(user, secret.expose_secret());
        }
        forms.into_redactor()
    }

    /// `line` with every secret replaced.
    pub fn redact<'t>(&self, line: &'t str) -> Cow<'t, str> {
        self.redact_up_to(line, line.len())
    }

    /// As [`Self::redact`], but gives only the first `end` bytes of `line` (fewer within a character). A
    /// secret that begins before `end` is found also if it reaches beyond.
    pub fn redact_up_to<'t>(&self, line: &'t str, end: usize) -> Cow<'t, str> {
        let end = (0..=end.min(line.len())).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
        let spans = self.matcher.as_deref().map_or_else(Vec::new, |matcher| matcher.spans(line));
        if spans.is_empty() {
            return Cow::Borrowed(&line[..end]);
        }
        let mut text = String::with_capacity(end);
        let mut at = 0;
        for span in spans.into_iter().take_while(|span| span.start < end) {
            text.push_str(&line[at..span.start]);
            text.push_str(REDACTED);
            at = span.end;
        }
        if at < end {
            text.push_str(&line[at..end]);
        }
        Cow::Owned(text)
    }

    /// The length in bytes of the longest form of a secret: what has to be read beyond a cut to be sure
    /// that no secret lies across it.
    pub fn longest(&self) -> usize {
        self.matcher.as_ref().map_or(0, |matcher| matcher.longest)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Matcher {
    /// The stretches of `line` to mask: in order, none overlapping another.
    fn spans(&self, line: &str) -> Vec<Range<usize>> {
        // Overlapping matches, since of two secrets that share some text both have to go.
        let mut found: Vec<Range<usize>> = self
            .patterns
            .find_overlapping_iter(line)
            .map(|hit| match hit.pattern().as_usize() {
                plain if plain < self.first_base64 => hit.range(),
                whole if whole < self.first_part => with_digits(line.as_bytes(), hit.range(), 1),
                _ => with_digits(line.as_bytes(), hit.range(), usize::MAX),
            })
            .collect();
        found.sort_unstable_by_key(|span| span.start);
        let mut spans: Vec<Range<usize>> = Vec::with_capacity(found.len());
        for span in found {
            match spans.last_mut() {
                Some(last) if span.start < last.end => last.end = last.end.max(span.end),
                Some(_) | None => spans.push(span),
            }
        }
        spans
    }
}

/// Widens a span of base64 by the digits on either side, at most so many, and by the padding. The next one to a whole
/// secret may hold some bits of it; what stands beside a part may be another part.
fn with_digits(line: &[u8], span: Range<usize>, most: usize) -> Range<usize> {
    let is_digit = |b: &&u8| b.is_ascii_alphanumeric() || b"+/-_".contains(b);
    let (before, behind) = (&line[..span.start], &line[span.end..]);
    let start = span.start - before.iter().rev().take(most).take_while(is_digit).count();
    let digits = behind.iter().take(most).take_while(is_digit).count();
    let padding = behind[digits..].iter().take(2).take_while(|&&b| b == b'=').count();
    start..span.end + digits + padding
}

/// The texts to look for.
#[derive(Default)]
struct Forms {
    plain: BTreeSet<String>,
    base64: BTreeSet<String>,
    base64_parts: BTreeSet<String>,
}

impl Forms {
    fn add_secret(&mut self, secret: &str) {
        let secret = secret.trim();
        if secret.len() < SHORTEST {
            return;
        }
        if secret.contains('\n') {
            let long = |line: &&str| line.len() >= SHORTEST_LINE;
            self.plain.extend(secret.lines().map(str::trim).filter(long).map(str::to_owned));
        } else {
            self.plain.insert(secret.to_owned());
            // As it looks where control characters were taken out.
            self.plain.extend(Some(one_line(secret)).filter(|text| text.len() >= SHORTEST));
        }
        let quoted = serde_json::Value::from(secret).to_string();
        let escaped = quoted[1..quoted.len() - 1].to_owned();
        self.add_base64(secret);
        self.add_base64(&escaped);
        self.plain.insert(escaped);
        for set in [STRICT, COMPONENT, FORM, USER_INFO] {
            let encoded = utf8_percent_encode(secret, set).to_string().replace(' ', "+");
            self.plain.insert(with_small_hex(&encoded));
            self.plain.insert(encoded);
        }
    }

    fn add_login(&mut self, user: &str, secret: &str) {
        if !secret.is_empty() {
            self.add_base64(&format!("{user}:{secret}"));
        }
    }

    /// Adds those digits of the base64 of any text with `secret` in it that are the secret's alone, for
    /// each of the three places at which it can begin within a group of three bytes.
    fn add_base64(&mut self, secret: &str) {
        for offset in 0..3 {
            let mut bytes = vec![0; offset];
            bytes.extend_from_slice(secret.as_bytes());
            let own = (offset * 8).div_ceil(6)..bytes.len() * 8 / 6;
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let digits = engine.encode(&bytes);
                let own = digits.get(own.clone()).unwrap_or_default();
                // The parts of a long one are in each whole one too.
                if (SHORTEST..2 * STRETCH).contains(&own.len()) {
                    self.base64.insert(own.to_owned());
                }
                if own.len() >= 2 * END_OF_BASE64 {
                    self.add_parts(own);
                }
            }
        }
    }

    /// Adds what stands in each line of a secret's base64, wherever a tool broke it.
    fn add_parts(&mut self, digits: &str) {
        let ends = [&digits[..END_OF_BASE64], &digits[digits.len() - END_OF_BASE64..]];
        let starts = (0..digits.len()).step_by(STRIDE);
        let stretches = starts.filter_map(|start| digits.get(start..start + STRETCH));
        self.base64_parts.extend(ends.into_iter().chain(stretches).map(str::to_owned));
    }

    fn into_redactor(self) -> Redactor {
        if self.plain.is_empty() && self.base64.is_empty() {
            return Redactor::default();
        }
        let all = || self.plain.iter().chain(&self.base64).chain(&self.base64_parts);
        #[expect(clippy::expect_used, reason = "fails only for more than 2^31 bytes of patterns")]
        let patterns = AhoCorasick::builder()
            // A tenth of the memory of the default's table, and still far quicker than a disk.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(all())
            .expect("the secrets of a configuration are a few kilobytes");
        let longest = all().map(String::len).max().unwrap_or(0);
        let first_base64 = self.plain.len();
        let first_part = first_base64 + self.base64.len();
        Redactor { matcher: Some(Arc::new(Matcher { patterns, first_base64, first_part, longest })) }
    }
}

/// Percent-encoding with small hexadecimal digits, as some tools write it.
fn with_small_hex(encoded: &str) -> String {
    let mut hex_digits = 0;
    encoded
        .chars()
        .map(|c| {
            if c == '%' {
                hex_digits = 2;
                return c;
            }
            let is_hex = hex_digits > 0;
            hex_digits -= i32::from(is_hex);
            if is_hex { c.to_ascii_lowercase() } else { c }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use base64::engine::general_purpose::URL_SAFE;
    use proptest::prelude::*;
    use secrecy::SecretString;

    use super::Redactor;

    fn redactor(secrets: &[&str]) -> Redactor {
        let secrets: Vec<SecretString> = secrets.iter().map(|&s| s.into()).collect();
        Redactor::new(&secrets, [])
    }

    #[test]
    fn a_secret_is_masked_wherever_it_stands() {
        let redactor = redactor(&["ghp_abc123"]);
        assert_eq!(redactor.redact("ghp_abc123"), "[redacted]");
        assert_eq!(redactor.redact("https://x:ghp_abc123@github.com"), "https://x:[redacted]@github.com");
        assert_eq!(redactor.redact("aghp_abc123ghp_abc123b"), "a[redacted][redacted]b");
        assert_eq!(redactor.redact("ghp_abc12"), "ghp_abc12");
    }

    #[test]
    fn secrets_that_share_some_text_are_both_masked() {
        assert_eq!(redactor(&["abcdef", "defghi", "cdef"]).redact("-abcdefghi-"), "-[redacted]-");
    }

    #[test]
    fn a_short_value_does_not_turn_the_log_into_mush() {
        assert_eq!(redactor(&["a", "no", "{}", " 1 ", ""]).redact("a no {} 1"), "a no {} 1");
    }

    #[test]
    fn of_a_multi_line_secret_only_long_lines_are_masked() {
        let redactor = redactor(&["{\n  \"private_key\": \"MIIEvQIBADAN\"\n}\n"]);
        assert_eq!(redactor.redact("fn main() { }"), "fn main() { }");
        assert_eq!(redactor.redact("x \"private_key\": \"MIIEvQIBADAN\" y"), "x [redacted] y");
    }

    #[test]
    fn url_encoded_and_escaped_forms_are_masked() {
        let redactor = redactor(&["p@ss w/rd\"é"]);
        for form in [
            "p@ss w/rd\"é",
            "p%40ss%20w%2Frd%22%C3%A9",
            "p%40ss%20w%2frd%22%c3%a9",
            "p%40ss+w%2Frd%22%C3%A9",
            "p@ss w/rd\\\"é",
        ] {
            assert_eq!(redactor.redact(&format!("<{form}>")), "<[redacted]>", "{form}");
        }
    }

    #[test]
    fn the_header_of_a_login_is_masked_whole() {
        let secret = SecretString::from("xyz");
        let redactor = Redactor::new([], [("me", &secret)]);
        let line = format!("Authorization: Basic {}", STANDARD.encode("me:xyz"));
        assert_eq!(redactor.redact(&line), "Authorization: Basic [redacted]");
    }

    #[test]
    fn a_cut_does_not_let_half_a_secret_through() {
        let redactor = redactor(&["0123456789"]);
        assert_eq!(redactor.redact_up_to("ab0123456789cd", 5), "ab[redacted]");
        assert_eq!(redactor.redact_up_to("ab0123456789cd", 13), "ab[redacted]c");
        assert_eq!(redactor.redact_up_to("aé", 2), "a");
        assert!(redactor.longest() >= 10);
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", redactor(&["hunter22"])), "Redactor");
    }

    proptest! {
        #[test]
        fn base64_that_is_broken_into_lines_hides_all_of_a_secret_but_some_bytes(
            before in ".{0,60}", secret in "[!-~]{20,400}", behind in ".{0,60}", width in 60..77_usize,
        ) {
            let redactor = redactor(&[&secret]);
            let digits = STANDARD.encode(format!("{before}{secret}{behind}"));
            let lines = digits.as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line).into_owned());
            let left: usize = lines.map(|line| redactor.redact(&line).replace("[redacted]", "").len()).sum();
            let most = (before.len() + behind.len()) * 4 / 3 + 2 * super::END_OF_BASE64 + 4;
            prop_assert!(left <= most, "{left} digits are left, at most {most} may be");
        }

        #[test]
        fn base64_of_any_text_with_a_secret_hides_it(
            before in ".{0,9}", secret in "[!-~]{6,40}", behind in ".{0,9}",
        ) {
            let redactor = redactor(&[&secret]);
            let text = format!("{before}{secret}{behind}");
            for encoded in [STANDARD.encode(&text), URL_SAFE.encode(&text)] {
                let redacted = redactor.redact(&encoded);
                prop_assert!(redacted.contains("[redacted]"), "{redacted}");
                // What is left on either side decodes to nothing of the secret.
                let left = redacted.split("[redacted]").map(str::len).sum::<usize>();
                prop_assert!(left <= (before.len() + behind.len()) * 4 / 3 + 4, "{redacted}");
            }
        }
    }
}
