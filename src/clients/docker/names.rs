//! The names of containers: one that is changed, and one that goes from one container to another.

use bollard::query_parameters::RenameContainerOptionsBuilder;

use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::fault_point::Effect;
use crate::model::ContainerId;
use crate::model::ContainerName;

impl Docker {
    /// Gives a container another name.
    ///
    /// # Errors
    /// `Conflict` if another container has it, `NotFound`.
    pub async fn rename(&self, id: &ContainerId, name: &ContainerName) -> Result<(), DockerError> {
        if self.inspect(id.as_str()).await?.is_some_and(|container| container.name == name.as_str()) {
            return Ok(());
        }
        let what = format!("rename container {id} to {name}");
        let options = RenameContainerOptionsBuilder::default().name(name.as_str()).build();
        self.change(Effect::begin("docker", "rename"), &what, async |api| {
            api.rename_container(id.as_str(), options).await
        })
        .await
    }

    /// Takes a name from a running container, which is called `put_off` then, and gives it to another one, so that
    /// Docker's name service knows the name at every instant.
    ///
    /// No two containers can have one name. But the names of containers differ by case, and those of the name
    /// service do not (RFC 4343). So for a moment both answer to the name in spellings of their own, and each is
    /// renamed while the other one is known: a single renaming takes a name off before it puts the next one on.
    ///
    /// A name without two letters, or whose other spellings are taken, goes over by two renamings, between which
    /// nobody has it. Called again after it was cut off, it goes on from the names that it finds.
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
        let is_at = async |id: &ContainerId| {
            Ok::<_, DockerError>(self.inspect(id.as_str()).await?.is_some_and(|c| c.name == name.as_str()))
        };
        if !is_at(to).await? {
            if let Some([takers, givers]) = spellings(name) {
                let both = async {
                    self.rename(to, &takers).await?;
                    if is_at(giver).await? { self.rename(giver, &givers).await } else { Ok(()) }
                };
                match both.await {
                    Ok(()) => {}
                    // Some third container is called so.
                    Err(DockerError::Conflict { .. }) => self.rename(giver, put_off).await?,
                    Err(error) => return Err(error),
                }
            } else {
                self.rename(giver, put_off).await?;
            }
            self.rename(to, name).await?;
        }
        self.rename(giver, put_off).await
    }
}

/// Two other spellings of a name, each with another letter in the other case.
fn spellings(name: &ContainerName) -> Option<[ContainerName; 2]> {
    let text = name.as_str();
    let mut letters = text.char_indices().filter(|(_, c)| c.is_ascii_alphabetic()).map(|(at, _)| {
        let flip = |(i, c): (usize, char)| match (i == at, c.is_ascii_lowercase()) {
            (true, true) => c.to_ascii_uppercase(),
            (true, false) => c.to_ascii_lowercase(),
            (false, _) => c,
        };
        text.char_indices().map(flip).collect::<String>().parse().ok()
    });
    Some([letters.next()??, letters.next()??])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_name_is_spelled_in_two_other_ways_if_it_has_two_letters() {
        let spelled = |name: &str| spellings(&name.parse().unwrap()).map(|both| both.map(|n| n.to_string()));
        assert_eq!(spelled("web"), Some(["Web".to_owned(), "wEb".to_owned()]));
        assert_eq!(spelled("1-Xy"), Some(["1-xy".to_owned(), "1-XY".to_owned()]));
        assert_eq!(spelled("7b"), None);
    }
}
