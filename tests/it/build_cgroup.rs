//! Which cgroup the lines of a Dockerfile run below, on a real engine.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use homeport::ci::context::Context;
use homeport::clients::docker::BuildRequest;
use homeport::clients::docker::Builder;

use crate::docker_bed::Bed;

/// What the line of a build sees of its own cgroups, which is told not to run below the usual one.
async fn cgroups_below(parent: &str, builder: Builder) -> (Bed, String) {
    let bed = Bed::new();
    let show =
        format!(r#"RUN ["/busybox", "sh", "-c", ": {}; /busybox cat /proc/self/cgroup"]"#, bed.project);
    let dockerfile = format!("FROM scratch\nCOPY busybox /\n{show}\n");
    fs::write(bed.files().join("Dockerfile"), dockerfile).unwrap();
    let context = Context::for_build(bed.files(), ".", "Dockerfile").await.unwrap();
    let request = BuildRequest { cgroup_parent: Some(parent), ..bed.request(Arc::new(context)) };
    let built = bed.docker.build_with(builder, request, &bed.out()).await;
    let output = bed.output();
    built.unwrap_or_else(|error| panic!("{error}\n{output}"));
    (bed, output)
}

/// Removes the cgroup that the engine leaves behind where it keeps its cgroups itself.
fn remove(name: &str) {
    let top = Path::new("/sys/fs/cgroup");
    let kinds = fs::read_dir(top).unwrap().filter_map(Result::ok).map(|entry| entry.path());
    for folder in kinds.chain([top.to_owned()]).map(|kind| kind.join(name)) {
        fs::remove_dir(folder.join("buildkit")).ok();
        fs::remove_dir(folder).ok();
    }
}

#[tokio::test]
async fn a_build_runs_below_the_cgroup_it_is_given_where_the_builder_knows_of_it() {
    let engine = Bed::new().docker.engine().await.unwrap();
    let major: u32 = engine.version.split('.').next().unwrap().parse().unwrap();
    let parent = if engine.cgroup_driver == "systemd" { "homeport_it.slice" } else { "homeport_it" };
    for builder in [Builder::Classic, Builder::BuildKit] {
        let (_bed, seen) = cgroups_below(parent, builder).await;
        let is_known = builder == Builder::Classic || major >= 23;
        // The first half of the answer: an engine that does not know of it builds all the same.
        assert!(seen.contains(":/"), "{seen}");
        assert_eq!(
            seen.contains(&format!("/{parent}/")),
            is_known,
            "{builder:?} of {}:\n{seen}",
            engine.version
        );
    }
    remove(parent);
}
