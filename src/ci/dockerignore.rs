//! Which files of a tree a `.dockerignore` keeps out of a build, exactly as Docker's own client decides it.
//!
//! Takes the file's text, gives a verdict per path. Pure: it reads no file. The reference is
//! moby/patternmatcher (`MatchesUsingParentResults`) with its ignore-file reader: patterns are anchored at the
//! root, `**` crosses folders, a match of a folder holds for what is below it, `!` makes an exception and the
//! last match wins. Glob crates differ from it in `a**b`, in `**` at either end and in escapes inside classes,
//! so the pattern language is matched here, in time linear in pattern and path (the patterns are a stranger's).

/// The patterns of a `.dockerignore`, in order.
#[derive(Debug, Clone, Default)]
pub struct Dockerignore {
    patterns: Vec<Pattern>,
}

/// What was found out about a path; the paths below it are judged from it.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Whether the path is kept out.
    pub excluded: bool,
    matched: Vec<bool>,
}

/// A line that Docker refuses, too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a pattern of a .dockerignore: {reason}")]
pub struct BadPattern {
    /// The pattern, without the surrounding blanks.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Dockerignore {
    /// Reads the text of an ignore file.
    ///
    /// # Errors
    /// A pattern that Docker's own client refuses: a lone `!`, an open `[`, a trailing `\`.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let patterns = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
            .map(|line| Pattern::parse(line.trim()))
            .collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// Makes an exception for one path, if the patterns exclude it: the builder needs it to begin at all.
    pub fn keep(&mut self, path: &str) {
        if self.excludes(path) {
            self.patterns.push(Pattern { is_exception: true, rule: Rule::Exact(path.to_owned()) });
        }
    }

    /// Whether anything below an excluded folder may have to be sent nevertheless.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_exception)
    }

    /// Judges a path of the tree, written with `/` and without a leading one. `parent` is the verdict on the
    /// folder it is in, `None` at the root.
    pub fn judge(&self, path: &str, parent: Option<&Verdict>) -> Verdict {
        let mut verdict = Verdict { excluded: false, matched: vec![false; self.patterns.len()] };
        for (index, pattern) in self.patterns.iter().enumerate() {
            let inherited = parent.is_some_and(|p| p.matched.get(index).is_some_and(|matched| *matched));
            // A pattern that could not change the verdict is not asked, just as in the reference.
            let is_match =
                inherited || (pattern.is_exception == verdict.excluded && pattern.rule.is_match(path));
            if is_match {
                verdict.excluded = !pattern.is_exception;
            }
            if let Some(slot) = verdict.matched.get_mut(index) {
                *slot = is_match;
            }
        }
        verdict
    }

    /// Whether a path is kept out, its folders taken into account.
    pub fn excludes(&self, path: &str) -> bool {
        let mut verdict: Option<Verdict> = None;
        for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
            let part = path.get(..end).unwrap_or(path);
            verdict = Some(self.judge(part, verdict.as_ref()));
        }
        verdict.is_some_and(|v| v.excluded)
    }
}

/// One line.
#[derive(Debug, Clone)]
struct Pattern {
    is_exception: bool,
    rule: Rule,
}

/// The four kinds of pattern that the reference tells apart; they differ in more than speed.
#[derive(Debug, Clone)]
enum Rule {
    /// No special character: the path itself.
    Exact(String),
    /// `x/**`: whatever begins with `x/`.
    Prefix(String),
    /// `**/x` and `**x`: whatever ends with it, also in the midst of a name for `**x`.
    Suffix(String),
    /// Everything else.
    Glob {
        tokens: Vec<Token>,
        /// The longest stretch of plain characters: no path without it matches, which is quickly seen.
        needed: String,
    },
}

/// A piece of a glob.
#[derive(Debug, Clone)]
enum Token {
    Char(char),
    /// `?`: one character that is not `/`.
    One,
    /// `*`: any characters that are not `/`.
    Star,
    /// `**` before something else: nothing, or anything that ends with `/`.
    Deep,
    /// `**` at the end: anything.
    Rest,
    /// `[a-z]`.
    Class {
        is_negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    fn parse(line: &str) -> Result<Self, BadPattern> {
        let (is_exception, rest) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        if rest.is_empty() {
            return Err(BadPattern { pattern: line.to_owned(), reason: "nothing follows the `!`" });
        }
        let cleaned = clean(rest);
        let anchored = if cleaned.len() > 1 { cleaned.trim_start_matches('/') } else { &cleaned };
        let bad = |reason| BadPattern { pattern: line.to_owned(), reason };
        Ok(Self { is_exception, rule: Rule::parse(anchored).map_err(bad)? })
    }
}

impl Rule {
    fn parse(pattern: &str) -> Result<Self, &'static str> {
        let is_plain = |text: &str| !text.contains(['*', '?', '[', ']', '\\']);
        if is_plain(pattern) {
            return Ok(Self::Exact(pattern.to_owned()));
        }
        if let Some(suffix) = pattern.strip_prefix("**").filter(|suffix| is_plain(suffix)) {
            return Ok(Self::Suffix(suffix.to_owned()));
        }
        if let Some(prefix) = pattern.strip_suffix("**").filter(|prefix| is_plain(prefix)) {
            return Ok(Self::Prefix(prefix.to_owned()));
        }
        tokens(pattern).map(|tokens| Self::Glob { needed: longest_plain(&tokens), tokens })
    }

