//! Stage `prove`: looks at a container until it has shown that it works, or that it does not. The verdict
//! is [`crate::health`]'s; this file only takes the samples.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::anyhow;

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

/// Watches a running container until the verdict is in.
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
    let judge =
        judge(limits.http.as_deref(), container.health.is_some(), tcp_port(spec).map(|p| p.container));
    run.log.line(stage, &format!("proving {}: {judge}", container.name));
    let clock = &run.clients.clock;
    let began = clock.monotonic();
    let mut watch = ProvingWatch::new(limits, judge.clone());
    let mut said = String::new();
    let mut limit = PROBE_LIMITS.0;
    loop {
        let sample =
            sample(run, spec, &judge, container, limit).await.map_err(failed(stage, Blame::World))?;
        if is_good(&sample, &judge) {
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

async fn sample(
    run: &Run,
    spec: &ContainerSpec,
    judge: &Judge,
    container: &Container,
    limit: Duration,
) -> Result<Sample, DockerError> {
    let now = run.clients.docker.inspect(container.id.as_str()).await?;
    let now = now.ok_or_else(|| DockerError::gone(&format!("inspect container {}", container.name)))?;
    let probe = if now.is_running() { probe(run, spec, judge, &now, limit).await } else { Probe::NotProbed };
    Ok(Sample::of(&now, probe))
}

async fn probe(
    run: &Run,
    spec: &ContainerSpec,
    judge: &Judge,
    container: &Container,
    limit: Duration,
) -> Probe {
    let probe = &run.clients.probe;
    match judge {
        Judge::HealthCheck | Judge::Uptime => Probe::NotProbed,
        // As a visitor comes: through the published port.
        Judge::Http(path) => match visitors_address(spec) {
            Some(address) => match probe.http(address, path, limit).await {
                Ok(status) => Probe::Answered(status),
                Err(error) => Probe::Failed(format!("{error:#}")),
            },
            None => Probe::Failed("no TCP port is published".to_owned()),
        },
        // Docker's proxy accepts connections on a published port for an application that is not there, so
        // the container itself is asked.
        Judge::Tcp(port) => match container.address {
            Some(address) => match probe.tcp(SocketAddr::new(address, *port), limit).await {
                Ok(()) => Probe::Connected,
                Err(error) => Probe::Failed(format!("{error:#}")),
            },
            None => Probe::Failed("the container has no address".to_owned()),
        },
    }
}

/// A sample's text without the reason why there was no answer: a port without an application resets and closes
/// connections in turns, which would push all else out of the log.
fn state_in(seen: &str) -> &str {
    seen.split_once("no answer: ").map_or(seen, |(state, _)| state)
}

fn is_good(sample: &Sample, judge: &Judge) -> bool {
    judge.complaint(sample).is_none()
}

fn tcp_port(spec: &ContainerSpec) -> Option<&PortMapping> {
    spec.ports.iter().find(|port| port.protocol == Protocol::Tcp)
}

fn visitors_address(spec: &ContainerSpec) -> Option<SocketAddr> {
    let port = tcp_port(spec)?;
    let address = port.address.filter(|address| !address.is_unspecified());
    Some(SocketAddr::new(address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port.host))
}
