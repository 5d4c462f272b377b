//! What an inspection shows, as our noun. Pure.

use std::net::IpAddr;
use std::net::Ipv4Addr;

use bollard::models::ContainerInspectResponse;
use bollard::models::ContainerState;
use bollard::models::ContainerStateStatusEnum as Status;
use bollard::models::HealthStatusEnum;
use bollard::models::NetworkSettings;
use bollard::models::RestartPolicyNameEnum as PolicyName;
use chrono::DateTime;
use chrono::Utc;

use crate::model::Container;
use crate::model::HealthStatus;
use crate::model::Life;
use crate::model::RestartPolicy;

/// A container as our noun; `None` if the answer lacks the id or the state.
pub(super) fn seen(found: ContainerInspectResponse) -> Option<Container> {
    let state = found.state?;
    let host = found.host_config.unwrap_or_default();
    let life = life(&state);
    let network = host.network_mode.unwrap_or_default();
    let address = match life {
        Life::Running { .. } => address(&network, found.network_settings.unwrap_or_default()),
        Life::Created | Life::Paused | Life::Restarting | Life::Exited { .. } | Life::Dead => None,
    };
    Some(Container {
        id: found.id?.parse().ok()?,
        name: found.name?.trim_start_matches('/').to_owned(),
        image_id: found.image.unwrap_or_default(),
        labels: found.config.and_then(|config| config.labels).unwrap_or_default().into_iter().collect(),
        policy: policy(host.restart_policy.and_then(|policy| policy.name)),
        health: health(&state),
        life,
        restarts: found.restart_count.and_then(|count| count.try_into().ok()).unwrap_or(0),
        address,
    })
}

const fn policy(name: Option<PolicyName>) -> RestartPolicy {
    match name {
        Some(PolicyName::ALWAYS) => RestartPolicy::Always,
        Some(PolicyName::UNLESS_STOPPED) => RestartPolicy::UnlessStopped,
        Some(PolicyName::ON_FAILURE) => RestartPolicy::OnFailure,
        Some(PolicyName::NO | PolicyName::EMPTY) | None => RestartPolicy::No,
    }
}

fn life(state: &ContainerState) -> Life {
    let running = || {
        let since = state.started_at.as_deref().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        Life::Running { since: since.map(|since| since.with_timezone(&Utc)).unwrap_or_default() }
    };
    match state.status {
        // One that is being stopped runs until it has ended.
        Some(Status::RUNNING | Status::STOPPING) => running(),
        Some(Status::PAUSED) => Life::Paused,
        Some(Status::RESTARTING) => Life::Restarting,
        Some(Status::EXITED) => Life::Exited {
            code: state.exit_code.unwrap_or_default(),
            out_of_memory: state.oom_killed.unwrap_or_default(),
        },
        Some(Status::DEAD | Status::REMOVING) => Life::Dead,
        Some(Status::CREATED) => Life::Created,
        Some(Status::EMPTY) | None if state.running == Some(true) => running(),
        Some(Status::EMPTY) | None => Life::Created,
    }
}

fn health(state: &ContainerState) -> Option<HealthStatus> {
    match state.health.as_ref()?.status? {
        HealthStatusEnum::STARTING => Some(HealthStatus::Starting),
        HealthStatusEnum::HEALTHY => Some(HealthStatus::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(HealthStatus::Unhealthy),
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => None,
    }
}

/// The container's address on the network it was made for, else on any. On the host's network it has the host's.
fn address(network: &str, settings: NetworkSettings) -> Option<IpAddr> {
    if network == "host" {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let mut networks: Vec<_> = settings.networks.unwrap_or_default().into_iter().collect();
    networks.sort_by_key(|(name, _)| (name != network, name.clone()));
    networks.into_iter().find_map(|(_, endpoint)| {
        let texts = [endpoint.ip_address, endpoint.global_ipv6_address];
        texts.into_iter().flatten().find_map(|text| text.parse().ok())
    })
}
