//! What a stranger's commands may do: the description of a throwaway container. Pure.

use bollard::models::ContainerCreateBody;
use bollard::models::HostConfig;
use bollard::models::HostConfigLogConfig;
use bollard::models::Mount;
use bollard::models::MountType;
use bollard::models::MountVolumeOptions;

use crate::clients::docker::Sandbox;
use crate::clients::docker::Volume;
use crate::model::LABEL_PROJECT;
use crate::model::LABEL_ROLE;
use crate::model::ROLE_TEST;

/// What usual tests need of root's capabilities, and no more. Of those that Docker gives by itself there are not:
/// MKNOD (devices), NET_RAW (forged packets), SYS_CHROOT, SETPCAP and AUDIT_WRITE.
const CAPABILITIES: &[&str] = &[
    // Package managers unpack files of other users, into folders of other users, with their modes and capabilities.
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "SETFCAP",
    // They and servers under test drop to a user of their own, and end what they started as that user.
    "SETGID",
    "SETUID",
    "KILL",
    // Servers under test listen on port 80.
    "NET_BIND_SERVICE",
];
/// The share of the processors and of the disk that tests get where others want them too; Docker's default is 1024
/// of the one and 500 of the other.
const CPU_SHARES: i64 = 256;
const DISK_WEIGHT: u16 = 100;
/// Tests go first when memory runs out, before what serves.
const FIRST_TO_GO: i64 = 500;

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
        host_config: Some(confinement(sandbox)),
        ..ContainerCreateBody::default()
    }
}

fn confinement(sandbox: &Sandbox<'_>) -> HostConfig {
    let limits = sandbox.limits;
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
        network_mode: (!sandbox.has_network).then(|| "none".to_owned()),
        mounts: sandbox.volume.map(|(volume, target)| vec![mount(volume, target)]),
        cpu_shares: Some(CPU_SHARES),
        cpuset_cpus: sandbox.processors.clone(),
        blkio_weight: Some(DISK_WEIGHT),
        oom_score_adj: Some(FIRST_TO_GO),
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

fn mount(volume: &Volume, target: &str) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume.name.clone()),
        target: Some(target.to_owned()),
        volume_options: Some(MountVolumeOptions {
            // What the image has at that place stays out of it.
            no_copy: Some(true),
            labels: Some(volume.labels.clone().into_iter().collect()),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}
