//! Patterns of paths and of tags with GitHub's own meaning (GitHub Actions, "Filter pattern cheat sheet"), which is
//! neither a shell's nor `.gitignore`'s: `?` and `+` repeat what stands before them. Pure.
//!
//! Translated to regular expressions whose matching takes linear time: names of files are a stranger's text.

use std::fmt;

use regex_lite::Regex;

/// A pattern of a path or a tag.
#[derive(Clone)]
pub struct Glob {
    text: String,
    /// It begins with `!`: what matches is taken out again.
    takes_out: bool,
    regex: Regex,
}

impl Glob {
    /// Reads a pattern: `*` is anything but `/`, `**` anything, `?` and `+` repeat the character before, `[a-z]` is one
    /// of these, `\` takes the next character as it is, `!` in front takes out again.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (pattern, takes_out) = text.strip_prefix('!').map_or((text, false), |rest| (rest, true));
        if pattern.trim().is_empty() || pattern.contains(['\0', '\n']) {
            return Err("this pattern matches nothing: write one such as `src/**`".to_owned());
        }
        if pattern.starts_with('/') || pattern.starts_with("./") {
            let path = pattern.trim_start_matches('.').trim_start_matches('/');
            return Err(format!("patterns begin at the repository's root: write `{path}`"));
        }
        let regex = Regex::new(&expression(pattern)?).map_err(|_| format!("`{text}` is too long"))?;
        Ok(Self { text: text.to_owned(), takes_out, regex })
    }

    /// Whether it takes out what others match.
    pub const fn takes_out(&self) -> bool {
        self.takes_out
    }

    /// Whether the path or tag matches, a leading `!` left aside.
    pub fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }

    /// What every name that matches begins with.
    pub fn beginning(&self) -> &str {
        let end = self.text.find(['*', '?', '+', '[', '\\']).unwrap_or(self.text.len());
        match self.text[end..].chars().next() {
            // The character before may be missing.
            Some('?' | '+') => {
                let last = self.text[..end].char_indices().next_back().map_or(0, |(at, _)| at);
                &self.text[..last]
            }
            _ => &self.text[..end],
        }
    }
}

/// Whether a list of patterns matches a name: the last one that does decides.
pub fn any_matches(globs: &[Glob], name: &str) -> bool {
    globs.iter().rev().find(|glob| glob.matches(name)).is_some_and(|glob| !glob.takes_out)
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({})", self.text)
    }
}

/// The regular expression of a pattern.
fn expression(pattern: &str) -> Result<String, String> {
    let mut regex = String::from(r"(?s)\A");
    let mut rest = pattern;
    // Whether what stands before may be repeated, and whether a folder begins here.
    let (mut is_single, mut is_at_folder) = (false, true);
    while let Some(next) = rest.chars().next() {
        let taken;
        (taken, is_single) = if is_at_folder && rest.starts_with("**/") {
            regex.push_str("(?:.*/)?");
            (3, false)
        } else if rest.starts_with("**") {
            regex.push_str(".*");
            (2, false)
        } else {
            match next {
                '*' => {
                    regex.push_str("[^/]*");
                    (1, false)
                }
                '?' | '+' if is_single => {
                    regex.push(next);
                    (1, false)
                }
                '?' | '+' => {
                    return Err(format!("`{pattern}`: `{next}` repeats the character before it: write one"));
                }
                '[' => (class(rest, &mut regex)?, true),
                '\\' => {
                    let escaped = rest[1..].chars().next();
                    let escaped = escaped.ok_or_else(|| format!("`{pattern}`: nothing follows the `\\`"))?;
                    literal(escaped, &mut regex);
                    (1 + escaped.len_utf8(), true)
                }
                _ => {
                    literal(next, &mut regex);
                    (next.len_utf8(), true)
                }
            }
        };
        is_at_folder = rest[..taken].ends_with('/');
        rest = &rest[taken..];
    }
    regex.push_str(r"\z");
    Ok(regex)
}

