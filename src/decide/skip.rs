//! Does a new commit ask for a run at all? GitHub's marks in its message may say that it does not, or the files that
//! changed since the last commit that a run judged. What is not known speaks for a run.

use crate::config::settings::FileFilter;
use crate::model::Changed;
use crate::model::CommitFacts;
use crate::model::any_matches;

/// Why a commit is not run, a clause; `None` if nothing speaks against it.
pub fn reason_to_skip(facts: &CommitFacts, filter: &FileFilter) -> Option<String> {
    if let Some(mark) = facts.skip {
        return Some(format!("its message says `{}`", mark.word()));
    }
    let Changed::Files { since, paths } = &facts.changed else { return None };
    let (is_wanted, key): (&dyn Fn(&String) -> bool, _) = match filter {
        FileFilter::All => return None,
        FileFilter::Only(globs) => (&|path| any_matches(globs, path), "outside of `paths`"),
        FileFilter::AllBut(globs) => (&|path| !any_matches(globs, path), "within `paths_ignore`"),
    };
    if paths.iter().any(is_wanted) {
        return None;
    }
    let since = since.short();
    Some(match paths.len() {
        0 => format!("it changes no file since {since}"),
        1 => format!("the one file changed since {since} is {key}"),
        count => format!("all {count} files changed since {since} are {key}"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::reason_to_skip;
    use crate::config::settings::FileFilter;
    use crate::model::Changed;
    use crate::model::CommitFacts;
    use crate::model::Glob;
    use crate::model::SkipMark;

    fn globs(patterns: &[&str]) -> Vec<Glob> {
        patterns.iter().map(|pattern| Glob::parse(pattern).unwrap()).collect()
    }

    fn changed(paths: &[&str]) -> CommitFacts {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let since = "1a2b3c4d".repeat(5).parse().unwrap();
        CommitFacts { changed: Changed::Files { since, paths }, ..CommitFacts::default() }
    }

    #[test]
    fn a_commit_is_run_for_one_file_among_those_that_matter() {
        let only = FileFilter::Only(globs(&["src/**", "!src/docs/**"]));
        assert_eq!(reason_to_skip(&changed(&["README.md", "src/main.rs"]), &only), None);
        assert_eq!(
            reason_to_skip(&changed(&["README.md", "src/docs/a.md"]), &only).unwrap(),
            "all 2 files changed since 1a2b3c4 are outside of `paths`"
        );
    }

    #[test]
    fn a_commit_is_run_for_one_file_beside_those_that_do_not_matter() {
        let all_but = FileFilter::AllBut(globs(&["docs/**", "**.md", "!docs/schema.md"]));
        assert_eq!(reason_to_skip(&changed(&["docs/a.txt", "Dockerfile"]), &all_but), None);
        assert_eq!(reason_to_skip(&changed(&["docs/schema.md"]), &all_but), None);
        assert_eq!(
            reason_to_skip(&changed(&["docs/a.txt"]), &all_but).unwrap(),
            "the one file changed since 1a2b3c4 is within `paths_ignore`"
        );
    }

    #[test]
    fn what_is_not_known_speaks_for_a_run_and_a_mark_against_it() {
        let only = FileFilter::Only(globs(&["src/**"]));
        assert_eq!(reason_to_skip(&CommitFacts::default(), &only), None);
        assert_eq!(reason_to_skip(&changed(&["README.md"]), &FileFilter::All), None);
        assert_eq!(reason_to_skip(&changed(&[]), &only).unwrap(), "it changes no file since 1a2b3c4");
        let marked = CommitFacts { skip: Some(SkipMark::NoCi), ..changed(&["src/main.rs"]) };
        assert_eq!(reason_to_skip(&marked, &only).unwrap(), "its message says `[no ci]`");
    }
}
