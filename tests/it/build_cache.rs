//! The build cache of a real engine, which is the test's own since trimming it is felt by all who build there.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use homeport::ci::context::Context;
use homeport::clients::docker::BuildContext;
use homeport::clients::docker::BuildError;
use homeport::clients::docker::BuildRequest;
use homeport::clients::docker::Builder;
use homeport::clients::docker::Docker;
use homeport::model::Blame;
use tempfile::TempDir;

use crate::docker_bed::plain_request;
use crate::world::claim::Claim;
use crate::world::engine::PrivateEngine;

const MEGABYTE: usize = 1_000_000;
/// Where an engine's store knows its layers from.
const LAYERS: &str = "image/overlay2/layerdb/sha256";

/// A context of these files.
async fn context_of(files: &[(&str, &str)]) -> (TempDir, Arc<dyn BuildContext>) {
    let folder = tempfile::tempdir().unwrap();
    fs::copy("/bin/busybox", folder.path().join("busybox")).unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let context = Context::for_build(folder.path(), ".", "Dockerfile").await.unwrap();
    (folder, Arc::new(context))
}

/// Builds an image of these bytes that nobody needs any more when this is done. Gives what the build wrote.
async fn build_and_forget(docker: &Docker, text: &str) -> String {
    let dockerfile = "FROM scratch\nCOPY file /file\nCOPY file /again\n";
    let (_folder, context) = context_of(&[("Dockerfile", dockerfile), ("file", text)]).await;
    let output = Mutex::new(Vec::new());
    let out = |bytes: &[u8]| output.lock().unwrap().extend_from_slice(bytes);
    let image = docker.build_with(Builder::BuildKit, plain_request(context), &out).await.unwrap();
    docker.remove_image(&image).await.unwrap();
    String::from_utf8(output.into_inner().unwrap()).unwrap()
}

/// Takes the power from an engine, and this from its store.
async fn cut_and_lose(engine: &PrivateEngine, lost: &str) {
    engine.cut_power();
    engine.lose(lost);
    engine.restart().await;
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

#[tokio::test]
async fn an_engine_that_lost_layers_of_its_cache_in_a_power_cut_builds_without_it_and_then_with_it_again() {
    let claim = Claim::new("lost");
    let engine = PrivateEngine::start(&claim).await;
    let docker = Docker::connect(&engine.host()).unwrap();
    for lost in ["overlay2", LAYERS] {
        build_and_forget(&docker, lost).await;
        cut_and_lose(&engine, lost).await;
        let told = build_and_forget(&docker, lost).await;
        let notice =
            told.lines().filter(|line| line.starts_with("homeport: the engine's build cache is damaged ("));
        assert_eq!(notice.count(), 1, "{lost}: {told}");
        let told = build_and_forget(&docker, lost).await;
        assert!(!told.contains("damaged") && told.contains("CACHED"), "{lost}: {told}");
    }
}

#[tokio::test]
async fn a_commit_is_not_blamed_for_what_an_engine_lost_where_that_cannot_be_mended() {
    let claim = Claim::new("blame");
    let engine = PrivateEngine::start(&claim).await;
    let docker = Docker::connect(&engine.host()).unwrap();
    // Secrets have no part in what is found in the cache: the line is the same one, and takes longer.
    let dockerfile = "FROM scratch\nCOPY busybox /\n\
         RUN --mount=type=secret,id=time [\"/busybox\", \"sh\", \"-c\", \"/busybox sleep $(/busybox cat /run/secrets/time)\"]\n";
    let (_folder, context) = context_of(&[("Dockerfile", dockerfile)]).await;
    let build = async |time: &str, limit| {
        let secrets = BTreeMap::from([("time".to_owned(), time.into())]);
        let timeout = Duration::from_secs(limit);
        let request = BuildRequest { secrets: &secrets, timeout, ..plain_request(Arc::clone(&context)) };
        docker.build_with(Builder::BuildKit, request, &|_: &[u8]| {}).await
    };
    let base = build("0", 120).await.unwrap();
    docker.tag(&base, &"docker.io/me/base:1".parse().unwrap()).await.unwrap();
    build("600", 120).await.expect("it is found in the cache");

    cut_and_lose(&engine, LAYERS).await;
    let error = build("600", 5).await.unwrap_err();
    assert!(error.to_string().contains("without anything in the engine's build cache"), "{error}");
    assert_eq!(error.blame(), Blame::World);

    let (_folder, context) = context_of(&[("Dockerfile", "FROM me/base:1\nCOPY busybox /again\n")]).await;
    let error =
        docker.build_with(Builder::BuildKit, plain_request(context), &|_: &[u8]| {}).await.unwrap_err();
    assert!(matches!(error, BuildError::DamagedCache(_)), "{error}");
    assert_eq!(error.blame(), Blame::World);
}