/// Letters, digits and ranges of them in brackets; how long it is.
fn class(rest: &str, regex: &mut String) -> Result<usize, String> {
    let inner = rest[1..].split(']').next().filter(|inner| inner.len() + 1 < rest.len());
    let is_known = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let inner = inner.filter(|inner| !inner.is_empty() && inner.chars().all(is_known));
    let wrong = || format!("`{rest}`: brackets hold letters, digits and ranges of them, such as `[a-z0-9]`");
    let inner = inner.ok_or_else(wrong)?;
    let expression = format!("[{inner}]");
    Regex::new(&expression).map_err(|_| wrong())?;
    regex.push_str(&expression);
    Ok(inner.len() + 2)
}

fn literal(c: char, regex: &mut String) {
    if !c.is_alphanumeric() {
        regex.push('\\');
    }
    regex.push(c);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::Glob;
    use super::any_matches;

    fn matches(pattern: &str, name: &str) -> bool {
        Glob::parse(pattern).unwrap().matches(name)
    }

    /// The examples of GitHub's own table.
    #[test]
    fn a_pattern_means_what_it_means_on_github() {
        for (pattern, name) in [
            ("*", "README.md"),
            ("*.jsx?", "page.js"),
            ("*.jsx?", "page.jsx"),
            ("**", "all/the/files.md"),
            ("*.js", "app.js"),
            ("**.js", "index.js"),
            ("**.js", "src/js/app.js"),
            ("docs/*", "docs/README.md"),
            ("docs/**", "docs/mona/octocat.txt"),
            ("docs/**/*.md", "docs/README.md"),
            ("docs/**/*.md", "docs/mona/hello-world.md"),
            ("**/docs/**", "docs/hello.md"),
            ("**/docs/**", "space/docs/plan/space.doc"),
            ("**/README.md", "README.md"),
            ("**/README.md", "js/README.md"),
            ("**/*src/**", "a/src/app.js"),
            ("**/*src/**", "my-src/code/js/app.js"),
            ("**/*-post.md", "my-post.md"),
            ("**/migrate-*.sql", "db/sept/migrate-v1.sql"),
            ("v[12].[0-9]+.[0-9]+", "v1.10.1"),
            (r"what\?.md", "what?.md"),
            ("ä+.md", "äää.md"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_another_folder_or_name_does_not_match() {
        for (pattern, name) in [
            ("*", "docs/README.md"),
            ("*.js", "src/app.js"),
            ("docs/*", "docs/mona/octocat.txt"),
            ("docs/**", "mydocs/a"),
            ("src", "src/a.rs"),
            ("a.c", "abc"),
            ("v[12]", "v3"),
            ("*.jsx?", "page.jsxx"),
            ("a*b", "a\nc"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let globs = ["src/**", "!src/docs/**", "src/docs/api.md"].map(|text| Glob::parse(text).unwrap());
        assert!(any_matches(&globs, "src/main.rs"));
        assert!(!any_matches(&globs, "src/docs/a.md"));
        assert!(any_matches(&globs, "src/docs/api.md"));
        assert!(!any_matches(&globs, "README.md"));
    }

    #[test]
    fn what_every_match_begins_with_is_known() {
        for (pattern, beginning) in
            [("v*", "v"), ("release/v?[0-9]*", "release/"), ("v1.0", "v1.0"), ("*", ""), ("ä?", "")]
        {
            assert_eq!(Glob::parse(pattern).unwrap().beginning(), beginning, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_means_nothing_is_refused_with_what_would_be_right() {
        for (pattern, said) in [
            ("", "matches nothing"),
            ("!", "matches nothing"),
            ("/src/**", "write `src/**`"),
            ("./src", "write `src`"),
            ("?a", "repeats the character before it"),
            ("a**+", "repeats the character before it"),
            ("[a", "brackets hold"),
            ("[z-a]", "brackets hold"),
            ("[!a]", "brackets hold"),
            ("a\\", "nothing follows"),
        ] {
            let refusal = Glob::parse(pattern).unwrap_err();
            assert!(refusal.contains(said), "{pattern}: {refusal}");
        }
    }

    #[test]
    fn no_name_of_a_file_takes_long() {
        let glob = Glob::parse("**a**a**a**a**a**a**a**a**a**b").unwrap();
        assert!(!glob.matches(&"a".repeat(4000)));
    }
}
