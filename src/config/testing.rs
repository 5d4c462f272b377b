//! Resolving the tests of a project: where they run, what they are, what they may take. See [`resolve`].
//!
//! [`resolve`]: crate::config::resolve

use crate::config::building;
use crate::config::image;
use crate::config::path::JsonPath;
use crate::config::problem::Problems;
use crate::config::project::Test;
use crate::config::project::TestCommands;
use crate::config::project::TestPlace;
use crate::config::project::default_test_timeout;
use crate::config::settings::TestPlan;
use crate::config::settings::TestTerms;

/// The tests of a project.
pub fn tests(written: Option<Test>, path: &JsonPath, problems: &mut Problems<'_>) -> Option<TestPlan> {
    match written {
        None => Some(TestPlan::Detect(TestTerms {
            timeout: default_test_timeout().get(),
            network: None,
            cache: true,
        })),
        Some(Test::Word(_)) => Some(TestPlan::None),
        Some(Test::Commands(written)) => test_commands(written, path, problems),
    }
}

fn test_commands(written: TestCommands, path: &JsonPath, problems: &mut Problems<'_>) -> Option<TestPlan> {
    let timeout = building::timeout(written.timeout, &path.key("timeout"), problems)?;
    let terms = TestTerms { timeout, network: written.network, cache: written.cache.unwrap_or(true) };
    for (index, command) in written.commands.iter().enumerate() {
        if command.trim().is_empty() || command.contains('\0') {
            problems.refuse(
                &path.key("commands").index(index),
                "this is no command: write what a shell would run",
            );
        }
    }
    let has_commands = !written.commands.is_empty();
    let place_of_its_own = matches!(written.place, Some(TestPlace::Host(_) | TestPlace::Dockerfile(_)));
    if place_of_its_own && written.cache == Some(true) {
        problems.refuse(&path.key("cache"), "only tests in an `image` have a cache: remove this key");
    }
    match &written.place {
        None if has_commands => problems.refuse(
            &path.key("in"),
            "missing: where the commands run, such as `{\"image\": \"python:3.12-slim\"}` or `\"host\"`",
        ),
        None => return Some(TestPlan::Detect(terms)),
        Some(TestPlace::Host(_)) => {
            require_commands(has_commands, path, problems);
            if written.network.is_some() {
                problems.refuse(
                    &path.key("network"),
                    "tests on the host have this machine's network: remove this key, or test in an `image`",
                );
            }
        }
        Some(TestPlace::Image(place)) => {
            problems.keep(&path.key("in").key("image"), image::reference(&place.image));
            require_commands(has_commands, path, problems);
        }
        Some(TestPlace::Dockerfile(place)) => {
            let place_path = path.key("in");
            problems.keep(&place_path.key("dockerfile"), image::repository_path(&place.dockerfile));
            if let Some(target) = &place.target {
                problems.keep(&place_path.key("target"), image::build_stage(target));
            }
        }
    }
    Some(TestPlan::Run { place: written.place?, commands: written.commands, terms })
}

fn require_commands(has_commands: bool, path: &JsonPath, problems: &mut Problems<'_>) {
    if !has_commands {
        problems.refuse(&path.key("commands"), "missing: what to run, such as `[\"pytest -q\"]`");
    }
}
