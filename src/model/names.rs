//! Checked names: each is a text that was validated once, when it was made, so that a value of the type
//! can be put into a URL, a path or a command line of Docker or git without a second look.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// Why a text is not the noun it was meant to be. The sentence says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {expected}")]
pub struct InvalidName {
    /// The text that was refused.
    pub value: String,
    /// What would be right, as a noun phrase.
    pub expected: &'static str,
}

/// Declares a checked newtype over `String`: made only by `parse`, printed as it was written.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $is_valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(String);

        impl $name {
            /// The text as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let is_valid: fn(&str) -> bool = $is_valid;
                if is_valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { value: text.to_owned(), expected: $expected })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// A project's name: also a folder of `log_dir` and `state_dir`, hence the narrow alphabet.
    ProjectName,
    "a project name: lower-case letters, digits, `-`, `_` and `.`, at most 64, starting with a letter or digit",
    |text| text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c))
);

name_type!(
    /// A GitHub repository, `owner/name`.
    Repository,
    "a repository: write it as `owner/name`, without a host and without `.git`",
    is_repository
);

name_type!(
    /// A branch, by the rules of `git check-ref-format`; never starts with `-`, so it cannot pass for an option.
    Branch,
    "a branch name that git accepts",
    is_branch
);

name_type!(
    /// A full commit id: 40 lower-case hexadecimal digits.
    CommitSha,
    "a commit id of 40 lower-case hexadecimal digits",
    |text| text.len() == 40 && is_lower_hex(text)
);

name_type!(
    /// The first digits of a commit id, or all of them: 4 to 40 lower-case hexadecimal digits.
    CommitPrefix,
    "a commit id, or its first digits: 4 to 40 lower-case hexadecimal digits",
    |text| (4..=40).contains(&text.len()) && is_lower_hex(text)
);

name_type!(
    /// An image repository without registry and tag: `me/hello`, or `hello` for one without a namespace.
    ImageName,
    "an image name: lower-case `namespace/name`, without a registry and without a tag",
    is_image_name
);

name_type!(
    /// An image tag, by the grammar of the OCI distribution specification.
    Tag,
    "an image tag: letters, digits, `_`, `.` and `-`, at most 128, not starting with `.` or `-`",
    |text| (1..=128).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
);

name_type!(
    /// The content address of an image, `sha256:` and 64 hexadecimal digits.
    Digest,
    "a digest: `sha256:` followed by 64 lower-case hexadecimal digits",
    |text| text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && is_lower_hex(hex))
);

name_type!(
    /// The name of a container, by Docker's own rule.
    ContainerName,
    "a container name: letters, digits, `_`, `.` and `-`, at least two, starting with a letter or digit",
    |text| (2..=128).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
);

name_type!(
    /// The id Docker gave a container.
    ContainerId,
    "a container id: lower-case hexadecimal digits",
    |text| !text.is_empty() && is_lower_hex(text)
);

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_repository(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part.len() <= 100
            && !part.starts_with(['.', '-'])
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    !text.ends_with(".git")
        && text.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name))
}

fn is_branch(text: &str) -> bool {
    let is_component = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    !text.is_empty()
        && text.len() <= 244
        && text != "@"
        && !text.starts_with('-')
        && !text.ends_with('.')
        && !text.contains("..")
        && !text.contains("@{")
        && text.split('/').all(is_component)
        && !text.chars().any(|c| c.is_control() || c == '\u{7f}' || " ~^:?*[\\".contains(c))
}

fn is_image_name(text: &str) -> bool {
    // The distribution specification's path component: runs of [a-z0-9] joined by `.`, `_`, `__` or dashes.
    let is_component = |part: &str| {
        let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let separators_are_known = part
            .split(alphanumeric)
            .all(|sep| matches!(sep, "" | "." | "_" | "__") || sep.bytes().all(|b| b == b'-'));
        part.starts_with(alphanumeric) && part.ends_with(alphanumeric) && separators_are_known
    };
    text.len() <= 255 && text.split('/').all(is_component)
}

impl Repository {
    /// The part before the slash.
    pub fn owner(&self) -> &str {
        self.0.split_once('/').map_or("", |(owner, _)| owner)
    }

    /// The part behind the slash.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

impl ContainerName {
    /// The name of a container that belongs beside this one: `NAME.word`.
    pub fn beside(&self, word: &str) -> Self {
        Self(format!("{}.{word}", self.0))
    }
}

impl Repository {
    /// Whether both name the same repository: GitHub does not tell upper from lower case.
    pub fn eq_ignoring_case(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl CommitSha {
    /// Whether it begins with these digits.
    pub fn begins_with(&self, prefix: &CommitPrefix) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The first seven digits, as GitHub shows a commit.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl Digest {
    /// The first twelve digits behind `sha256:`, enough for a person.
    pub fn short(&self) -> &str {
        &self.0["sha256:".len().."sha256:".len() + 12]
    }
}
