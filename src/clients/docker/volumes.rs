//! Volumes: which there are of a role, and removing them. A container that names one makes it.

use std::collections::BTreeMap;
use std::collections::HashMap;

use bollard::query_parameters::ListVolumesOptionsBuilder;
use bollard::query_parameters::RemoveVolumeOptions;

use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::fault_point::Effect;
use crate::model::LABEL_ROLE;

/// A named volume on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Docker {
    /// The volume of this name; `None` if there is none.
    ///
    /// # Errors
    /// `Unreachable`, `TimedOut`, `Refused`.
    pub async fn volume(&self, name: &str) -> Result<Option<Volume>, DockerError> {
        let what = format!("look at the volume {name}");
        match self.ask(&what, async |api| api.inspect_volume(name).await).await {
            Ok(found) => Ok(Some(Volume { name: found.name, labels: found.labels.into_iter().collect() })),
            Err(DockerError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The volumes whose label says that they have this role.
    ///
    /// # Errors
    /// `Unreachable`, `TimedOut`, `Refused`.
    pub async fn volumes_for(&self, role: &str) -> Result<Vec<Volume>, DockerError> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{LABEL_ROLE}={role}")])]);
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let listed = self.ask("list the volumes", async |api| api.list_volumes(Some(options)).await).await?;
        let found = listed.volumes.unwrap_or_default().into_iter();
        Ok(found.map(|v| Volume { name: v.name, labels: v.labels.into_iter().collect() }).collect())
    }

    /// Removes a volume with what it holds; one that a container uses is left alone, one that is not there is no error.
    /// `true` if it was removed.
    ///
    /// # Errors
    /// `Unreachable`, `TimedOut`, `Refused`.
    pub async fn remove_volume(&self, name: &str) -> Result<bool, DockerError> {
        let (effect, what) = (Effect::begin("docker", "remove-volume"), format!("remove the volume {name}"));
        let removing =
            async |api: &bollard::Docker| api.remove_volume(name, None::<RemoveVolumeOptions>).await;
        match self.change(effect, &what, removing).await {
            Ok(()) => Ok(true),
            Err(DockerError::NotFound { .. } | DockerError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
