//! Whether the ports that a service is to publish are free, or its own: asked while everything still serves,
//! since afterwards a taken port costs a gap.

use anyhow::anyhow;

use crate::clients::docker::DockerError;
use crate::clients::listener::listener_on;
use crate::config::ports::clash;
use crate::config::settings::ContainerSpec;
use crate::model::Blame;
use crate::model::Container;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;
use crate::run::failed;

/// Checks that nobody but the container that makes way holds one of the ports.
///
/// # Errors
/// Somebody does, by name; or Docker does not say.
pub(super) async fn check_ports(
    run: &Run,
    spec: &ContainerSpec,
    old: Option<&Container>,
) -> Result<(), StageError> {
    if spec.ports.is_empty() {
        return Ok(());
    }
    let published =
        run.clients.docker.publications().await.map_err(failed::<DockerError>(Stage::Swap, Blame::World))?;
    for port in &spec.ports {
        let mut holders = published.iter().filter(|publication| clash(&publication.port, port));
        let holder = match holders.next() {
            Some(holder) if old.is_some_and(|old| old.id == holder.id) => continue,
            Some(holder) => format!("the container `{}`", holder.name),
            None => match listener_on(port) {
                Some(program) => program,
                None => continue,
            },
        };
        let source = anyhow!(
            "port {} of this machine is held by {holder}: stop that, or publish another port in `deploy.ports`",
            port.host
        );
        return Err(StageError { stage: Stage::Swap, blame: Blame::World, source });
    }
    Ok(())
}
