//! Where a world stands: on loopback with the engine all worlds share, or around an engine of its own.

use std::net::IpAddr;
use std::net::Ipv4Addr;

use crate::world::engine::PrivateEngine;
use crate::world::engine::SHARED_HOST;

/// Where a world's services listen and where its containers are reached.
pub struct Place {
    /// Where the services listen.
    pub address: IpAddr,
    /// Where published ports are reached.
    pub served_at: IpAddr,
    /// The Docker engine's socket.
    pub docker: String,
    /// What to put before the agent's command line.
    pub enter: Vec<String>,
}

impl Place {
    /// Loopback and the shared engine, or both ends of the cable to the engine of its own.
    pub fn of(engine: Option<&PrivateEngine>) -> Self {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        match engine {
            None => {
                Self { address: here, served_at: here, docker: SHARED_HOST.to_owned(), enter: Vec::new() }
            }
            Some(engine) => Self {
                address: engine.outside(),
                served_at: engine.inside(),
                docker: engine.host(),
                enter: engine.enter(),
            },
        }
    }
}
