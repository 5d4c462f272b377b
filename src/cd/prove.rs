//! Stage `prove`: looks at a container until it has shown that it works, or that it does not. The verdict
//! is [`crate::health`]'s; this file only takes the samples.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::anyhow;
use anyhow::bail;

use crate::cd::standing::is_foreign;
use crate::clients::docker::DockerError;
use crate::config::settings::ContainerSpec;
use crate::config::settings::PortMapping;
use crate::config::settings::Protocol;
use crate::config::settings::ProveSettings;
use crate::health::Judge;
use crate::health::Probe;
use crate::health::ProvingWatch;
use crate::health::Sample;
use crate::health::Verdict;
use crate::health::judge;
use crate::model::Blame;
use crate::model::Container;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;
use crate::run::failed;

/// The time that the first probe and the most that a later one may take. A connection that comes while the
/// container's network is being set up hangs for seconds where the next one is answered at once, so the first
/// probes are short. But a board under load answers late, not never, so each that fails gives the next more time.
const PROBE_LIMITS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What is asked of a container, and where.
struct Question {
    judge: Judge,
    /// The container's own port; `None` where visitors come through a published one.
    own_port: Option<u16>,
}

/// Watches a running container, which was made from `spec`, until the verdict is in.
///
/// # Errors
/// The container does not hold, or Docker does not say.
pub async fn prove(
    run: &Run,
    limits: &ProveSettings,
    spec: &ContainerSpec,
    container: &Container,
) -> Result<(), StageError> {
    let stage = run.current_stage().unwrap_or(Stage::Prove);
    let question = question(run, spec, container).await.map_err(failed(stage, Blame::World))?;
    run.log.line(stage, &format!("proving {}: {}", container.name, question.judge));
    let clock = &run.clients.clock;
    let began = clock.monotonic();
    let mut watch = ProvingWatch::new(limits, question.judge.clone());
    let mut said = String::new();
    let mut limit = PROBE_LIMITS.0;
    loop {
        let sample =
            sample(run, spec, &question, container, limit).await.map_err(failed(stage, Blame::World))?;
        if question.judge.complaint(&sample).is_none() {
            run.service_answers();
        } else {
            limit = limit.saturating_mul(2).min(PROBE_LIMITS.1);
        }
        let seen = sample.to_string();
        if state_in(&said) != state_in(&seen) {
            run.log.line(stage, &seen);
            said = seen;
        }
        match watch.observe(&sample, clock.monotonic().saturating_sub(began)) {
            Verdict::Waiting => {}
            Verdict::Proven => return Ok(()),
            Verdict::Failed(why) => {
                return Err(StageError { stage, blame: Blame::Image, source: anyhow!(why) });
            }
        }
        // An exit is seen when it happens, not when the next sample is due.
        tokio::select! {
            () = clock.sleep(limits.interval) => {}
            ended = run.clients.docker.wait_exit(&container.id) => {
                if ended.is_err() {
                    clock.sleep(limits.interval).await;
                }
            }
        }
    }
}

/// The strictest question that can be asked of this container. One that homeport did not make was not made for
/// the configured question: it is asked what it says itself.
async fn question(run: &Run, spec: &ContainerSpec, container: &Container) -> anyhow::Result<Question> {
    let has_healthcheck = container.health.is_some();
    if is_foreign(container) {
        return Ok(Question { judge: judge(None, has_healthcheck, None), own_port: None });
    }
    let published = tcp_port(spec).map(|port| port.container);
    let needs_port = published.is_none() && spec.proof.http.is_some();
    let own_port = match spec.proof.port {
        Some(port) => Some(port),
        None if needs_port => Some(exposed_port(run, container).await?),
        None => None,
    };
    let judge = judge(spec.proof.http.as_deref(), has_healthcheck, own_port.or(published));
    Ok(Question { judge, own_port })
}

/// The one TCP port that the image says it listens on.
async fn exposed_port(run: &Run, container: &Container) -> anyhow::Result<u16> {
    let image = run.clients.docker.image(&container.image_id).await?;
    let exposed = image.map(|image| image.exposed_ports).unwrap_or_default();
    let tcp: Vec<u16> = exposed.iter().filter(|(_, p)| *p == Protocol::Tcp).map(|(port, _)| *port).collect();
    match tcp.as_slice() {
        [port] => Ok(*port),
        [] => {
            bail!("the image exposes no TCP port to ask: name the one it listens on as `deploy.prove.port`")
        }
        [_, ..] => {
            bail!("the image exposes several TCP ports: name the one to ask as `deploy.prove.port`")
        }
    }
}

async fn sample(
    run: &Run,
    spec: &ContainerSpec,
    question: &Question,
    container: &Container,
    limit: Duration,
) -> Result<Sample, DockerError> {
    let now = run.clients.docker.inspect(container.id.as_str()).await?;
    let now = now.ok_or_else(|| DockerError::gone(&format!("inspect container {}", container.name)))?;
    let probe =
        if now.is_running() { probe(run, spec, question, &now, limit).await } else { Probe::NotProbed };
    Ok(Sample::of(&now, probe))
}

async fn probe(
    run: &Run,
    spec: &ContainerSpec,
    question: &Question,
    container: &Container,
    limit: Duration,
) -> Probe {
    let probe = &run.clients.probe;
    match (&question.judge, question.own_port) {
        (Judge::HealthCheck | Judge::Uptime, _) => Probe::NotProbed,
        // As a visitor comes: through the published port; else as a reverse proxy does.
        (Judge::Http(path), own_port) => {
            match own_port.map_or_else(|| visitors_address(spec), |port| own_address(container, port)) {
                Some(address) => match probe.http(address, path, limit).await {
                    Ok(status) => Probe::Answered(status),
                    Err(error) => Probe::Failed(format!("{error:#}")),
                },
                None => Probe::Failed("the container has no address".to_owned()),
            }
        }
        // Docker's proxy accepts connections on a published port for an application that is not there, so
        // the container itself is asked.
        (Judge::Tcp(port), _) => match own_address(container, *port) {
            Some(address) => match probe.tcp(address, limit).await {
                Ok(()) => Probe::Connected,
                Err(error) => Probe::Failed(format!("{error:#}")),
            },
            None => Probe::Failed("the container has no address".to_owned()),
        },
    }
}

fn own_address(container: &Container, port: u16) -> Option<SocketAddr> {
    container.address.map(|address| SocketAddr::new(address, port))
}

/// A sample's text without the reason why there was no answer: a port without an application resets and closes
/// connections in turns, which would push all else out of the log.
fn state_in(seen: &str) -> &str {
    seen.split_once("no answer: ").map_or(seen, |(state, _)| state)
}

fn tcp_port(spec: &ContainerSpec) -> Option<&PortMapping> {
    spec.ports.iter().find(|port| port.protocol == Protocol::Tcp)
}

fn visitors_address(spec: &ContainerSpec) -> Option<SocketAddr> {
    let port = tcp_port(spec)?;
    let address = port.address.filter(|address| !address.is_unspecified());
    Some(SocketAddr::new(address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port.host))
}
