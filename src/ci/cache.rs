//! The dependency cache: a volume of the project's own, in which what its tests download is kept from one run to the
//! next. Tests in a ready image have it; builds and deployments never do, nor another project.
//!
//! It stays small by three rules. Once a day a test looks how large it is before it begins, and empties one that holds
//! more than [`MOST`]. When the disk has too little room for a build, it goes. And it goes with its project, and when
//! its project no longer wants it. An owner may remove it at any time: the next test makes a new one.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;

use crate::clients::Clients;
use crate::clients::docker::DockerError;
use crate::clients::docker::Volume;
use crate::config::project::TestPlace;
use crate::config::settings::ProjectSettings;
use crate::config::settings::TestPlan;
use crate::model::LABEL_PROJECT;
use crate::model::LABEL_ROLE;
use crate::model::LABEL_STATE;
use crate::model::ProjectName;
use crate::model::ROLE_CACHE;

/// Where tests find it.
pub const MOUNTED: &str = "/cache";
/// What it may hold, in bytes.
pub const MOST: u64 = 4_000_000_000;
/// The variables by which the usual tools are told to keep there what they download, and the folders. All others follow
/// `XDG_CACHE_HOME`. What a project installs or compiles for itself is not kept: each run starts from its commit.
const VARIABLES: &[(&str, &str)] = &[
    ("XDG_CACHE_HOME", "/cache/xdg"),
    ("PIP_CACHE_DIR", "/cache/pip"),
    ("npm_config_cache", "/cache/npm"),
    ("YARN_CACHE_FOLDER", "/cache/yarn"),
    ("YARN_GLOBAL_FOLDER", "/cache/yarn-berry"),
    // Its store is below; a key of npm's configuration would make npm complain.
    ("PNPM_HOME", "/cache/pnpm"),
    ("GOMODCACHE", "/cache/go/mod"),
    ("GOCACHE", "/cache/go/build"),
    // Registry and git checkouts. The programs of an image stay where they are, in its PATH.
    ("CARGO_HOME", "/cache/cargo"),
    ("MAVEN_OPTS", "-Dmaven.repo.local=/cache/maven"),
    ("GRADLE_USER_HOME", "/cache/gradle"),
    ("NUGET_PACKAGES", "/cache/nuget"),
];

/// Whose cache it is.
fn labels(clients: &Clients, project: &ProjectName) -> BTreeMap<String, String> {
    let labels = [
        (LABEL_PROJECT, project.to_string()),
        (LABEL_ROLE, ROLE_CACHE.to_owned()),
        (LABEL_STATE, state(clients)),
    ];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// By which an agent knows its own caches from those of another one with the same engine.
fn state(clients: &Clients) -> String {
    clients.trees_dir.parent().unwrap_or(Path::new("/")).display().to_string()
}

/// The project's cache, to be mounted at [`MOUNTED`]: its labels are those that it gets if it has to be made.
///
/// # Errors
/// Docker does not answer, or a volume of its name belongs to somebody else.
pub async fn of(clients: &Clients, project: &ProjectName) -> anyhow::Result<Volume> {
    let wanted = Volume { name: name(project), labels: labels(clients, project) };
    match clients.docker.volume(&wanted.name).await? {
        Some(found) if found.labels != wanted.labels => {
            anyhow::bail!("the volume {} is not this project's cache: remove or rename it", wanted.name)
        }
        Some(_) | None => Ok(wanted),
    }
}

/// Removes the caches of projects that are gone or no longer want one, and returns their names. Those of other agents
/// are left alone.
///
/// # Errors
/// Docker does not answer.
pub async fn clear(clients: &Clients, projects: &[ProjectSettings]) -> Result<Vec<String>, DockerError> {
    let wanted: BTreeSet<String> = projects
        .iter()
        .filter(|project| may_have_cache(project))
        .map(|project| name(&project.name))
        .collect();
    remove(clients, |volume| !wanted.contains(&volume.name)).await
}

/// Removes every cache that no test uses now: the disk has too little room.
///
/// # Errors
/// Docker does not answer.
pub async fn give_up(clients: &Clients) -> Result<Vec<String>, DockerError> {
    remove(clients, |_| true).await
}

async fn remove(clients: &Clients, which: impl Fn(&Volume) -> bool) -> Result<Vec<String>, DockerError> {
    let mut removed = Vec::new();
    for volume in clients.docker.volumes_for(ROLE_CACHE).await? {
        let is_ours = volume.labels.get(LABEL_STATE).is_some_and(|label| *label == state(clients));
        if is_ours && which(&volume) && clients.docker.remove_volume(&volume.name).await? {
            removed.push(volume.name);
        }
    }
    Ok(removed)
}

fn may_have_cache(project: &ProjectSettings) -> bool {
    match project.source.as_ref().map(|source| &source.test) {
        Some(TestPlan::Run { place: TestPlace::Image(_), terms, commands: _ } | TestPlan::Detect(terms)) => {
            terms.cache
        }
        Some(TestPlan::Run { place: TestPlace::Host(_) | TestPlace::Dockerfile(_), .. } | TestPlan::None)
        | None => false,
    }
}

fn name(project: &ProjectName) -> String {
    format!("homeport-cache-{project}")
}

/// The variables that lead tools to it.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    VARIABLES.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
}

