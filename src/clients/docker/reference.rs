//! The name by which an image is asked for. Pure.
//!
//! Takes what the owner wrote or the parts homeport knows, gives one spelling: the one Docker itself shows, with
//! `docker.io/` and `library/` left away. So a reference can be compared with what an inspection lists, and can
//! be put into a request path as it is.

use std::fmt;
use std::str::FromStr;

use crate::model::Digest;
use crate::model::ImageName;
use crate::model::InvalidName;
use crate::model::Tag;

/// An image in a registry or on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageReference {
    repository: String,
    version: Version,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Version {
    Tag(Tag),
    Digest(Digest),
}

impl ImageReference {
    /// A tag of an image in a registry; `registry` is `docker.io` or `HOST[:PORT]`.
    pub fn tagged(registry: &str, name: &ImageName, tag: &Tag) -> Self {
        Self { repository: repository(registry, name.as_str()), version: Version::Tag(tag.clone()) }
    }

    /// Exactly one content of an image in a registry.
    pub fn pinned(registry: &str, name: &ImageName, digest: &Digest) -> Self {
        Self { repository: repository(registry, name.as_str()), version: Version::Digest(digest.clone()) }
    }

    /// The repository of an image in a registry, as Docker shows it.
    pub fn repository_of(registry: &str, name: &ImageName) -> String {
        repository(registry, name.as_str())
    }

    /// The repository as Docker shows it: `python`, `me/hello`, `localhost:5000/me/hello`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The registry: `docker.io` or `HOST[:PORT]`.
    pub fn registry(&self) -> &str {
        self.repository.split_once('/').map(|(first, _)| first).filter(|f| is_host(f)).unwrap_or("docker.io")
    }

    /// The tag, if it is not a digest that is meant.
    pub const fn tag(&self) -> Option<&Tag> {
        match &self.version {
            Version::Tag(tag) => Some(tag),
            Version::Digest(_) => None,
        }
    }

    /// The digest, if one is meant.
    pub const fn digest(&self) -> Option<&Digest> {
        match &self.version {
            Version::Tag(_) => None,
            Version::Digest(digest) => Some(digest),
        }
    }

    /// The tag or digest in words, as the `tag` parameter of a pull takes either.
    pub(super) fn version(&self) -> &str {
        match &self.version {
            Version::Tag(tag) => tag.as_str(),
            Version::Digest(digest) => digest.as_str(),
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.digest().is_some() { '@' } else { ':' };
        write!(f, "{}{separator}{}", self.repository, self.version())
    }
}

impl FromStr for ImageReference {
    type Err = InvalidName;

    /// Reads `NAME[:TAG][@DIGEST]`; without either the tag is `latest`, and a digest beats a tag.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName {
            value: text.to_owned(),
            expected: "an image such as `python:3.12-slim` or `registry.example:5000/me/tools:1`",
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| invalid())?)),
            None => (text, None),
        };
        // A colon before the last slash belongs to a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            Some(_) | None => (rest, "latest"),
        };
        let (registry, name) = match name.split_once('/') {
            Some((first, name)) if is_host(first) => (first, name),
            Some(_) | None => ("docker.io", name),
        };
        let name: ImageName = name.parse().map_err(|_| invalid())?;
        let tag: Tag = tag.parse().map_err(|_| invalid())?;
        let is_sound = registry.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
            && registry.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c));
        match digest {
            _ if !is_sound => Err(invalid()),
            Some(digest) => Ok(Self::pinned(registry, &name, &digest)),
            None => Ok(Self::tagged(registry, &name, &tag)),
        }
    }
}

/// Docker's own rule for telling a registry from a namespace.
fn is_host(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':'])
}

fn repository(registry: &str, name: &str) -> String {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => {
            name.strip_prefix("library/").unwrap_or(name).to_owned()
        }
        _ => format!("{registry}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_reference_is_spelled_as_docker_shows_it() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (written, shown, registry) in [
            ("python", "python:latest", "docker.io"),
            ("python:3.12-slim", "python:3.12-slim", "docker.io"),
            ("docker.io/library/python:3", "python:3", "docker.io"),
            ("docker.io/me/hello:7", "me/hello:7", "docker.io"),
            ("localhost/x", "localhost/x:latest", "localhost"),
            ("127.0.0.1:5000/me/hello", "127.0.0.1:5000/me/hello:latest", "127.0.0.1:5000"),
            ("ghcr.io/o/n:1", "ghcr.io/o/n:1", "ghcr.io"),
            (&format!("python:3@{digest}"), &format!("python@{digest}"), "docker.io"),
        ] {
            let reference: ImageReference = written.parse().unwrap();
            assert_eq!(reference.to_string(), shown);
            assert_eq!(reference.registry(), registry);
        }
    }

    #[test]
    fn what_could_leave_the_request_path_is_refused() {
        for text in ["", "Python", "a b", "../x", "x:y:z", "x@sha256:12", "a/../b", "h?t.x/y", "x:", "a.b/"] {
            assert!(text.parse::<ImageReference>().is_err(), "{text:?} was accepted");
        }
    }
}
