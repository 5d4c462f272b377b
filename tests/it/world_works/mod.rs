//! The simulated world against real clients: each part does what the stories take for granted.

mod agent_process;
mod docker;
mod git_and_github;
mod mail;
mod registry_and_hub;
