//! Resolving how an image is built: files, arguments, secrets. See [`resolve`].
//!
//! [`resolve`]: crate::config::resolve

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

use crate::config::duration::Interval;
use crate::config::image;
use crate::config::mounts;
use crate::config::path::JsonPath;
use crate::config::problem::Problems;
use crate::config::project::BumpRule;
use crate::config::project::Image;
use crate::config::project::TagRule;
use crate::config::project::TagSchemeName;
use crate::config::resolve;
use crate::config::secret::SecretReader;
use crate::config::secret::SecretSource;
use crate::config::secret::Shape;
use crate::config::settings::BuildSettings;

const DEFAULT_BUILD_TIMEOUT: Interval = Interval::from_secs(3600);
/// The most letters of a secret's id: it is the name of a file in the build.
const LONGEST_SECRET_ID: usize = 128;

/// What is built, out of what and how it is named. `None` is a refusal.
pub fn build(
    written: Image,
    path: &JsonPath,
    reader: SecretReader<'_>,
    problems: &mut Problems<'_>,
) -> Option<BuildSettings> {
    let context = written.context.as_deref().unwrap_or(".");
    let context = problems.keep(&path.key("context"), image::repository_path(context));
    let dockerfile = dockerfile(written.dockerfile.as_deref(), context.as_deref(), path, problems);
    if let Some(target) = &written.target {
        problems.keep(&path.key("target"), image::build_stage(target));
    }
    let args = written.args.unwrap_or_default();
    for (name, value) in &args {
        let checked = mounts::variable(name).and_then(|()| mounts::variable_value(value));
        problems.keep(&path.key("args").key(name), checked);
    }
    let secrets = secrets(written.secrets.unwrap_or_default(), &path.key("secrets"), reader, problems);
    let also = written.also.unwrap_or_default();
    for (index, tag) in also.iter().enumerate() {
        problems.keep(&path.key("also").index(index), image::moving_tag(tag, written.tag.scheme));
    }
    let bump = bump(&written.tag, &path.key("tag").key("bump"), problems);
    let timeout = timeout(written.timeout.unwrap_or(DEFAULT_BUILD_TIMEOUT), &path.key("timeout"), problems);
    Some(BuildSettings {
        dockerfile: dockerfile?,
        context: context?,
        target: written.target,
        args,
        secrets: secrets?,
        bump,
        also,
        timeout: timeout?,
    })
}

/// Only a semantic version has parts that mean something.
fn bump(written: &TagRule, path: &JsonPath, problems: &mut Problems<'_>) -> BumpRule {
    if written.bump.is_some() && written.scheme != TagSchemeName::Semver {
        problems.refuse(
            path,
            "only versions of the scheme `semver` have parts to raise: remove it, or set that scheme",
        );
    }
    written.bump.unwrap_or_default()
}

/// The Dockerfile's path below the context.
fn dockerfile(
    written: Option<&str>,
    context: Option<&str>,
    path: &JsonPath,
    problems: &mut Problems<'_>,
) -> Option<String> {
    let path = path.key("dockerfile");
    let Some(text) = written else { return Some("Dockerfile".to_owned()) };
    let in_repository = problems.keep(&path, image::repository_path(text))?;
    problems.keep(&path, image::below_context(&in_repository, context?))
}

/// The secrets of a build. All that is wrong is told; the outer `None` is a refusal.
fn secrets(
    written: BTreeMap<String, SecretSource>,
    path: &JsonPath,
    reader: SecretReader<'_>,
    problems: &mut Problems<'_>,
) -> Option<BTreeMap<String, SecretString>> {
    let read = written.iter().map(|(id, source)| {
        let path = path.key(id);
        let id = problems.keep(&path, secret_id(id));
        let secret = resolve::secret(source, Shape::Text, &path, reader, problems);
        Some((id?, secret?))
    });
    read.collect::<Vec<_>>().into_iter().collect()
}

/// Refuses what cannot be written in a `--mount` as it is, or names no file in `/run/secrets`.
fn secret_id(text: &str) -> Result<String, String> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if begins_well && text.chars().all(is_known) && text.len() <= LONGEST_SECRET_ID {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "the id of a secret has letters, digits, `_`, `.` and `-`, starts with a letter, a digit or `_`, and has \
             at most {LONGEST_SECRET_ID} of them: it is the file `/run/secrets/ID` in the build"
        ))
    }
}

/// A duration that lets something happen.
pub fn timeout(written: Interval, path: &JsonPath, problems: &mut Problems<'_>) -> Option<Duration> {
    if written.get().is_zero() {
        problems.refuse(path, "nothing ends in no time: write a duration such as `15m`");
        return None;
    }
    Some(written.get())
}