    fn is_match(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => {
                path.ends_with(suffix.as_str()) || suffix.strip_prefix('/').is_some_and(|name| path == name)
            }
            Self::Glob { tokens, needed } => path.contains(needed.as_str()) && glob_matches(tokens, path),
        }
    }
}

fn tokens(pattern: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' if rest.next_if_eq(&'*').is_some() => {
                rest.next_if_eq(&'/');
                if rest.peek().is_none() { Token::Rest } else { Token::Deep }
            }
            '*' => Token::Star,
            '?' => Token::One,
            '\\' => Token::Char(rest.next().ok_or("it ends with a `\\`")?),
            '[' => class(&mut rest)?,
            _ => Token::Char(c),
        });
    }
    Ok(tokens)
}

/// Reads a class behind its `[`, by the grammar of Go's `filepath.Match`: `]` and `-` stand for themselves only
/// behind a `\`.
fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, &'static str> {
    const OPEN: &str = "a `[` is not closed";
    let bound = |rest: &mut std::iter::Peekable<std::str::Chars<'_>>| match rest.next() {
        None => Err(OPEN),
        Some('-' | ']') => Err("`-` and `]` inside `[…]` need a `\\` before them"),
        Some('\\') => rest.next().ok_or(OPEN),
        Some(c) => Ok(c),
    };
    let is_negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && rest.next_if_eq(&']').is_some() {
            return Ok(Token::Class { is_negated, ranges });
        }
        let low = bound(rest)?;
        let high = if rest.next_if_eq(&'-').is_some() { bound(rest)? } else { low };
        ranges.push((low, high));
    }
}

fn longest_plain(tokens: &[Token]) -> String {
    let plain = |token: &Token| if let Token::Char(c) = token { Some(*c) } else { None };
    let stretches = tokens.split(|token| plain(token).is_none());
    stretches
        .map(|stretch| stretch.iter().filter_map(plain).collect::<String>())
        .max_by_key(String::len)
        .unwrap_or_default()
}

/// Follows all ways through the path at once: `at[i]` says whether the tokens so far can end before `path[i]`.
fn glob_matches(tokens: &[Token], path: &str) -> bool {
    let path: Vec<char> = path.chars().collect();
    let mut at = vec![false; path.len() + 1];
    if let Some(start) = at.first_mut() {
        *start = true;
    }
    for token in tokens {
        at = advance(token, &path, &at);
        if !at.contains(&true) {
            return false;
        }
    }
    at.last().is_some_and(|end| *end)
}

fn advance(token: &Token, path: &[char], at: &[bool]) -> Vec<bool> {
    let mut next = Vec::with_capacity(at.len());
    // Whether some earlier place was reached, and whether the place just before this one was, after the token.
    let mut reached_before = false;
    let mut previous = false;
    for (index, here) in at.iter().enumerate() {
        let last = index.checked_sub(1).and_then(|i| path.get(i)).copied();
        let came = index.checked_sub(1).and_then(|i| at.get(i)).is_some_and(|reached| *reached);
        reached_before |= came;
        let reached = match token {
            Token::Char(c) => came && last == Some(*c),
            Token::One => came && last.is_some_and(|c| c != '/'),
            Token::Star => *here || (previous && last.is_some_and(|c| c != '/')),
            Token::Rest => *here || previous,
            Token::Deep => *here || (reached_before && last == Some('/')),
            Token::Class { is_negated, ranges } => {
                let is_in = |c: char| ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                came && last.is_some_and(|c| is_in(c) != *is_negated)
            }
        };
        next.push(reached);
        previous = reached;
    }
    next
}

