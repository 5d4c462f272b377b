//! The rules for what is built and how it is named: image names and registries, moving tags, platforms, and paths
//! in the repository. Pure.

use crate::config::project::TagSchemeName;
use crate::model::ImageName;
use crate::model::Platform;
use crate::model::Tag;

/// Docker Hub in the form in which a registry is named.
pub const DOCKER_HUB: &str = "docker.io";

/// Whether images are pushed under a name, or only pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Built and pushed here.
    Pushed,
    /// Pulled only.
    Pulled,
}

/// Refuses a name that the registry cannot hold.
pub fn name_in(name: &ImageName, registry: &str, usage: Use) -> Result<(), String> {
    let parts: Vec<&str> = name.as_str().split('/').collect();
    match parts.as_slice() {
        [first, rest @ ..] if !rest.is_empty() && (first.contains('.') || *first == "localhost") => {
            Err(format!(
                "`{name}` begins with a registry: write `{}` here and `{first}` as `docker_hub.registry`",
                rest.join("/")
            ))
        }
        [single] if registry == DOCKER_HUB && usage == Use::Pushed => Err(format!(
            "`{single}` would be pushed to Docker Hub's own `library/{single}`, which nobody may: write `ACCOUNT/{single}`"
        )),
        ["library", _] if registry == DOCKER_HUB && usage == Use::Pushed => Err(format!(
            "`{name}` is one of Docker Hub's own images, to which nobody may push: write `ACCOUNT/NAME`"
        )),
        [_, _, _, ..] if registry == DOCKER_HUB => {
            Err(format!("`{name}` has too many parts: on Docker Hub an image is `ACCOUNT/NAME`"))
        }
        _ => Ok(()),
    }
}

/// Refuses a moving tag that would be taken for a version.
pub fn moving_tag(tag: &Tag, scheme: TagSchemeName) -> Result<(), String> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let numbers = |text: &str| text.split('.').filter(|part| is_number(part)).count();
    let text = tag.as_str();
    let is_version = match scheme {
        TagSchemeName::Counter => is_number(text),
        TagSchemeName::Semver => {
            let bare = text.strip_prefix('v').unwrap_or(text);
            let core = bare.split(['-', '+']).next().unwrap_or_default();
            numbers(core) == 3 && core.split('.').count() == 3
        }
        TagSchemeName::Calver => numbers(text) == 3 && text.split('.').count() == 3,
        TagSchemeName::Commit => {
            text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        }
    };
    if is_version {
        Err(format!(
            "`{tag}` would be taken for a version of the scheme: a moving tag is a word such as `latest`"
        ))
    } else {
        Ok(())
    }
}

/// Refuses what is not a Linux platform in Go's spelling.
pub fn platform(text: &str) -> Result<String, String> {
    const KNOWN: [&str; 9] =
        ["amd64", "arm64", "arm", "386", "riscv64", "ppc64le", "s390x", "loong64", "mips64le"];
    const MEANT: [(&str, &str); 8] = [
        ("x86_64", "amd64"),
        ("x64", "amd64"),
        ("aarch64", "arm64"),
        ("armv8", "arm64"),
        ("armv7", "arm/v7"),
        ("armv7l", "arm/v7"),
        ("armhf", "arm/v7"),
        ("armv6l", "arm/v6"),
    ];
    let machine = text.strip_prefix("linux/").unwrap_or(text);
    if let Some((_, meant)) = MEANT.iter().find(|(word, _)| *word == machine) {
        return Err(format!("`{text}` is not a platform in Docker's spelling: write `linux/{meant}`"));
    }
    if KNOWN.contains(&text) {
        return Err(format!("`{text}` names no operating system: write `linux/{text}`"));
    }
    match text.parse::<Platform>() {
        Ok(platform) if platform.os == "linux" && KNOWN.contains(&platform.architecture.as_str()) => {
            Ok(text.to_owned())
        }
        Ok(_) | Err(_) => Err(format!("`{text}` is not a platform such as `linux/arm64` or `linux/arm/v7`")),
    }
}

/// The path of something in the repository, in its plainest form: without `.` parts and slashes at the end; `.` for
/// the repository's root.
pub fn repository_path(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("this names no path: leave the key out to have its default".to_owned());
    }
    if text.starts_with(['/', '~']) || text.contains("://") {
        return Err(format!("`{text}` must be a path within the repository, relative to its root"));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(format!("`{text}` must not lead out of the repository by `..`"));
    }
    if text.contains('\\') || text.chars().any(char::is_control) || text.starts_with('-') {
        return Err(format!("`{text}` must not start with `-` or contain backslashes or control characters"));
    }
    Ok(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

/// The Dockerfile's path below the context, both given as paths in the repository.
pub fn below_context(dockerfile: &str, context: &str) -> Result<String, String> {
    if context == "." {
        return Ok(dockerfile.to_owned());
    }
    let below = dockerfile.strip_prefix(context).and_then(|rest| rest.strip_prefix('/'));
    below.map(str::to_owned).ok_or_else(|| {
        format!(
            "`{dockerfile}` lies outside the context `{context}`, and only that is sent to the build: write \
             `{context}/{dockerfile}` if it is there, or leave `context` out"
        )
    })
}

/// Refuses what is not the name of a stage in a Dockerfile (`FROM … AS NAME`), or its number.
pub fn build_stage(text: &str) -> Result<(), String> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_known) {
        Ok(())
    } else {
        Err(format!("`{text}` is not the name of a stage, as in `FROM … AS NAME`"))
    }
}

