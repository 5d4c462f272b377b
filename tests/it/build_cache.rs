//! The build cache of a real engine, which is the test's own since trimming it is felt by all who build there.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use homeport::ci::context::Context;
use homeport::clients::docker::BuildRequest;
use homeport::clients::docker::Docker;

use crate::world::claim::Claim;
use crate::world::engine::PrivateEngine;

const MEGABYTE: usize = 1_000_000;

/// Builds an image of so many bytes that nobody needs any more when this is done.
async fn build_and_forget(docker: &Docker, text: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Dockerfile"), "FROM scratch\nCOPY file /file\n").unwrap();
    fs::write(folder.path().join("file"), text).unwrap();
    let context = Context::for_build(folder.path(), ".", "Dockerfile").await.unwrap();
    let request = BuildRequest {
        context: Arc::new(context),
        tree: "homeport/cache",
        dockerfile: "Dockerfile",
        names: &[],
        args: &BTreeMap::new(),
        target: None,
        platform: None,
        labels: &BTreeMap::new(),
        secrets: &BTreeMap::new(),
        login: None,
        has_network: true,
        timeout: Duration::from_secs(120),
    };
    let image = docker.build(request, &|_: &[u8]| {}).await.unwrap();
    docker.remove_image(&image).await.unwrap();
}

#[tokio::test]
async fn the_build_cache_is_trimmed_to_its_budget_and_what_was_used_last_stays() {
    let claim = Claim::new("cache");
    let engine = PrivateEngine::start(&claim).await;
    let docker = Docker::connect(&engine.host()).unwrap();
    build_and_forget(&docker, &"old".repeat(MEGABYTE)).await;
    build_and_forget(&docker, &"new".repeat(MEGABYTE)).await;

    let trim = async |megabytes: usize| docker.trim_build_cache((megabytes * MEGABYTE) as u64).await.unwrap();
    assert_eq!(trim(1000).await, 0, "all of it is within the budget");
    let old = trim(4).await;
    assert!(old >= 3 * MEGABYTE as u64, "{old} bytes went");
    let new = trim(0).await;
    assert!(new >= 3 * MEGABYTE as u64, "{new} bytes had stayed");
    assert_eq!(trim(0).await, 0, "nothing is left");
}
