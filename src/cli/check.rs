//! `homeport check`: is the configuration right, and does everyone answer? Changes nothing anywhere, and
//! needs neither the state folder nor its database.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;

use crate::cli::Exit;
use crate::cli::block_on;
use crate::cli::complain;
use crate::cli::say;
use crate::clients::clock::Clock;
use crate::clients::docker::Docker;
use crate::clients::docker::LEAST_API;
use crate::clients::github::GitHub;
use crate::clients::hub::Hub;
use crate::clients::hub::HubError;
use crate::clients::mailer::Mailer;
use crate::clients::tls::Tls;
use crate::clients::ways;
use crate::config::load::load;
use crate::config::secret::Environment;
use crate::config::settings::GitHubSettings;
use crate::config::settings::Settings;
use crate::config::settings::SourceSettings;
use crate::model::Followed;

/// The most time one question may take.
const LIMIT: Duration = Duration::from_secs(20);

/// One question and its answer.
struct Finding {
    what: String,
    answer: Result<String, String>,
}

/// Checks the file and, unless offline, asks everyone it names.
pub fn check(path: &Path, offline: bool) -> Exit {
    let loaded = match load(path, &Environment::of_this_process()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            complain(&errors);
            return Exit::Usage;
        }
    };
    for warning in &loaded.warnings {
        complain(&format!("warning: {warning}"));
    }
    let projects = loaded.settings.projects.len();
    say(&format!("ok    {}: {projects} project{}", path.display(), if projects == 1 { "" } else { "s" }));
    if offline {
        return Exit::Ok;
    }
    match block_on(ask_everyone(&loaded.settings)) {
        Ok(findings) => report(&findings),
        Err(error) => {
            complain(&format!("cannot start the runtime: {error}"));
            Exit::Usage
        }
    }
}

fn report(findings: &[Finding]) -> Exit {
    for Finding { what, answer } in findings {
        match answer {
            Ok(answer) => say(&format!("ok    {what}: {answer}")),
            Err(reason) => say(&format!("FAIL  {what}: {reason}")),
        }
    }
    let all_well = findings.iter().all(|finding| finding.answer.is_ok());
    if all_well { Exit::Ok } else { Exit::Unreachable }
}

async fn ask_everyone(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![Finding { what: "Docker".to_owned(), answer: flat(ask_docker(settings).await) }];
    for project in &settings.projects {
        if let Some(source) = &project.source {
            findings.extend(ask_github(&settings.github, source).await);
        }
        let what = format!("Docker Hub, {}", project.image);
        findings.push(Finding { what, answer: flat(ask_hub(settings, &project.image).await) });
    }
    if let Some(email) = &settings.email {
        let what = format!("mail server {}:{}", email.host, email.port);
        let answer = async {
            Mailer::new(email)?.check().await?;
            anyhow::Ok("takes our mail".to_owned())
        };
        findings.push(Finding { what, answer: flat(answer.await) });
    }
    findings
}

/// By its API, and by the deploy key if there is one; without a token that is the only way.
async fn ask_github(settings: &GitHubSettings, source: &SourceSettings) -> Vec<Finding> {
    let github =
        || GitHub::new(&Tls::open()?, &settings.api_url, settings.token.as_ref(), LIMIT, Clock::real());
    let mut findings = Vec::new();
    if settings.token.is_some() || source.deploy_key.is_none() {
        let what = format!("GitHub, {} of {}", followed_in_words(&source.followed), source.repository);
        let answer = async {
            let github = github()?;
            let moved_to = match &source.followed {
                Followed::Branch(branch) => github.head(&source.repository, branch, None).await?.moved_to,
                Followed::Tags(glob) => {
                    github.tags(&source.repository, glob.beginning(), None).await?.moved_to
                }
            };
            anyhow::Ok(
                moved_to.map_or_else(|| "readable".to_owned(), |now| format!("readable, now called {now}")),
            )
        };
        findings.push(Finding { what, answer: flat(answer.await) });
    }
    if let Some(key) = &source.deploy_key {
        let what = format!("deploy key of {}", source.repository);
        let answer = async {
            ways::try_deploy_key(&github()?, settings, source, key).await?;
            anyhow::Ok("opens it".to_owned())
        };
        findings.push(Finding { what, answer: flat(answer.await) });
    }
    findings
}

fn followed_in_words(followed: &Followed) -> String {
    match followed {
        Followed::Branch(branch) => branch.to_string(),
        Followed::Tags(glob) => format!("tags {glob}"),
    }
}

async fn ask_docker(settings: &Settings) -> anyhow::Result<String> {
    let engine = Docker::connect(&settings.docker_host)?.engine().await?;
    if engine.is_too_old() {
        bail!(
            "engine {} speaks API {}, homeport needs {LEAST_API} or newer: upgrade Docker",
            engine.version,
            engine.api_version
        );
    }
    settings.build_cgroup.parent(&engine.cgroup_driver, engine.buildkit).map_err(anyhow::Error::msg)?;
    Ok(format!("engine {}, API {}, {}/{}", engine.version, engine.api_version, engine.os, engine.goarch))
}

/// An image that was never pushed is no fault of anyone yet.
async fn ask_hub(settings: &Settings, image: &crate::model::ImageName) -> anyhow::Result<String> {
    let hub = &settings.docker_hub;
    let hub = Hub::new(&Tls::open()?, &hub.api_url, hub.login.clone(), LIMIT, Clock::real())?;
    match hub.tags(image, |_| true).await {
        Ok(tags) => Ok(format!("{} tags on the first page", tags.len())),
        Err(HubError::NotFound { .. } | HubError::Empty { .. }) => Ok("no tags yet".to_owned()),
        Err(error) => Err(error.into()),
    }
}

fn flat(answer: anyhow::Result<String>) -> Result<String, String> {
    answer.map_err(|error| format!("{error:#}"))
}
