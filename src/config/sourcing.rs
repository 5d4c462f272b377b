//! Resolving the part of a project that builds: its repository. The tests are in [`testing`], the image in [`building`].
//! See [`resolve`].
//!
//! [`building`]: crate::config::building
//! [`testing`]: crate::config::testing
//! [`resolve`]: crate::config::resolve

use crate::config::building;
use crate::config::duration::Schedule;
use crate::config::image;
use crate::config::path::JsonPath;
use crate::config::problem::Problems;
use crate::config::project::Project;
use crate::config::resolve;
use crate::config::resolve::Scope;
use crate::config::secret::Shape;
use crate::config::settings::FileFilter;
use crate::config::settings::LfsFiles;
use crate::config::settings::OnNewer;
use crate::config::settings::ProjectSettings;
use crate::config::settings::SourceSettings;
use crate::config::settings::Submodules;
use crate::config::testing;
use crate::model::Branch;
use crate::model::Followed;
use crate::model::Glob;

const DEFAULT_BRANCH: &str = "main";
const DEFAULT_POLL: Schedule = Schedule::every_seconds(30);
/// GitHub's limit without a token, of all polls of one address together.
const POLLS_WITHOUT_TOKEN: f64 = 60.0;

/// The building part; `Some(None)` if the project has none. The outer `None` is a refusal.
pub fn source(
    written: Project,
    builds: bool,
    path: &JsonPath,
    scope: &Scope<'_>,
    problems: &mut Problems<'_>,
) -> Option<Option<SourceSettings>> {
    if !builds {
        refuse_building_keys(&written, path, problems);
        return Some(None);
    }
    let is_hub = scope.registry.as_deref() == Some(image::DOCKER_HUB);
    if is_hub && !scope.has_hub_login {
        problems.refuse(
            &path.key("repository"),
            "images built from it cannot be pushed to Docker Hub without a login: give `docker_hub.username` and \
             `docker_hub.token`, or another `docker_hub.registry`",
        );
    }
    let deploy_key = written.deploy_key.as_ref().map(|source| {
        let path = path.key("deploy_key");
        resolve::secret(source, Shape::Key, &path, scope.reader, problems)
    });
    let followed = followed(&written, path, problems);
    let poll = written.poll.github.unwrap_or(DEFAULT_POLL);
    warn_of_two_days(&poll, &path.key("poll").key("github"), problems);
    let test = testing::tests(written.test, &path.key("test"), problems);
    let build = building::build(written.image?, &path.key("image"), scope.reader, problems);
    let files = file_filter(written.paths.as_deref(), written.paths_ignore.as_deref(), path, problems);
    Some(Some(SourceSettings {
        repository: written.repository?,
        deploy_key: deploy_key.map_or(Some(None), |read| read.map(Some))?,
        followed: followed?,
        submodules: if written.submodules == Some(true) { Submodules::Filled } else { Submodules::Empty },
        lfs: if written.lfs == Some(true) { LfsFiles::Contents } else { LfsFiles::Pointers },
        files: files?,
        on_newer: if written.cancel_running == Some(true) { OnNewer::Cancel } else { OnNewer::Wait },
        poll,
        test: test?,
        build: build?,
    }))
}

/// Says what polls cannot be without a token: if all projects together ask GitHub more often than it answers, and what
/// those that ask over SSH do not learn.
pub fn warn_of_limited_polls(
    projects: &[Option<ProjectSettings>],
    has_token: bool,
    problems: &mut Problems<'_>,
) {
    if !has_token {
        warn_of_unknown_files(projects, problems);
    }
    let sources = projects.iter().flatten().filter_map(|project| project.source.as_ref());
    let sources = sources.filter(|source| source.deploy_key.is_none());
    let an_hour = |source: &SourceSettings| 3600.0 / source.poll.shortest_gap().as_secs_f64();
    let polls: f64 = sources.map(an_hour).sum();
    if !has_token && polls > POLLS_WITHOUT_TOKEN {
        problems.warn(
            &JsonPath::root().key("github").key("token"),
            format!(
                "left out: without a token GitHub answers {POLLS_WITHOUT_TOKEN} requests an hour, and these projects ask \
                 {polls:.0} times, so the polls will slow down to that"
            ),
        );
    }
}

fn warn_of_unknown_files(projects: &[Option<ProjectSettings>], problems: &mut Problems<'_>) {
    for (index, project) in projects.iter().enumerate() {
        let source = project.as_ref().and_then(|project| project.source.as_ref());
        let Some(source) = source.filter(|source| source.deploy_key.is_some()) else { continue };
        let key = match &source.files {
            FileFilter::All => continue,
            FileFilter::Only(_) => "paths",
            FileFilter::AllBut(_) => "paths_ignore",
        };
        let path = JsonPath::root().key("projects").index(index).key(key);
        problems.warn(
            &path,
            "without `github.token` it is not known which files a commit changes: every commit is run",
        );
    }
}

