//! The life of a container: create, inspect, start, stop, rename, remove.
//!
//! Takes names, ids and specifications, gives what Docker shows. Acts that are repeated after a crash are no
//! errors: starting what runs, stopping what is stopped, removing what is gone, renaming to the present name.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::models::ContainerUpdateBody;
use bollard::models::HostConfig;
use bollard::models::HostConfigLogConfig;
use bollard::models::PortBinding;
use bollard::models::RestartPolicy as DockerPolicy;
use bollard::models::RestartPolicyNameEnum as PolicyName;
use bollard::query_parameters::CreateContainerOptionsBuilder;
use bollard::query_parameters::InspectContainerOptions;
use bollard::query_parameters::ListContainersOptionsBuilder;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use bollard::query_parameters::StartContainerOptions;
use bollard::query_parameters::StopContainerOptionsBuilder;

use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::clients::docker::images::can_be_in_a_path;
use crate::clients::docker::seen::seen;
use crate::config::settings::ContainerSpec;
use crate::config::settings::PortMapping;
use crate::config::settings::Protocol;
use crate::fault_point::Effect;
use crate::model::Container;
use crate::model::ContainerId;
use crate::model::ContainerName;
use crate::model::LABEL_PROJECT;
use crate::model::Life;
use crate::model::ProjectName;
use crate::model::RestartPolicy;

/// The exit code of a process that was killed.
pub(super) const KILLED: i64 = 137;

/// How a container came to a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It ended when it was told to, or did not run any more.
    ByItself,
    /// It did not end within its grace.
    Killed,
}

/// What stands around a project.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Its containers, whatever they are doing, sorted by name.
    pub containers: Vec<Container>,
    /// The names of all other containers.
    pub strangers: Vec<String>,
}

