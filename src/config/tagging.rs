//! How versions are tagged, as the owner writes it. See [`crate::config::project`].

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// How versions are tagged.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TagRule {
    /// The scheme. Default `counter`.
    pub scheme: TagSchemeName,
    /// Under `semver`: which part the next version raises, `patch`, `minor`, `major`, or `conventional`, as the messages
    /// of the commits since the last version say by the marks of Conventional Commits. Default `patch`.
    pub bump: Option<BumpRule>,
}

/// Which part of a semantic version the next version raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BumpRule {
    /// 1.2.3 is followed by 1.2.4.
    #[default]
    Patch,
    /// 1.2.3 is followed by 1.3.0.
    Minor,
    /// 1.2.3 is followed by 2.0.0.
    Major,
    /// As the messages of all commits since the last version say: `feat:` raises the minor number, `!` before the colon
    /// or a footer `BREAKING CHANGE:` the major one, or the minor one as long as the version is 0.y.z; all else the patch number.
    Conventional,
}

/// The schemes by which versions are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TagSchemeName {
    /// `1`, `2`, `3` …
    #[default]
    Counter,
    /// `1.2.3`, the patch number counting up.
    Semver,
    /// `2026.11.3`: year, month and a number counting up within the month.
    Calver,
    /// The first twelve digits of the commit; the newest push is the newest version.
    Commit,
}
