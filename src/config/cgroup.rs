//! The cgroup that builds run below, as the owner writes it, and what follows from it on an engine. Pure.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Deserializer;
use serde::de;

/// Our own slice, where nothing else is said and systemd keeps the cgroups. Without a dash: for systemd `a-b.slice`
/// lies below `a.slice`, for BuildKit at the top.
const SLICE: &str = "homeport_build.slice";
/// How an engine names systemd as the keeper of its cgroups.
const SYSTEMD: &str = "systemd";

/// Where builds run.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(with = "Option<String>", extend("default" = SLICE))]
pub enum BuildCgroup {
    /// Nothing was said.
    #[default]
    Usual,
    /// Where the engine puts them.
    Unchanged,
    /// Below this cgroup.
    Below(String),
}

impl BuildCgroup {
    /// The parent cgroup of builds on an engine with this `CgroupDriver`; `None` for the engine's own choice, as where
    /// nothing was said and it has no BuildKit: then it is Podman, which takes the name for a path.
    ///
    /// # Errors
    /// The engine would refuse it, with the way out.
    pub fn parent(&self, driver: &str, has_buildkit: bool) -> Result<Option<&str>, String> {
        match (self, driver) {
            (Self::Usual, SYSTEMD) if has_buildkit => Ok(Some(SLICE)),
            (Self::Usual, _) | (Self::Unchanged, _) => Ok(None),
            (Self::Below(name), SYSTEMD) if !name.ends_with(".slice") => Err(format!(
                "`docker.build_cgroup` is `{name}`, but systemd keeps this engine's cgroups and wants a slice: write \
                 a name such as `{SLICE}`, or remove the key"
            )),
            (Self::Below(name), _) => Ok(Some(name)),
        }
    }
}

fn below(name: String) -> Result<BuildCgroup, String> {
    let is_slice = name.ends_with(".slice");
    let is_way = name.split('/').filter(|part| !part.is_empty()).all(|part| part != "." && part != "..");
    if name.is_empty() {
        Ok(BuildCgroup::Unchanged)
    } else if name.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':') {
        Err(format!("`{name}` is no cgroup: write it without spaces and colons, such as `{SLICE}`"))
    } else if !is_way || name.trim_matches('/').is_empty() {
        Err(format!("`{name}` does not name a cgroup from the top: write it without `.` and `..`"))
    } else if is_slice && name.contains('/') {
        Err(format!("`{name}`: a slice is named, not led to: write its name alone, such as `{SLICE}`"))
    } else if is_slice && name.contains('-') {
        Err(format!(
            "`{name}` lies inside another slice for systemd, but not for BuildKit, because of its dash: use one \
             without, such as `{SLICE}`"
        ))
    } else {
        Ok(BuildCgroup::Below(name))
    }
}

impl<'de> Deserialize<'de> for BuildCgroup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Option::<String>::deserialize(deserializer)?;
        written.map_or(Ok(Self::Unchanged), |name| below(name).map_err(de::Error::custom))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn only_systemd_has_a_slice_of_ours_unless_a_cgroup_is_named() {
        let named = |name: &str| below(name.to_owned()).unwrap();
        for (written, driver, expected) in [
            (BuildCgroup::Usual, "systemd", Ok(Some(SLICE))),
            (BuildCgroup::Usual, "cgroupfs", Ok(None)),
            (BuildCgroup::Usual, "none", Ok(None)),
            (BuildCgroup::Usual, "", Ok(None)),
            (named(""), "systemd", Ok(None)),
            (named("idle.slice"), "systemd", Ok(Some("idle.slice"))),
            (named("builds"), "cgroupfs", Ok(Some("builds"))),
            (named("/some-where/builds"), "cgroupfs", Ok(Some("/some-where/builds"))),
        ] {
            assert_eq!(written.parent(driver, true), expected, "{written:?} on {driver}");
        }
        assert_eq!(BuildCgroup::Usual.parent("systemd", false), Ok(None));
        let refusal = named("builds").parent("systemd", true).unwrap_err();
        assert!(refusal.contains("wants a slice: write a name such as `homeport_build.slice`"), "{refusal}");
    }
}