impl Docker {
    /// Creates a container for a service, from the specification only: command and defaults of the environment
    /// are the image's. It is not started, and Docker never starts it by itself until a policy is set. `labels`
    /// are added to the image's.
    ///
    /// # Errors
    /// `Conflict` if the name is taken, `NotFound` if the image or the network is not there.
    pub async fn create(
        &self,
        name: &ContainerName,
        spec: &ContainerSpec,
        image_id: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<ContainerId, DockerError> {
        let body = service(spec, image_id, labels);
        self.create_from(name, body).await.map(|(id, _)| id)
    }

    /// What Docker shows of a container, by name or id; `None` if it is not there.
    ///
    /// # Errors
    /// `Unreachable`, `TimedOut`, `Refused`; `Stream` if the answer makes no sense.
    pub async fn inspect(&self, container: &str) -> Result<Option<Container>, DockerError> {
        if !can_be_in_a_path(container) {
            return Ok(None);
        }
        let what = format!("inspect container {container}");
        let options = None::<InspectContainerOptions>;
        let found = match self.ask(&what, async |api| api.inspect_container(container, options).await).await {
            Ok(found) => found,
            Err(DockerError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        match seen(found) {
            Some(container) => Ok(Some(container)),
            None => Err(self.attempt(&what).broke_off("the answer lacks the id or the state")),
        }
    }

    /// All containers that carry the project's label, whatever they are doing, sorted by name.
    ///
    /// # Errors
    /// As [`Docker::inspect`].
    pub async fn containers_of(&self, project: &ProjectName) -> Result<Vec<Container>, DockerError> {
        let filters = HashMap::from([("label", vec![format!("{LABEL_PROJECT}={project}")])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = self.ask("list containers", async |api| api.list_containers(Some(options)).await).await?;
        let mut containers = Vec::with_capacity(found.len());
        for id in found.into_iter().filter_map(|summary| summary.id) {
            // One that was removed meanwhile is not there any more.
            containers.extend(self.inspect(&id).await?);
        }
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    /// The containers that carry the project's label or one of these ids, and the names of all others.
    ///
    /// # Errors
    /// As [`Docker::inspect`].
    pub async fn standing(
        &self,
        project: &ProjectName,
        known: &[ContainerId],
    ) -> Result<Standing, DockerError> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let found = self.ask("list containers", async |api| api.list_containers(Some(options)).await).await?;
        let mut standing = Standing::default();
        for summary in found {
            let id = summary.id.unwrap_or_default();
            let is_labelled = summary.labels.unwrap_or_default().get(LABEL_PROJECT).map(String::as_str)
                == Some(project.as_str());
            if is_labelled || known.iter().any(|known| known.as_str() == id) {
                // One that was removed meanwhile is not there any more.
                standing.containers.extend(self.inspect(&id).await?);
            } else {
                let names = summary.names.unwrap_or_default().into_iter();
                standing.strangers.extend(names.map(|name| name.trim_start_matches('/').to_owned()));
            }
        }
        standing.containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(standing)
    }

    /// Says when Docker starts a container by itself. Confirmed by an inspection: the way back hangs on it.
    ///
    /// # Errors
    /// `NotFound`; `Stream` if the policy is another one afterwards.
    pub async fn set_policy(&self, id: &ContainerId, policy: RestartPolicy) -> Result<(), DockerError> {
        let what = format!("set the restart policy of container {id}");
        let body = ContainerUpdateBody { restart_policy: Some(docker_policy(policy)), ..Default::default() };
        self.change(Effect::begin("docker", "set-policy"), &what, async |api| {
            api.update_container(id.as_str(), body).await
        })
        .await?;
        match self.inspect(id.as_str()).await? {
            Some(container) if container.policy == policy => Ok(()),
            Some(_) | None => Err(self.attempt(&what).broke_off("Docker does not show the new policy")),
        }
    }

    /// Stops a container, and kills it if it does not stop within its grace (counted in whole seconds).
    ///
    /// # Errors
    /// `NotFound`; `Stream` if it runs nevertheless.
    pub async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<Stopped, DockerError> {
        let what = format!("stop container {id}");
        let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let limit = grace.saturating_add(self.patience);
        let effect = Effect::begin("docker", "stop");
        self.change_within(limit, &effect, &what, async |api| {
            api.stop_container(id.as_str(), Some(options)).await
        })
        .await?;
        effect.end();
        match self.inspect(id.as_str()).await?.map(|container| container.life) {
            Some(Life::Exited { code: KILLED, .. }) => Ok(Stopped::Killed),
            Some(Life::Exited { .. } | Life::Created | Life::Dead) | None => Ok(Stopped::ByItself),
            Some(life @ (Life::Running { .. } | Life::Paused | Life::Restarting)) => {
                Err(self.attempt(&what).broke_off(format!("Docker reported no error, but it is {life}")))
            }
        }
    }

    /// Starts a container.
    ///
    /// # Errors
    /// `Conflict` if a published port is taken, `NotFound`, `Refused` with the engine's words otherwise.
    pub async fn start(&self, id: &ContainerId) -> Result<(), DockerError> {
        let what = format!("start container {id}");
        let options = None::<StartContainerOptions>;
        self.change(Effect::begin("docker", "start"), &what, async |api| {
            api.start_container(id.as_str(), options).await
        })
        .await
    }

    /// Removes a container and its anonymous volumes; `force` also one that runs.
    ///
    /// # Errors
    /// `Conflict` if it runs and `force` is not set; `Stream` if it is there nevertheless.
    pub async fn remove(&self, id: &ContainerId, force: bool) -> Result<(), DockerError> {
        let what = format!("remove container {id}");
        let options = RemoveContainerOptionsBuilder::default().force(force).v(true).build();
        let effect = Effect::begin("docker", "remove");
        match self
            .change(effect, &what, async |api| api.remove_container(id.as_str(), Some(options)).await)
            .await
        {
            Ok(()) | Err(DockerError::NotFound { .. }) => {}
            Err(DockerError::Conflict { message, .. }) if message.contains("already in progress") => {
                self.removed(id, self.patience).await?;
            }
            Err(error) => return Err(error),
        }
        match self.inspect(id.as_str()).await? {
            None => Ok(()),
            Some(_) => Err(self.attempt(&what).broke_off("Docker reported no error, but it is still there")),
        }
    }

    /// Creates a container from a whole body; the engine's warnings come back beside the id.
    pub(super) async fn create_from(
        &self,
        name: &ContainerName,
        body: ContainerCreateBody,
    ) -> Result<(ContainerId, Vec<String>), DockerError> {
        let what = format!("create container {name}");
        let options = CreateContainerOptionsBuilder::default().name(name.as_str()).build();
        let made = self
            .change(Effect::begin("docker", "create"), &what, async |api| {
                api.create_container(Some(options), body).await
            })
            .await?;
        match made.id.parse() {
            Ok(id) => Ok((id, made.warnings)),
            Err(_) => Err(self.attempt(&what).broke_off("the answer lacks the id")),
        }
    }
}

fn service(spec: &ContainerSpec, image_id: &str, labels: &BTreeMap<String, String>) -> ContainerCreateBody {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in &spec.ports {
        bindings.entry(port_name(port)).or_default().get_or_insert_default().push(PortBinding {
            host_ip: port.address.map(|address| address.to_string()),
            host_port: Some(port.host.to_string()),
        });
    }
    ContainerCreateBody {
        image: Some(image_id.to_owned()),
        env: Some(spec.env.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        labels: Some(labels.clone().into_iter().collect()),
        exposed_ports: Some(bindings.keys().cloned().collect()),
        stop_timeout: i64::try_from(spec.stop_grace.as_millis().div_ceil(1000)).ok(),
        host_config: Some(HostConfig {
            binds: Some(spec.volumes.clone()),
            port_bindings: Some(bindings),
            network_mode: spec.network.clone(),
            restart_policy: Some(docker_policy(RestartPolicy::No)),
            // An init reaps what the service leaves behind and passes signals on.
            init: Some(true),
            // Docker's default keeps every line for ever, which fills a card.
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::from([
                    ("max-size".to_owned(), "10m".to_owned()),
                    ("max-file".to_owned(), "3".to_owned()),
                ])),
            }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

fn port_name(port: &PortMapping) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{}/{protocol}", port.container)
}

fn docker_policy(policy: RestartPolicy) -> DockerPolicy {
    let name = match policy {
        RestartPolicy::No => PolicyName::NO,
        RestartPolicy::Always => PolicyName::ALWAYS,
        RestartPolicy::UnlessStopped => PolicyName::UNLESS_STOPPED,
        RestartPolicy::OnFailure => PolicyName::ON_FAILURE,
    };
    DockerPolicy { name: Some(name), maximum_retry_count: None }
}
