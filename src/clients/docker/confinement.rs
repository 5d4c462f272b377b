//! What a stranger's commands may do: the description of a throwaway container. Pure.

use bollard::models::ContainerCreateBody;
use bollard::models::HostConfig;
use bollard::models::HostConfigLogConfig;

use crate::clients::docker::Sandbox;
use crate::clients::docker::SandboxLimits;
use crate::model::LABEL_PROJECT;
use crate::model::LABEL_ROLE;
use crate::model::ROLE_TEST;

/// What installing packages and giving files to other users needs, and no more.
const CAPABILITIES: &[&str] =
    &["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETUID"];

/// The container in which a script runs.
pub(super) fn body(sandbox: &Sandbox<'_>) -> ContainerCreateBody {
    let mut labels = sandbox.labels.clone();
    labels.insert(LABEL_PROJECT.to_owned(), sandbox.project.to_string());
    labels.insert(LABEL_ROLE.to_owned(), ROLE_TEST.to_owned());
    ContainerCreateBody {
        image: Some(sandbox.image.to_owned()),
        entrypoint: Some(vec!["sh".to_owned(), "-ec".to_owned(), sandbox.script.to_owned()]),
        cmd: Some(Vec::new()),
        working_dir: Some(sandbox.workdir.to_owned()),
        user: sandbox.user.map(ToOwned::to_owned),
        env: Some(sandbox.env.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        labels: Some(labels.into_iter().collect()),
        host_config: Some(confinement(sandbox.limits)),
        ..ContainerCreateBody::default()
    }
}

fn confinement(limits: SandboxLimits) -> HostConfig {
    const PERIOD: i64 = 100_000;
    let memory = limits.memory.and_then(|bytes| i64::try_from(bytes).ok());
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float that is too large becomes the largest quota"
    )]
    let quota = limits.cpus.map(|cpus| (cpus * PERIOD as f64) as i64);
    HostConfig {
        init: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.iter().map(|&name| name.to_owned()).collect()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        memory,
        memory_swap: memory,
        // A quota that the kernel cannot keep is a warning; `NanoCpus` would be an error.
        cpu_period: quota.map(|_| PERIOD),
        cpu_quota: quota,
        pids_limit: limits.processes.map(i64::from),
        // The output goes to the run log as it comes; a copy on the card would be waste.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        ..HostConfig::default()
    }
}