/// What a test does before its own commands, in `sh`: without the right to write into the cache it does without, and
/// once a day it looks how large it is.
pub fn prelude() -> String {
    let names: Vec<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
    let (names, most) = (names.join(" "), MOST / 1024);
    format!(
        "if [ ! -w {MOUNTED} ]; then\n\
         echo 'homeport: the user of this image may not write to {MOUNTED}, so nothing is kept for the next run'\n\
         unset {names}\n\
         elif [ -z \"$(find {MOUNTED}/.looked -mtime -1 2>/dev/null)\" ]; then\n\
         if [ \"$(du -sk {MOUNTED} 2>/dev/null | tr '\\t' ' ' | cut -d ' ' -f 1)\" -gt {most} ] 2>/dev/null; then\n\
         echo 'homeport: the dependency cache holds more than {most} kB and is emptied'\n\
         rm -rf {MOUNTED}/* {MOUNTED}/.[!.]* || :\n\
         fi\n\
         : >{MOUNTED}/.looked\n\
         fi\n"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn everything_is_kept_in_the_volume_and_nothing_twice_in_one_folder() {
        let mut folders = BTreeSet::new();
        for (name, value) in variables() {
            let (_, folder) = value.split_once("/cache/").unwrap_or_else(|| panic!("{name}={value}"));
            assert!(folders.insert(folder.to_owned()), "{name} shares {folder}");
            assert!(prelude().contains(&name), "{name} is not unset where the cache cannot be written");
        }
    }

    #[test]
    fn the_look_before_the_tests_fails_none_of_them() {
        // There is no such folder here, as in a container whose user may not write to it.
        let script =
            format!("{}echo \"${{PIP_CACHE_DIR-unset}}\"", prelude().replace(MOUNTED, "/nowhere/cache"));
        let mut shell = std::process::Command::new("sh");
        let output = shell.args(["-ec", &script]).env("PIP_CACHE_DIR", "/cache/pip").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.ends_with("\nunset\n"), "{said}");
    }

    /// What is left of a cache after the look before the tests, of which `du` says that it has so many kilobytes.
    fn left_of(kilobytes: u64, looked_days_ago: Option<u32>) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        std::fs::create_dir(folder.path().join("pip")).unwrap();
        std::fs::write(folder.path().join(".hidden"), "").unwrap();
        let looked = looked_days_ago
            .map(|days| format!("touch -d '{days} days ago' {path}/.looked\n"))
            .unwrap_or_default();
        let du = format!("du() {{ printf '{kilobytes}\\t{path}\\n'; }}\n");
        let script = format!("{looked}{du}{}", prelude().replace(MOUNTED, path));
        let output = std::process::Command::new("sh").args(["-ec", &script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let entries = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn one_that_has_grown_too_large_is_emptied_at_the_first_test_of_a_day() {
        let kept = [".hidden", ".looked", "pip"];
        assert_eq!(left_of(MOST / 1024, None), kept);
        assert_eq!(left_of(MOST / 1024 + 1, None), [".looked"]);
        assert_eq!(left_of(MOST / 1024 + 1, Some(2)), [".looked"]);
        assert_eq!(left_of(MOST / 1024 + 1, Some(0)), kept);
    }
}
