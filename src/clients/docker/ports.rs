//! Which containers publish which ports of this machine.

use std::net::IpAddr;

use bollard::models::PortSummaryTypeEnum as PortType;
use bollard::query_parameters::ListContainersOptionsBuilder;

use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::config::settings::PortMapping;
use crate::config::settings::Protocol;
use crate::model::ContainerId;

/// A port of this machine that a running container publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The container.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// What it publishes.
    pub port: PortMapping,
}

impl Docker {
    /// Every port that a running container publishes.
    ///
    /// # Errors
    /// `Unreachable`, `TimedOut`, `Refused`.
    pub async fn publications(&self) -> Result<Vec<Publication>, DockerError> {
        let options = ListContainersOptionsBuilder::default().all(false).build();
        let found = self
            .ask("list the published ports", async |api| api.list_containers(Some(options)).await)
            .await?;
        let mut publications = Vec::new();
        for summary in found {
            let Some(id) = summary.id.and_then(|id| id.parse::<ContainerId>().ok()) else { continue };
            let name = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
            let name = name.trim_start_matches('/').to_owned();
            for port in summary.ports.unwrap_or_default() {
                let protocol = match port.typ {
                    Some(PortType::UDP) => Protocol::Udp,
                    Some(PortType::TCP | PortType::SCTP | PortType::EMPTY) | None => Protocol::Tcp,
                };
                let Some(number) = port.public_port else { continue };
                let address = port.ip.and_then(|ip| ip.parse().ok());
                let address = address.filter(|address: &IpAddr| !address.is_unspecified());
                let port = PortMapping { address, host: number, container: port.private_port, protocol };
                publications.push(Publication { id: id.clone(), name: name.clone(), port });
            }
        }
        Ok(publications)
    }
}
