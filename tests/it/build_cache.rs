//! The build cache of a real engine, which is the test's own since trimming it is felt by all who build there.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use homeport::ci::context::Context;
use homeport::clients::docker::BuildRequest;
use homeport::clients::docker::Builder;
use homeport::clients::docker::Docker;

use crate::world::claim::Claim;
use crate::world::engine::PrivateEngine;

const MEGABYTE: usize = 1_000_000;

/// Builds an image of so many bytes that nobody needs any more when this is done. Gives what the build wrote.
async fn build_and_forget(docker: &Docker, builder: Builder, text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Dockerfile"), "FROM scratch\nCOPY file /file\nCOPY file /again\n").unwrap();
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
        cgroup_parent: None,
        has_network: true,
        timeout: Duration::from_secs(120),
    };
    let output = Mutex::new(Vec::new());
    let out = |bytes: &[u8]| output.lock().unwrap().extend_from_slice(bytes);
    let image = docker.build_with(builder, request, &out).await.unwrap();
    docker.remove_image(&image).await.unwrap();
    String::from_utf8(output.into_inner().unwrap()).unwrap()
}

#[tokio::test]
async fn the_build_cache_is_trimmed_to_its_budget_and_what_was_used_last_stays() {
    let claim = Claim::new("cache");
    let engine = PrivateEngine::start(&claim).await;
    let docker = Docker::connect(&engine.host()).unwrap();
    build_and_forget(&docker, Builder::BuildKit, &"old".repeat(MEGABYTE)).await;
    build_and_forget(&docker, Builder::BuildKit, &"new".repeat(MEGABYTE)).await;

    let trim = async |megabytes: usize| docker.trim_build_cache((megabytes * MEGABYTE) as u64).await.unwrap();
    assert_eq!(trim(1000).await, 0, "all of it is within the budget");
    let old = trim(4).await;
    assert!(old >= 3 * MEGABYTE as u64, "{old} bytes went");
    let new = trim(0).await;
    assert!(new >= 3 * MEGABYTE as u64, "{new} bytes had stayed");
    assert_eq!(trim(0).await, 0, "nothing is left");
}

#[tokio::test]
async fn an_engine_that_lost_layers_of_its_cache_in_a_power_cut_builds_without_it_and_then_with_it_again() {
    let claim = Claim::new("lost");
    let engine = PrivateEngine::start(&claim).await;
    let docker = Docker::connect(&engine.host()).unwrap();
    for lost in ["overlay2", "image/overlay2/layerdb/sha256"] {
        build_and_forget(&docker, Builder::BuildKit, lost).await;
        engine.cut_power();
        engine.lose(lost);
        engine.restart().await;
        let told = build_and_forget(&docker, Builder::BuildKit, lost).await;
        let notice =
            told.lines().filter(|line| line.starts_with("homeport: the engine's build cache is damaged ("));
        assert_eq!(notice.count(), 1, "{lost}: {told}");
        let told = build_and_forget(&docker, Builder::BuildKit, lost).await;
        assert!(!told.contains("damaged") && told.contains("CACHED"), "{lost}: {told}");
    }
}
