//! Is the container that serves still what the configuration asks for?
//!
//! Takes what it was made from and what is wanted; gives the decision about images back, or a deployment of the
//! same content with the changed configuration. A newer image that is due brings the configuration along.

use crate::config::settings::ContainerSpec;
use crate::decide::listing::ImageDecision;
use crate::model::Release;

/// What the configuration asks of the container that serves.
#[derive(Debug, Clone, Copy)]
pub struct SpecQuestion<'a> {
    /// What serves.
    pub serving: &'a Release,
    /// What its container was made from.
    pub made_from: &'a ContainerSpec,
    /// What the configuration says now.
    pub wanted: &'a ContainerSpec,
    /// The configuration with which this content failed, if it did; it is not tried again.
    pub refused: Option<&'a ContainerSpec>,
}

/// The decision, where the configuration has changed.
pub fn with_changed_spec(decision: ImageDecision, question: &SpecQuestion<'_>) -> ImageDecision {
    match decision {
        ImageDecision::Due { .. } => return decision,
        ImageDecision::EmptyListing
        | ImageDecision::UpToDate { .. }
        | ImageDecision::Quarantined { .. }
        | ImageDecision::Nothing { .. } => {}
    }
    let changed = changed_keys(question.made_from, question.wanted);
    if changed.is_empty() {
        return decision;
    }
    let changed = changed.join(", ");
    let release = question.serving;
    if question.refused.is_some_and(|refused| is_refused(refused, question.wanted)) {
        let why = format!(
            "{release} stays as it is: with the changed configuration ({changed}) it failed, which is not tried again"
        );
        return ImageDecision::UpToDate { why };
    }
    ImageDecision::Due {
        tag: release.tag.clone(),
        digest: Some(release.digest.clone()),
        reason: format!("the configuration has changed ({changed}), so {release} is deployed again with it"),
    }
}

/// What failed may have been the question alone, so one that asks another is another.
fn is_refused(refused: &ContainerSpec, wanted: &ContainerSpec) -> bool {
    changed_keys(refused, wanted).is_empty() && refused.proof == wanted.proof
}

/// The keys of `deploy` in which two containers differ. The time that a stop may take, and what it is asked, are no
/// part of a container.
fn changed_keys(one: &ContainerSpec, other: &ContainerSpec) -> Vec<&'static str> {
    let ContainerSpec { name, ports, env, volumes, labels, network, stop_grace: _, proof: _ } = one;
    let compared = [
        ("container", *name == other.name),
        ("ports", *ports == other.ports),
        ("env", *env == other.env),
        ("volumes", *volumes == other.volumes),
        ("labels", *labels == other.labels),
        ("network", *network == other.network),
    ];
    compared.into_iter().filter(|(_, is_equal)| !is_equal).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::config::settings::Proof;

    fn spec(env: &str) -> ContainerSpec {
        ContainerSpec {
            name: "web".parse().unwrap(),
            ports: Vec::new(),
            env: BTreeMap::from([("A".to_owned(), env.to_owned())]),
            volumes: Vec::new(),
            labels: BTreeMap::new(),
            network: None,
            stop_grace: Duration::from_secs(1),
            proof: Proof::default(),
        }
    }

    fn asking(path: &str) -> Proof {
        Proof { http: Some(path.to_owned()), port: None }
    }

    fn release() -> Release {
        Release { tag: "7".parse().unwrap(), digest: format!("sha256:{}", "7".repeat(64)).parse().unwrap() }
    }

    fn decided(
        decision: ImageDecision,
        wanted: &ContainerSpec,
        refused: Option<&ContainerSpec>,
    ) -> ImageDecision {
        let question = SpecQuestion { serving: &release(), made_from: &spec("b"), wanted, refused };
        with_changed_spec(decision, &question)
    }

    fn up_to_date() -> ImageDecision {
        ImageDecision::UpToDate { why: "nothing newer".to_owned() }
    }

    #[test]
    fn the_same_configuration_changes_nothing() {
        assert_eq!(decided(up_to_date(), &spec("b"), None), up_to_date());
        let patient = ContainerSpec { stop_grace: Duration::from_secs(60), ..spec("b") };
        assert_eq!(decided(up_to_date(), &patient, None), up_to_date());
        let asked = ContainerSpec { proof: asking("/up"), ..spec("b") };
        assert_eq!(decided(up_to_date(), &asked, None), up_to_date());
    }

    #[test]
    fn a_changed_one_deploys_the_same_content_again_also_when_nothing_is_listed() {
        for decision in [up_to_date(), ImageDecision::EmptyListing] {
            let ImageDecision::Due { tag, digest, reason } = decided(decision, &spec("c"), None) else {
                panic!("not due")
            };
            assert_eq!((tag, digest), (release().tag, Some(release().digest)));
            assert!(reason.contains("(env)"), "{reason}");
        }
    }

    #[test]
    fn one_that_failed_is_not_tried_again_until_it_is_changed() {
        let refused = decided(up_to_date(), &spec("c"), Some(&spec("c")));
        assert!(matches!(refused, ImageDecision::UpToDate { .. }), "{refused:?}");
        let changed = decided(up_to_date(), &spec("d"), Some(&spec("c")));
        assert!(matches!(changed, ImageDecision::Due { .. }), "{changed:?}");
        let asked = ContainerSpec { proof: asking("/up"), ..spec("c") };
        let asked_otherwise = decided(up_to_date(), &asked, Some(&spec("c")));
        assert!(matches!(asked_otherwise, ImageDecision::Due { .. }), "{asked_otherwise:?}");
    }

    #[test]
    fn a_newer_image_brings_the_configuration_along() {
        let newer = ImageDecision::Due { tag: "8".parse().unwrap(), digest: None, reason: String::new() };
        assert_eq!(decided(newer.clone(), &spec("c"), None), newer);
    }
}
