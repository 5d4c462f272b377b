//! One test binary, so that there is one link step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod build_cache;
mod build_context;
mod commit_status;
mod config;
mod config_refusals;
mod database_damage;
mod docker_bed;
mod docker_client;
mod docker_sandbox;
mod docker_versions;
mod git_client;
mod git_lfs;
mod git_server;
mod git_submodules;
mod github_client;
mod host_process;
mod hostile;
mod hub_client;
mod kill_matrix;
mod lfs_server;
mod mailer;
mod probe_client;
mod readme;
mod run_log;
mod schedule;
mod store;
mod stories;
mod stub_server;
mod swap_model;
mod systemd_unit;
mod test_switch;
mod tidy;
mod webhook;
mod world;
mod world_works;
