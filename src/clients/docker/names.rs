//! The names of containers: one that is changed, and one that goes from one container to another.

use bollard::query_parameters::RenameContainerOptionsBuilder;

use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::fault_point::Effect;
use crate::model::ContainerId;
use crate::model::ContainerName;

/// How often a name that is just being given up is asked for, a millisecond or so each.
const TRIES: u32 = 2000;

impl Docker {
    /// Gives a container another name.
    ///
    /// # Errors
    /// `Conflict` if another container has it, `NotFound`.
    pub async fn rename(&self, id: &ContainerId, name: &ContainerName) -> Result<(), DockerError> {
        if self.inspect(id.as_str()).await?.is_some_and(|container| container.name == name.as_str()) {
            return Ok(());
        }
        self.give_name(&Effect::begin("docker", "rename"), id, name).await
    }

    /// Takes a name from a running container, which is called `put_off` then, and gives it to another one. A name
    /// cannot be held twice, so for a moment nobody has it. The engine sets it free before it tells its name
    /// service, and here it is asked for all the while: the name service hears of both at nearly the same time.
    ///
    /// # Errors
    /// `Conflict` if a third container has one of the names, `NotFound` if one of the two is gone.
    pub async fn hand_over(
        &self,
        name: &ContainerName,
        from: (&ContainerId, &ContainerName),
        to: &ContainerId,
    ) -> Result<(), DockerError> {
        let (giver, put_off) = from;
        let take = async {
            // However often it is asked for, the name goes over once.
            let effect = Effect::begin("docker", "take-name");
            for _ in 0..TRIES {
                match self.give_name(&effect, to, name).await {
                    Err(DockerError::Conflict { .. }) => {}
                    other => return other,
                }
            }
            self.give_name(&effect, to, name).await
        };
        let give = async {
            let effect = Effect::begin("docker", "give-name");
            self.give_name(&effect, giver, put_off).await
        };
        tokio::try_join!(give, take).map(|_| ())
    }

    async fn give_name(
        &self,
        effect: &Effect,
        id: &ContainerId,
        name: &ContainerName,
    ) -> Result<(), DockerError> {
        let what = format!("rename container {id} to {name}");
        let options = RenameContainerOptionsBuilder::default().name(name.as_str()).build();
        self.change_within(self.patience, effect, &what, async |api| {
            api.rename_container(id.as_str(), options).await
        })
        .await
    }
}
