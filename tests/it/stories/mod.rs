//! Stories: the real agent in the simulated world, from a pushed commit to a proven container.

mod bad_images;
mod commands;
mod docker_away;
mod first_deployments;
mod github_troubles;
mod hands_in_a_swap;
mod hands_on;
mod hub_troubles;
mod lost_database;
mod mail_troubles;
mod orders;
mod orders_at_odd_times;
mod pauses;
mod prunes;
mod pushes;
mod red_commits;
mod reloads;
mod restarts;
mod retention;
mod secrets;
mod service;
mod start_first;
mod test_places;
mod voyage;
mod watches;
mod ways_back;
