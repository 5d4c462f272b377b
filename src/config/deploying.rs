//! Resolving the part of a project that deploys: the container, its ports and mounts, its proving. See [`resolve`].
//!
//! [`resolve`]: crate::config::resolve

use crate::config::duration::Schedule;
use crate::config::mounts;
use crate::config::mounts::NetworkKind;
use crate::config::path::JsonPath;
use crate::config::ports;
use crate::config::problem::Problems;
use crate::config::project::Deploy;
use crate::config::project::Order;
use crate::config::project::Project;
use crate::config::project::Prove;
use crate::config::resolve::Scope;
use crate::config::settings::Adoption;
use crate::config::settings::ContainerSpec;
use crate::config::settings::DeploySettings;
use crate::config::settings::PortMapping;
use crate::config::settings::Proof;
use crate::config::settings::Protocol;
use crate::config::settings::ProveSettings;
use crate::config::sourcing;
use crate::model::ContainerName;
use crate::model::ProjectName;

/// What the names of homeport's own labels begin with.
const RESERVED_LABELS: &str = "homeport.";
const DEFAULT_POLL: Schedule = Schedule::every_seconds(60);
/// Where the engine listens on every usual machine, whatever the agent was told.
const USUAL_SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];

/// The deploying part; `Some(None)` if the project has none. The outer `None` is a refusal.
pub fn deploy(
    written: &Project,
    deploys: bool,
    name: Option<&ProjectName>,
    path: &JsonPath,
    scope: &Scope<'_>,
    problems: &mut Problems<'_>,
) -> Option<Option<DeploySettings>> {
    let poll = poll(written, deploys, &path.key("poll").key("docker_hub"), problems);
    let Some(written) = &written.deploy else { return Some(None) };
    let path = path.key("deploy");
    let name = container_name(written, name, &path, problems);
    let ports = published_ports(written, &path, problems);
    environment(written, &path, problems);
    labels(written, &path, problems);
    check_order(written, &path, problems);
    let volumes = volumes(&written.volumes, &path.key("volumes"), scope, problems);
    if written.keep_images == 0 {
        problems
            .refuse(&path.key("keep_images"), "at least 1 is needed: a rollback goes back to a kept image");
    }
    check_proving(written, &ports, &path, problems);
    Some(Some(DeploySettings {
        poll,
        spec: ContainerSpec {
            name: name?,
            ports,
            env: written.env.clone(),
            volumes,
            labels: written.labels.clone(),
            network: written.network.clone(),
            stop_grace: written.stop_grace.get(),
            proof: Proof { http: written.prove.http.clone(), port: written.prove.port },
        },
        order: written.order,
        adoption: if written.adopt { Adoption::Allowed } else { Adoption::Refused },
        prove: proving(&written.prove),
        watch: written.watch.get(),
        keep_images: written.keep_images,
    }))
}

fn poll(written: &Project, deploys: bool, path: &JsonPath, problems: &mut Problems<'_>) -> Schedule {
    let given = &written.poll.docker_hub;
    if !deploys && given.is_some() {
        let message = "nothing is deployed here without a `deploy` part: give one, or remove this key";
        problems.refuse_key(path, message);
    }
    let poll = given.clone().unwrap_or(DEFAULT_POLL);
    sourcing::warn_of_two_days(&poll, path, problems);
    poll
}

fn container_name(
    written: &Deploy,
    project: Option<&ProjectName>,
    path: &JsonPath,
    problems: &mut Problems<'_>,
) -> Option<ContainerName> {
    if written.container.is_some() || problems.has_refused(&path.key("container")) {
        return written.container.clone();
    }
    let from_project: Result<ContainerName, _> = project?.as_str().parse();
    problems.keep(&path.key("container"), from_project)
}

/// The ports that can be read, and whether they can be published at all.
fn published_ports(written: &Deploy, path: &JsonPath, problems: &mut Problems<'_>) -> Vec<PortMapping> {
    let ports_path = path.key("ports");
    let numbered = written.ports.iter().enumerate();
    let ports: Vec<PortMapping> = numbered
        .filter_map(|(index, text)| problems.keep(&ports_path.index(index), ports::port_mapping(text)))
        .collect();
    let network = written
        .network
        .as_deref()
        .and_then(|name| problems.keep(&path.key("network"), mounts::network(name)));
    if network == Some(NetworkKind::Unpublished) && !written.ports.is_empty() {
        problems.refuse(&ports_path, "Docker publishes no ports on this `network`: remove one of the two");
    }
    if written.ports.is_empty() && written.network.is_none() {
        problems.warn(
            &ports_path,
            "no port is published and no `network` is joined, which is right for a worker only",
        );
    }
    ports
}

fn environment(written: &Deploy, path: &JsonPath, problems: &mut Problems<'_>) {
    for (name, value) in &written.env {
        let checked = mounts::variable(name).and_then(|()| mounts::variable_value(value));
        problems.keep(&path.key("env").key(name), checked);
    }
}

