//! Which release does the owner mean by `rollback`? Pure: the records in, a deployment or a refusal out.

use crate::clients::store::Deployment;
use crate::model::ProjectName;
use crate::model::Release;

/// What is on record of a project.
#[derive(Debug, Clone, Copy)]
pub(super) struct Records<'a> {
    pub(super) project: &'a ProjectName,
    /// What serves.
    pub(super) current: &'a Release,
    /// What served before it, whose container stands ready.
    pub(super) previous: Option<&'a Deployment>,
    /// Everything that held, newest first.
    pub(super) held: &'a [Deployment],
}

/// The release to go back to.
pub(super) fn way_back<'a>(records: &Records<'a>, to: Option<&str>) -> Result<&'a Release, String> {
    let found = match to {
        None => before_current(records)?,
        Some(text) => match text.strip_prefix('#') {
            Some(number) => by_run(records, number).ok_or_else(|| unknown(records, text))?,
            None => by_either(records, text)?,
        },
    };
    if found.digest == records.current.digest {
        return Err(format!("{found} is what is deployed"));
    }
    Ok(found)
}

fn before_current<'a>(records: &Records<'a>) -> Result<&'a Release, String> {
    let is_other = |deployment: &&Deployment| deployment.release.digest != records.current.digest;
    let found = records.previous.filter(is_other).or_else(|| records.held.iter().find(is_other));
    found.map(|deployment| &deployment.release).ok_or_else(|| {
        let (project, current) = (records.project, records.current);
        format!(
            "nothing was deployed before {current}: `homeport deploy {project} TAG` takes any tag on Docker Hub"
        )
    })
}

fn by_run<'a>(records: &Records<'a>, number: &str) -> Option<&'a Release> {
    let number: u64 = number.parse().ok()?;
    records.held.iter().find(|deployment| deployment.run.0 == number).map(|deployment| &deployment.release)
}

/// Tags may be numbers too: where a word can be read in two ways that differ, the owner has to say which.
fn by_either<'a>(records: &Records<'a>, text: &str) -> Result<&'a Release, String> {
    let by_tag = records.held.iter().map(|deployment| &deployment.release);
    let by_tag = by_tag.into_iter().find(|release| release.tag.as_str() == text);
    match (by_tag, by_run(records, text)) {
        (Some(tagged), Some(numbered)) if tagged.digest != numbered.digest => {
            let project = records.project;
            Err(format!(
                "{text} is a tag ({tagged}) and a run (which deployed {numbered}): write `--to '#{text}'` for the \
                 run, or `homeport deploy {project} {text}` for the tag"
            ))
        }
        (Some(found), _) | (None, Some(found)) => Ok(found),
        (None, None) => Err(unknown(records, text)),
    }
}

fn unknown(records: &Records<'_>, text: &str) -> String {
    const SHOWN: usize = 5;
    let known = records.held.iter().take(SHOWN);
    let known: Vec<String> = known.map(|d| format!("{} (run {})", d.release.tag, d.run)).collect();
    let project = records.project;
    format!(
        "{text} is neither a tag nor a run that held here; the newest that did: {}. `homeport deploy {project} TAG` \
         takes any tag on Docker Hub",
        known.join(", ")
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::collections::BTreeMap;
    use std::time::Duration;

    use chrono::DateTime;

    use super::*;
    use crate::config::settings::ContainerSpec;
    use crate::config::settings::Proof;
    use crate::model::RunNumber;

    fn deployment(run: u64, tag: &str) -> Deployment {
        let digest = format!("sha256:{}", tag.repeat(64).get(..64).unwrap());
        Deployment {
            run: RunNumber(run),
            release: Release { tag: tag.parse().unwrap(), digest: digest.parse().unwrap() },
            container: "abc".parse().unwrap(),
            image_id: String::new(),
            replaced: None,
            spec: ContainerSpec {
                name: "web".parse().unwrap(),
                ports: Vec::new(),
                env: BTreeMap::new(),
                volumes: Vec::new(),
                labels: BTreeMap::new(),
                network: None,
                stop_grace: Duration::from_secs(1),
                proof: Proof::default(),
            },
            deployed_at: DateTime::UNIX_EPOCH,
        }
    }

    /// Run 6 deployed tag 3, run 4 tag 2, run 2 tag 1; 3 serves.
    fn goes(previous: Option<u64>, to: Option<&str>) -> String {
        let held = [deployment(6, "3"), deployment(4, "2"), deployment(2, "1")];
        let previous = previous.and_then(|run| held.iter().find(|d| d.run.0 == run));
        let records =
            Records { project: &"web".parse().unwrap(), current: &held[0].release, previous, held: &held };
        way_back(&records, to).map_or_else(|refusal| refusal, |release| release.tag.to_string())
    }

    #[test]
    fn without_a_word_it_is_the_one_before() {
        assert_eq!(goes(Some(4), None), "2");
        assert_eq!(goes(None, None), "2");
    }

    #[test]
    fn a_word_is_a_tag_or_a_run_that_held() {
        assert_eq!(goes(Some(4), Some("1")), "1");
        assert_eq!(goes(Some(4), Some("4")), "2");
        assert_eq!(goes(Some(4), Some("#2")), "1");
    }

    #[test]
    fn a_word_that_may_be_both_is_asked_back() {
        let refusal = goes(Some(4), Some("2"));
        assert!(refusal.contains("`--to '#2'` for the run"), "{refusal}");
    }

    #[test]
    fn what_never_held_and_what_serves_are_refused_with_the_way_out() {
        let refusal = goes(Some(4), Some("9"));
        assert!(refusal.contains("3 (run 6), 2 (run 4), 1 (run 2)"), "{refusal}");
        assert!(goes(Some(4), Some("3")).ends_with("is what is deployed"));
    }
}