/// Go's `filepath.Clean`: no `.`, no doubled or trailing `/`, `..` taken back where there is something to take.
fn clean(path: &str) -> String {
    let is_rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_rooted => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (is_rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn excludes(patterns: &str, path: &str) -> bool {
        Dockerignore::parse(patterns).unwrap().excludes(path)
    }

    /// The table of moby/patternmatcher's own `TestMatches` (Apache-2.0), on clean paths.
    #[test]
    fn single_patterns_match_as_in_the_reference() {
        let table = [
            ("**", "file", true),
            ("**/", "file", true),
            ("**", "dir/file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir/dir2/file", true),
            ("dir/**", "dir", false),
            ("**/dir", "dir", true),
            ("**/dir", "dir/file", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/**", "dir/dir2/dir3/file", true),
            ("**file", "file", true),
            ("**file", "dir/file", true),
            ("**file", "dir/afile", true),
            ("**/file", "dir/file", true),
            ("**/file", "dir/afile", false),
            ("**/file*", "dir/dir/file.txt", true),
            ("**/file*txt", "dir/dir/file.txt", true),
            ("**/file*.txt*", "dir/dir/file.txt", true),
            ("**/**/*.txt", "dir/dir/file.txt", true),
            ("**/**/*.txt2", "dir/dir/file.txt", false),
            ("**/*.txt", "file.txt", true),
            ("a**/*.txt", "a/file.txt", true),
            ("a**/*.txt", "a/dir/dir/file.txt", true),
            ("a/*.txt", "a/dir/file.txt", false),
            ("a/*.txt", "a/file.txt", true),
            ("a/*.txt**", "a/file.txt", true),
            ("a[b-d]e", "ae", false),
            ("a[b-d]e", "ace", true),
            ("a[b-d]e", "aae", false),
            ("a[^b-d]e", "aze", true),
            (".*", ".foo", true),
            (".*", "foo", false),
            ("abc.def", "abcdef", false),
            ("abc.def", "abc.def", true),
            ("abc.def", "abcZdef", false),
            ("abc?def", "abcZdef", true),
            ("abc?def", "abcdef", false),
            ("a\\\\", "a\\", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("**/foo/bar", "foo/bar", true),
            ("**/foo/bar", "dir/dir2/foo/bar", true),
            ("abc/**", "abc/def/ghi", true),
            ("**/.foo", ".foo", true),
            ("**/.foo", "bar.foo", false),
            ("a(b)c/def", "a(b)c/def", true),
            ("a(b)c/def", "a(b)c/xyz", false),
            ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
            ("dist/*.whl", "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "x", true),
            ("[x\\-]", "z", false),
            ("*x", "xxx", true),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(excludes(pattern, path), expected, "pattern {pattern:?}, path {path:?}");
        }
    }

    #[test]
    fn the_last_match_wins() {
        assert!(!excludes("docs\n!docs/README.md", "docs/README.md"));
        assert!(!excludes("docs/\n!docs/README.md", "docs/README.md"));
        assert!(excludes("docs\n!docs/README.md", "docs/other"));
        assert!(excludes("!fileutils.go\n*.go", "fileutils.go"));
        assert!(!excludes("**\n!util/docker/web", "util/docker/web/foo"));
        assert!(excludes("**\n!util/docker/web\nutil/docker/web/foo", "util/docker/web/foo"));
        assert!(!excludes("**\n!dist/*.whl", "dist/a.whl"));
    }

    #[test]
    fn patterns_are_anchored_at_the_root() {
        assert!(excludes("node_modules", "node_modules/x/y.js"));
        assert!(!excludes("node_modules", "web/node_modules/x.js"));
        assert!(excludes("**/node_modules", "web/node_modules/x.js"));
        assert!(excludes("/node_modules", "node_modules/x.js"));
        assert!(!excludes("*.log", "logs/a.log"));
    }

    #[test]
    fn comments_blanks_and_carriage_returns_are_not_patterns() {
        let text = "\u{feff}# a comment\r\n\r\n  *.log  \r\n ! keep.log \r\n\t\n";
        assert!(excludes(text, "a.log"));
        assert!(!excludes(text, "keep.log"));
        assert!(!excludes(text, "# a comment"));
        // Only a `#` in the first column begins a comment.
        assert!(excludes("  #x", "#x"));
    }

    #[test]
    fn patterns_are_cleaned_like_paths() {
        assert!(excludes("./a//b/", "a/b"));
        assert!(excludes("a/../b", "b"));
        assert!(excludes("/../b", "b"));
        assert!(!excludes("../b", "b"));
        assert!(!excludes(".", "b"));
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        for text in ["!", "[", "[^", "[^bc", "a[", "[]a]", "[-]", "[x-]", "[a-b-c]", "a*\\"] {
            assert!(Dockerignore::parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_needed_file_is_kept_whatever_the_patterns_say() {
        let mut ignore = Dockerignore::parse("*\nsub").unwrap();
        assert!(!ignore.has_exceptions());
        ignore.keep("Dockerfile");
        ignore.keep("sub/Dockerfile.prod");
        assert!(ignore.has_exceptions());
        assert!(!ignore.excludes("Dockerfile"));
        assert!(!ignore.excludes("sub/Dockerfile.prod"));
        assert!(ignore.excludes("sub/other"));
    }

    #[test]
    fn a_stranger_cannot_make_the_match_slow() {
        let pattern = "a*".repeat(200) + "b";
        assert!(!excludes(&pattern, &"a".repeat(1_000)));
        assert!(!excludes(&("**/".repeat(10) + "b?"), &("a/".repeat(500) + "a")));
    }

    #[test]
    fn no_patterns_keep_nothing_out() {
        assert!(!excludes("", "any/path/there"));
    }
}