/// Refuses what is not the reference of an image, `python:3.12-slim` or `HOST:PORT/NAME@sha256:…`.
pub fn reference(text: &str) -> Result<(), String> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "_.-/:@[]".contains(c);
    let name = text.rsplit_once('/').map_or(text, |(_, name)| name);
    let name = name.split([':', '@']).next().unwrap_or_default();
    let is_name = !name.is_empty() && !name.chars().any(|c| c.is_ascii_uppercase());
    if text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        && text.chars().all(is_known)
        && is_name
    {
        Ok(())
    } else {
        Err(format!("`{text}` is not an image such as `python:3.12-slim`"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn named(name: &str, registry: &str, usage: Use) -> Result<(), String> {
        name_in(&name.parse().unwrap(), registry, usage)
    }

    #[test]
    fn a_name_must_fit_its_registry() {
        assert_eq!(named("me/app", DOCKER_HUB, Use::Pushed), Ok(()));
        assert_eq!(named("app", DOCKER_HUB, Use::Pulled), Ok(()));
        assert_eq!(named("app", "pi:5000", Use::Pushed), Ok(()));
        assert_eq!(named("a/b/c", "pi:5000", Use::Pushed), Ok(()));
        assert!(named("app", DOCKER_HUB, Use::Pushed).is_err());
        assert!(named("library/app", DOCKER_HUB, Use::Pushed).is_err());
        assert!(named("a/b/c", DOCKER_HUB, Use::Pulled).is_err());
        assert_eq!(
            named("ghcr.io/me/app", DOCKER_HUB, Use::Pulled).unwrap_err(),
            "`ghcr.io/me/app` begins with a registry: write `me/app` here and `ghcr.io` as `docker_hub.registry`"
        );
    }

    #[test]
    fn a_moving_tag_is_no_version() {
        let is_moving = |tag: &str, scheme| moving_tag(&tag.parse().unwrap(), scheme).is_ok();
        assert!(is_moving("latest", TagSchemeName::Counter) && !is_moving("7", TagSchemeName::Counter));
        assert!(is_moving("1.2", TagSchemeName::Semver) && !is_moving("v1.2.3-rc.1", TagSchemeName::Semver));
        assert!(
            is_moving("2026.11", TagSchemeName::Calver) && !is_moving("2026.11.3", TagSchemeName::Calver)
        );
        assert!(
            is_moving("main", TagSchemeName::Commit) && !is_moving("0123456789ab", TagSchemeName::Commit)
        );
    }

    #[test]
    fn platforms_are_spelt_as_docker_does() {
        assert!(
            platform("linux/arm64").is_ok()
                && platform("linux/arm/v7").is_ok()
                && platform("linux/arm64/v8").is_ok()
        );
        assert_eq!(platform("arm64").unwrap_err(), "`arm64` names no operating system: write `linux/arm64`");
        assert_eq!(
            platform("linux/aarch64").unwrap_err(),
            "`linux/aarch64` is not a platform in Docker's spelling: write `linux/arm64`"
        );
        assert!(
            platform("windows/amd64").is_err()
                && platform("linux/arm/v7/x").is_err()
                && platform("").is_err()
        );
    }

    #[test]
    fn paths_stay_within_the_repository() {
        assert_eq!(repository_path("./docker//app/"), Ok("docker/app".to_owned()));
        assert_eq!(repository_path("./"), Ok(".".to_owned()));
        for text in ["", "/etc", "~/a", "..", "a/../../b", "https://example.org/x.tar", "a\\b", "-f", "a\nb"]
        {
            assert!(repository_path(text).is_err(), "{text}");
        }
        assert_eq!(below_context("app/Dockerfile", "app"), Ok("Dockerfile".to_owned()));
        assert_eq!(below_context("Dockerfile", "."), Ok("Dockerfile".to_owned()));
        assert!(
            below_context("Dockerfile", "app").is_err() && below_context("apple/Dockerfile", "app").is_err()
        );
    }

    #[test]
    fn references_and_stages_are_plain_words() {
        for text in ["python:3.12-slim", "alpine", "ghcr.io/me/app:1", "pi:5000/x@sha256:ab"] {
            assert_eq!(reference(text), Ok(()), "{text}");
        }
        for text in ["", "-v", "Python", "a b", "me/", ":1"] {
            assert!(reference(text).is_err(), "{text}");
        }
        assert!(build_stage("test").is_ok() && build_stage("").is_err() && build_stage("-x").is_err());
    }
}