/// Says that classic cron would have understood something else.
pub fn warn_of_two_days(poll: &Schedule, path: &JsonPath, problems: &mut Problems<'_>) {
    if poll.joins_two_days() {
        problems.warn(path, "both the day of the month and the weekday must match here, unlike in a crontab");
    }
}

fn refuse_building_keys(written: &Project, path: &JsonPath, problems: &mut Problems<'_>) {
    let image_path = path.key("image");
    let image = written.image.as_ref();
    let given = [
        (path.key("deploy_key"), written.deploy_key.is_some()),
        (path.key("branch"), written.branch.is_some()),
        (path.key("on"), written.on.is_some()),
        (path.key("submodules"), written.submodules.is_some()),
        (path.key("lfs"), written.lfs.is_some()),
        (path.key("paths"), written.paths.is_some()),
        (path.key("paths_ignore"), written.paths_ignore.is_some()),
        (path.key("cancel_running"), written.cancel_running.is_some()),
        (path.key("poll").key("github"), written.poll.github.is_some()),
        (path.key("test"), written.test.is_some()),
        (image_path.key("dockerfile"), image.is_some_and(|image| image.dockerfile.is_some())),
        (image_path.key("context"), image.is_some_and(|image| image.context.is_some())),
        (image_path.key("target"), image.is_some_and(|image| image.target.is_some())),
        (image_path.key("args"), image.is_some_and(|image| image.args.is_some())),
        (image_path.key("secrets"), image.is_some_and(|image| image.secrets.is_some())),
        (image_path.key("also"), image.is_some_and(|image| image.also.is_some())),
        (image_path.key("tag").key("bump"), image.is_some_and(|image| image.tag.bump.is_some())),
        (image_path.key("timeout"), image.is_some_and(|image| image.timeout.is_some())),
    ];
    for (key, _) in given.iter().filter(|(_, is_given)| *is_given) {
        problems
            .refuse_key(key, "nothing is built here without a `repository`: give one, or remove this key");
    }
}

/// A branch or tags. What has no meaning beside tags is refused, rather than ignored where it would be relied on.
fn followed(written: &Project, path: &JsonPath, problems: &mut Problems<'_>) -> Option<Followed> {
    let Some(on) = &written.on else {
        let default: Result<Branch, _> = DEFAULT_BRANCH.parse();
        let branch = written.branch.clone().or_else(|| problems.keep(&path.key("branch"), default));
        return branch.map(Followed::Branch);
    };
    if written.branch.is_some() {
        problems.refuse_key(
            &path.key("branch"),
            "`on.tags` is given too, and a project follows either a branch or tags: keep one of the two",
        );
    }
    for (key, is_given) in
        [("paths", written.paths.is_some()), ("paths_ignore", written.paths_ignore.is_some())]
    {
        if is_given {
            problems.refuse_key(&path.key(key), "files are not looked at where tags are followed: remove it");
        }
    }
    let path = path.key("on").key("tags");
    let Some(tags) = &on.tags else {
        problems.refuse(&path, "missing: a pattern of tags, such as `v*`");
        return None;
    };
    let glob = problems.keep(&path, Glob::parse(tags))?;
    if glob.takes_out() {
        problems
            .refuse(&path, "`!` takes out of what other patterns match, and there is no other: remove it");
        return None;
    }
    Some(Followed::Tags(glob))
}

/// Which changed files matter. Both lists at once are refused, as by GitHub.
fn file_filter(
    paths: Option<&[String]>,
    ignored: Option<&[String]>,
    path: &JsonPath,
    problems: &mut Problems<'_>,
) -> Option<FileFilter> {
    match (paths, ignored) {
        (None, None) => Some(FileFilter::All),
        (Some(paths), None) => globs(paths, &path.key("paths"), problems).map(FileFilter::Only),
        (None, Some(ignored)) => globs(ignored, &path.key("paths_ignore"), problems).map(FileFilter::AllBut),
        (Some(_), Some(_)) => {
            problems.refuse_key(
                &path.key("paths_ignore"),
                "`paths` is given too: keep one of the two; a pattern with `!` in front takes files out of `paths`",
            );
            None
        }
    }
}

fn globs(written: &[String], path: &JsonPath, problems: &mut Problems<'_>) -> Option<Vec<Glob>> {
    if written.is_empty() {
        problems.refuse(
            path,
            "an empty list matches no file: remove the key, or write patterns such as `src/**`",
        );
        return None;
    }
    let numbered = written.iter().enumerate();
    let read = numbered.map(|(index, text)| problems.keep(&path.index(index), Glob::parse(text)));
    let globs = read.collect::<Vec<_>>().into_iter().collect::<Option<Vec<Glob>>>()?;
    if globs.iter().all(Glob::takes_out) {
        problems.refuse(path, "`!` takes out of what another pattern matches: write one without it first");
        return None;
    }
    Some(globs)
}
