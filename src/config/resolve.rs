//! What was written → what is meant: the top of the file, and its parts in order.
//!
//! Takes the written structs, gives the settings, and puts every contradiction, impossible value and warning into
//! `problems`. Does no IO of its own; secrets come through the reader.

use std::path::Path;
use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use crate::config::Config;
use crate::config::Docker;
use crate::config::DockerHub;
use crate::config::address;
use crate::config::address::Engine;
use crate::config::contact;
use crate::config::deploying;
use crate::config::hosting;
use crate::config::image;
use crate::config::image::Use;
use crate::config::path::JsonPath;
use crate::config::problem::Problems;
use crate::config::project::Project;
use crate::config::rivals;
use crate::config::rivals::Claim;
use crate::config::secret::SecretReader;
use crate::config::secret::SecretSource;
use crate::config::secret::Shape;
use crate::config::settings::BuildNeeds;
use crate::config::settings::HubSettings;
use crate::config::settings::Login;
use crate::config::settings::ProjectSettings;
use crate::config::settings::Settings;
use crate::config::sourcing;
use crate::model::ImageName;
use crate::model::ProjectName;

/// What the checks of the parts need of the whole.
pub struct Scope<'a> {
    /// Reads secrets; its folder is that of the configuration.
    pub reader: SecretReader<'a>,
    /// The registry, if it is named well.
    pub registry: Option<String>,
    /// Whether a login of Docker Hub is given, well or not.
    pub has_hub_login: bool,
    /// The path of the engine's socket, if it is one.
    pub engine_socket: Option<String>,
}

/// Resolves the whole file. `None` if a part could not be made; why is then among the problems.
pub fn resolve(config: Config, reader: SecretReader<'_>, problems: &mut Problems<'_>) -> Option<Settings> {
    let root = JsonPath::root();
    let state_dir = folder(&config.state_dir, reader.folder, &root.key("state_dir"), problems);
    let log_dir = folder(&config.log_dir, reader.folder, &root.key("log_dir"), problems);
    let mut hidden: Vec<PathBuf> = state_dir.iter().chain(&log_dir).cloned().collect();
    hidden.extend(reader.places(config.secrets()));
    let github = hosting::github(&config.github, reader, problems);
    let hub_path = root.key("docker_hub");
    let has_hub_login = config.docker_hub.username.is_some()
        || config.docker_hub.token.is_some()
        || problems.has_refused(&hub_path);
    let docker_hub = docker_hub(config.docker_hub, &hub_path, reader, problems);
    let engine = engine(&config.docker, problems);
    let build_needs = build_needs(&config.docker);
    let scope = Scope {
        reader,
        registry: docker_hub.as_ref().map(|hub| hub.registry.clone()),
        has_hub_login,
        engine_socket: engine.and_then(|engine| match engine {
            Engine::Unix(path) => Some(path),
            Engine::Tcp(_) => None,
        }),
    };
    hidden.extend(scope.engine_socket.iter().map(PathBuf::from));
    let email = contact::email(config.email, &scope, problems);
    let webhook = contact::webhook(config.webhook, &scope, problems);
    let heartbeat = contact::heartbeat(config.heartbeat, problems);
    let (projects, claims): (Vec<_>, Vec<_>) =
        projects(config.projects, &scope, problems).into_iter().unzip();
    let has_token = config.github.token.is_some() || problems.has_refused(&root.key("github").key("token"));
    sourcing::warn_of_limited_polls(&projects, has_token, problems);
    rivals::check(&claims, webhook.as_ref().and_then(Option::as_ref), problems);
    Some(Settings {
        state_dir: state_dir?,
        log_dir: log_dir?,
        hidden,
        github: github?,
        docker_hub: docker_hub?,
        docker_host: config.docker.host,
        build_cache: config.docker.build_cache,
        build_cgroup: config.docker.build_cgroup,
        build_needs,
        email: email?,
        webhook: webhook?,
        heartbeat: heartbeat?,
        projects: projects.into_iter().flatten().collect(),
    })
}

/// Reads a secret; says what is wrong or dubious about its place.
pub fn secret(
    source: &SecretSource,
    shape: Shape,
    path: &JsonPath,
    reader: SecretReader<'_>,
    problems: &mut Problems<'_>,
) -> Option<SecretString> {
    let read = problems.keep(path, reader.read(source, shape))?;
    if let Some(warning) = read.warning {
        problems.warn(path, warning);
    }
    Some(read.secret)
}

/// A login of two keys of the object at `path`, of which the second is a secret. The outer `None` is a refusal.
pub fn login(
    written: (Option<String>, Option<SecretSource>),
    secret_key: &str,
    path: &JsonPath,
    reader: SecretReader<'_>,
    problems: &mut Problems<'_>,
) -> Option<Option<Login>> {
    match written {
        (None, None) => Some(None),
        (Some(username), Some(source)) => {
            if username.trim().is_empty() || username.chars().any(char::is_control) {
                problems.refuse(
                    &path.key("username"),
                    "a user name must not be empty or contain control characters",
                );
            }
            let password = secret(&source, Shape::Line, &path.key(secret_key), reader, problems)?;
            Some(Some(Login { username, password }))
        }
        (Some(_), None) => {
            let message = format!("missing: a `username` needs its `{secret_key}`, or neither is given");
            problems.refuse(&path.key(secret_key), message);
            None
        }
        (None, Some(_)) => {
            let message = format!("missing: a `{secret_key}` needs its `username`, or neither is given");
            problems.refuse(&path.key("username"), message);
            None
        }
    }
}

/// Warns if a secret goes to this address in the clear.
pub fn warn_if_exposed(url: Option<&Url>, path: &JsonPath, problems: &mut Problems<'_>) {
    if url.is_some_and(address::is_exposed) {
        problems.warn(
            path,
            "the token goes to this address over plain `http`, for everyone on the way to read: use `https`",
        );
    }
}

