//! How a new container shows that it works, as the owner writes it. See [`crate::config::project`].

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::config::duration::Interval;

/// How a new container shows that it works.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prove {
    /// A path that must answer 2xx or 3xx on the first published TCP port, such as `/`. Left out: the image's
    /// HEALTHCHECK, else a TCP connection, else uptime alone.
    #[schemars(extend("pattern" = "^/"))]
    pub http: Option<String>,
    /// The container's own port that is asked. Default: the first published one, else the only one that the image
    /// exposes.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// The most time the container may take to prove itself. Default `120s`.
    pub timeout: Interval,
    /// Good samples in a row that are needed, at least 1. Default 3.
    #[schemars(range(min = 1))]
    pub good_samples: u32,
    /// Time between two samples. Default `1s`.
    pub interval: Interval,
    /// The least time the container must have run. Default `10s`.
    pub min_uptime: Interval,
}

impl Default for Prove {
    fn default() -> Self {
        Self {
            http: None,
            port: None,
            timeout: Interval::from_secs(120),
            good_samples: 3,
            interval: Interval::from_secs(1),
            min_uptime: Interval::from_secs(10),
        }
    }
}
