//! The part of a tree that lies on or below some paths: what the lines of a Dockerfile copy.
//!
//! Takes paths of a stranger's Dockerfile, gives which files of a stranger's tree they may mean. Links inside the tree
//! are followed as the builder will follow them; none leads out of it. Where that is not worth the trouble, more is
//! given than was asked for, never less.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

/// How many links are followed before the whole tree is given. Links can lead to each other without end.
const MOST_LINKS: usize = 256;

/// A part of a tree, or the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part(Option<BTreeSet<PathBuf>>);

impl Part {
    /// The whole tree.
    pub(super) const WHOLE: Self = Self(None);

    /// What `paths` mean in the tree below `root`.
    pub(super) fn of(root: &Path, paths: &[String]) -> Self {
        let mut found = BTreeSet::new();
        let mut waiting: Vec<PathBuf> = paths.iter().map(|path| inside(Path::new(path))).collect();
        let mut links = 0;
        while let Some(path) = waiting.pop() {
            let (reached, beyond) = follow(root, &path);
            links += beyond.len();
            if reached.as_os_str().is_empty() || links > MOST_LINKS {
                return Self::WHOLE;
            }
            found.insert(reached);
            waiting.extend(beyond);
        }
        Self(Some(found))
    }

    /// Whether the entry at `path` belongs to it.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.0.as_ref().is_none_or(|found| path.ancestors().any(|above| found.contains(above)))
    }

    /// Whether the entry at `path` belongs to it, or something below it may.
    pub(super) fn touches(&self, path: &Path) -> bool {
        let below = |found: &BTreeSet<PathBuf>| {
            found.range(path.to_owned()..).next().is_some_and(|next| next.starts_with(path))
        };
        self.has(path) || self.0.as_ref().is_some_and(below)
    }
}

/// Goes down a path as far as it is plain and leads somewhere. Gives what was reached, and where it goes on from there:
/// where a link leads, or, of a pattern, all links beside each other that it may mean. Whatever else it means is below.
fn follow(root: &Path, path: &Path) -> (PathBuf, Vec<PathBuf>) {
    let mut reached = PathBuf::new();
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        if is_pattern(part) {
            let beyond =
                targets_in(root, &reached).map(|target| inside(&reached.join(target).join(parts.as_path())));
            return (reached.clone(), beyond.collect());
        }
        let above = reached.clone();
        reached.push(part);
        match fs::read_link(root.join(&reached)) {
            Ok(target) => return (reached, vec![inside(&above.join(target).join(parts.as_path()))]),
            // What is there and no link.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            // Nothing is there, nor below it.
            Err(_) => break,
        }
    }
    (reached, Vec::new())
}

/// Where the links lead that lie in a folder.
fn targets_in(root: &Path, folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(root.join(folder)).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| fs::read_link(entry.path()).ok())
}

fn is_pattern(part: Component<'_>) -> bool {
    part.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[\\".contains(byte))
}

/// The path as one below the root, which nothing leads out of: the builder takes it so, too.
fn inside(path: &Path) -> PathBuf {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::ParentDir => {
                inside.pop();
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => inside.clear(),
        }
    }
    inside
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::Part;

    /// Which of the tree's entries a part touches, of those named.
    fn given(tree: &Path, paths: &[&str]) -> Vec<&'static str> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let part = Part::of(tree, &paths);
        let all = ["app", "app/a.py", "app.py", "docs", "docs/deep/x", "link", "loop", "one/l", "up"];
        all.into_iter().filter(|path| part.has(Path::new(path))).collect()
    }

    #[test]
    fn only_what_is_on_or_below_the_paths_is_given_and_links_are_followed_inside_the_tree() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("docs/deep")).unwrap();
        fs::create_dir(tree.path().join("app")).unwrap();
        fs::create_dir(tree.path().join("one")).unwrap();
        fs::write(tree.path().join("app/a.py"), "").unwrap();
        for (link, target) in [
            ("link", "docs"),
            ("loop", "loop"),
            ("up", "../../app"),
            ("docs/abs", "/app.py"),
            ("one/l", "../app.py"),
        ] {
            symlink(target, tree.path().join(link)).unwrap();
        }
        for (paths, expected) in [
            (&["app"][..], &["app", "app/a.py"][..]),
            (&["/app/", "./app.py"], &["app", "app/a.py", "app.py"]),
            (&["app/a.py"], &["app/a.py"]),
            (&["nothing"], &[]),
            (&["link/deep"], &["docs/deep/x", "link"]),
            (&["docs/deep/../../../etc"], &[]),
            (&["up"], &["app", "app/a.py", "up"]),
            (&["docs/abs"], &["app.py"]),
            (&["app/*.py"], &["app", "app/a.py"]),
            (&["app", "docs/[d]eep/x"], &["app", "app/a.py", "app.py", "docs", "docs/deep/x"]),
            (&["one/*"], &["app.py", "one/l"]),
            (&["app/a.py/x"], &[]),
        ] {
            assert_eq!(given(tree.path(), paths), expected, "{paths:?}");
        }
    }

    #[test]
    fn what_is_too_much_to_follow_is_the_whole_tree() {
        let tree = tempfile::tempdir().unwrap();
        symlink("loop", tree.path().join("loop")).unwrap();
        symlink("..", tree.path().join("root")).unwrap();
        for paths in [&["."][..], &["*.py"], &["app", "/"], &["loop"], &["root"], &["**/x"]] {
            let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
            assert_eq!(Part::of(tree.path(), &paths), Part::WHOLE, "{paths:?}");
        }
        assert!(Part::WHOLE.has(Path::new("a/b")) && Part::WHOLE.touches(Path::new("a")));
    }

    #[test]
    fn a_path_that_goes_on_where_nothing_is_takes_no_time() {
        let tree = tempfile::tempdir().unwrap();
        let part = Part::of(tree.path(), &["a/".repeat(4_000_000)]);
        assert!(part.touches(Path::new("a")) && !part.touches(Path::new("b")));
    }

    #[test]
    fn the_way_to_a_part_is_touched_and_what_only_begins_like_it_is_not() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("a/b")).unwrap();
        let part = Part::of(tree.path(), &["a/b/c".to_owned(), "ab".to_owned()]);
        for (path, touched) in
            [("a", true), ("a/b", true), ("a/b/c/d", true), ("a/c", false), ("ab", true), ("b", false)]
        {
            assert_eq!(part.touches(Path::new(path)), touched, "{path}");
        }
        assert!(!part.has(Path::new("a")));
    }
}