fn labels(written: &Deploy, path: &JsonPath, problems: &mut Problems<'_>) {
    for name in written.labels.keys() {
        let path = path.key("labels").key(name);
        if name.is_empty() || name.chars().any(char::is_control) {
            problems.refuse(&path, "a label has a name without control characters");
        } else if name.starts_with(RESERVED_LABELS) {
            problems
                .refuse(&path, "labels that begin with `homeport.` are homeport's own: choose another name");
        }
    }
}

/// Two containers cannot publish one port, and only a network of the owner's has names that can be handed over.
fn check_order(written: &Deploy, path: &JsonPath, problems: &mut Problems<'_>) {
    match written.order {
        Order::StopFirst => return,
        Order::StartFirst => {}
    }
    if !written.ports.is_empty() {
        problems.refuse(
            &path.key("order"),
            "`start-first` runs two containers side by side, which cannot publish the same ports: remove `ports` and \
             let a reverse proxy in `network` publish them, or write `stop-first`",
        );
    }
    if !written.network.as_deref().is_some_and(has_names) && !problems.has_refused(&path.key("network")) {
        problems.refuse(
            &path.key("order"),
            "`start-first` hands a name over in a network of your own: make one (`docker network create web`) and \
             name it as `network`",
        );
    }
}

/// Whether containers find each other by name there: not on Docker's own bridge, nor without a network.
fn has_names(network: &str) -> bool {
    !["bridge", "default", "host", "none"].contains(&network)
}

fn volumes(
    written: &[String],
    path: &JsonPath,
    scope: &Scope<'_>,
    problems: &mut Problems<'_>,
) -> Vec<String> {
    let sockets: Vec<&str> = USUAL_SOCKETS.into_iter().chain(scope.engine_socket.as_deref()).collect();
    let mut targets: Vec<String> = Vec::new();
    let mut checked = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let path = path.index(index);
        let Some(mount) = problems.keep(&path, mounts::mount(text)) else { continue };
        if targets.contains(&mount.target) {
            problems.refuse(&path, format!("`{}` is mounted twice: keep one of the two", mount.target));
        }
        if mount.exposes(&sockets) {
            problems
                .warn(&path, "who has the Docker socket is root on this machine, and this container gets it");
        }
        targets.push(mount.target);
        checked.push(mount.written);
    }
    checked
}

fn proving(written: &Prove) -> ProveSettings {
    ProveSettings {
        timeout: written.timeout.get(),
        good_samples: written.good_samples,
        interval: written.interval.get(),
        min_uptime: written.min_uptime.get(),
    }
}

fn check_proving(deploy: &Deploy, ports: &[PortMapping], path: &JsonPath, problems: &mut Problems<'_>) {
    let written = &deploy.prove;
    let prove_path = path.key("prove");
    if let Some(http) = &written.http {
        let is_published = ports.iter().any(|port| port.protocol == Protocol::Tcp);
        // In a network of its own the container is asked at its own address.
        let can_be_asked = is_published || written.port.is_some() || deploy.network.is_some();
        check_probe(http, can_be_asked || problems.has_refused(&path.key("ports")), &prove_path, problems);
    }
    if written.port == Some(0) {
        problems.refuse(&prove_path.key("port"), "a port is a number from 1 to 65535");
    }
    for (key, interval) in [("timeout", written.timeout), ("interval", written.interval)] {
        if interval.get().is_zero() {
            problems.refuse(&prove_path.key(key), "this must be longer than nothing, such as `1s`");
        }
    }
    if written.good_samples == 0 {
        problems.refuse(&prove_path.key("good_samples"), "at least 1 good sample is needed as a proof");
    }
    // A refused number stands here as its default, so comparing the others with it would mislead.
    let numbers = ["timeout", "good_samples", "interval", "min_uptime"];
    if numbers.iter().any(|key| problems.has_refused(&prove_path.key(key))) {
        return;
    }
    let timeout = written.timeout;
    if written.min_uptime >= timeout {
        let message = format!("{} must be less than `timeout`, which is {timeout}", written.min_uptime);
        problems.refuse(&prove_path.key("min_uptime"), message);
    }
    let samples = written.interval.get().checked_mul(written.good_samples);
    if samples.is_none_or(|samples| samples > timeout.get()) {
        let message = format!(
            "{} samples {} apart do not fit into `timeout`, which is {timeout}",
            written.good_samples, written.interval
        );
        problems.refuse(&prove_path.key("good_samples"), message);
    }
}

fn check_probe(http: &str, has_port: bool, path: &JsonPath, problems: &mut Problems<'_>) {
    let path = path.key("http");
    if http.contains("://") {
        problems.refuse(&path, "this is the path alone, such as `/health`: the address is the container's");
    } else if !http.starts_with('/') {
        problems.refuse(&path, format!("a path begins with `/`: write `/{http}`"));
    } else if !http.chars().all(|c| c.is_ascii_graphic() && c != '#') {
        problems.refuse(
            &path,
            "a path has no blanks, control characters, `#` or letters beyond ASCII: write them as `%…`",
        );
    } else if !has_port {
        problems.refuse(
            &path,
            "there is no published TCP port to ask: add one to `deploy.ports`, name the container's own as `port` \
             beside this, or remove this key",
        );
    }
}