fn folder(text: &str, beside: &Path, path: &JsonPath, problems: &mut Problems<'_>) -> Option<PathBuf> {
    if text.is_empty() || text.contains('\0') {
        problems.refuse(path, "this names no folder: leave the key out to have its default");
        return None;
    }
    Some(beside.join(text))
}

fn docker_hub(
    written: DockerHub,
    path: &JsonPath,
    reader: SecretReader<'_>,
    problems: &mut Problems<'_>,
) -> Option<HubSettings> {
    let has_token = written.token.is_some();
    let login = login((written.username, written.token), "token", path, reader, problems);
    let api_url = problems.keep(&path.key("api_url"), address::base_url(&written.api_url));
    warn_if_exposed(api_url.as_ref().filter(|_| has_token), &path.key("api_url"), problems);
    let registry = problems.keep(&path.key("registry"), address::registry(&written.registry));
    Some(HubSettings { login: login?, api_url: api_url?, registry: registry? })
}

fn build_needs(written: &Docker) -> BuildNeeds {
    BuildNeeds { disk: written.min_free_disk.bytes(), memory: written.min_free_memory.bytes() }
}

fn engine(written: &Docker, problems: &mut Problems<'_>) -> Option<Engine> {
    let path = JsonPath::root().key("docker").key("host");
    let engine = problems.keep(&path, address::engine(&written.host))?;
    match &engine {
        Engine::Tcp(host) if !address::is_this_machine(host) => problems.warn(
            &path,
            "who reaches this port is root on that machine, since `tcp://` has no encryption and no login",
        ),
        Engine::Tcp(_) | Engine::Unix(_) => {}
    }
    Some(engine)
}

fn projects(
    written: Option<Vec<Project>>,
    scope: &Scope<'_>,
    problems: &mut Problems<'_>,
) -> Vec<(Option<ProjectSettings>, Claim)> {
    let path = JsonPath::root().key("projects");
    match written {
        None => problems.refuse(&path, "missing: the list of projects, with at least one"),
        Some(projects) if projects.is_empty() => {
            problems
                .refuse(&path, "at least one project is needed, such as `{\"repository\": \"me/app\", …}`");
        }
        Some(projects) => {
            let numbered = projects.into_iter().enumerate();
            return numbered
                .map(|(index, written)| project(written, &path.index(index), scope, problems))
                .collect();
        }
    }
    Vec::new()
}

fn project(
    written: Project,
    path: &JsonPath,
    scope: &Scope<'_>,
    problems: &mut Problems<'_>,
) -> (Option<ProjectSettings>, Claim) {
    let builds = written.repository.is_some() || problems.has_refused(&path.key("repository"));
    let deploys = written.deploy.is_some() || problems.has_refused(&path.key("deploy"));
    if !builds && !deploys {
        problems.refuse(
            path,
            "this project does nothing: give it a `repository` to build, a `deploy` part, or both",
        );
    }
    let name = project_name(&written, path, problems);
    let claim = Claim::of(&written, name.as_ref(), path);
    let usage = if builds { Use::Pushed } else { Use::Pulled };
    let image = image_name(&written, usage, &path.key("image"), scope, problems);
    let platform = platform(&written, &path.key("image").key("platform"), problems);
    let scheme = written.image.as_ref().map(|image| image.tag.scheme);
    let deploy = deploying::deploy(&written, deploys, name.as_ref(), path, scope, problems);
    let source = sourcing::source(written, builds, path, scope, problems);
    let made = || {
        let (name, image, scheme) = (name?, image?, scheme?);
        Some(ProjectSettings { name, image, scheme, platform: platform?, source: source?, deploy: deploy? })
    };
    (made(), claim)
}

fn image_name(
    written: &Project,
    usage: Use,
    path: &JsonPath,
    scope: &Scope<'_>,
    problems: &mut Problems<'_>,
) -> Option<ImageName> {
    let Some(image) = &written.image else {
        problems.refuse(path, "missing: the image, such as `{\"name\": \"me/app\"}`");
        return None;
    };
    let Some(name) = &image.name else {
        problems.refuse(&path.key("name"), "missing: the image's name, such as `me/app`");
        return None;
    };
    if let Some(registry) = &scope.registry {
        problems.keep(&path.key("name"), image::name_in(name, registry, usage))?;
    }
    Some(name.clone())
}

/// The platform, if one is given. The outer `None` is a refusal.
fn platform(written: &Project, path: &JsonPath, problems: &mut Problems<'_>) -> Option<Option<String>> {
    match written.image.as_ref().and_then(|image| image.platform.as_deref()) {
        None => Some(None),
        Some(text) => problems.keep(path, image::platform(text)).map(Some),
    }
}

/// The given name, or one made from the repository's or the image's.
fn project_name(written: &Project, path: &JsonPath, problems: &mut Problems<'_>) -> Option<ProjectName> {
    if written.name.is_some() || problems.has_refused(&path.key("name")) {
        return written.name.clone();
    }
    let image = written.image.as_ref().and_then(|image| image.name.as_ref());
    let origin = match (&written.repository, image) {
        (Some(repository), _) => repository.name(),
        (None, Some(image)) => image.as_str().rsplit('/').next().unwrap_or_default(),
        // Both are said to be missing or wrong already.
        (None, None) => return None,
    };
    let lower = origin.to_ascii_lowercase();
    let valid = lower.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let checked: Result<ProjectName, _> = valid.chars().take(64).collect::<String>().parse();
    problems
        .keep(&path.key("name"), checked.map_err(|_| format!("missing: no name can be made from `{origin}`")))
}
