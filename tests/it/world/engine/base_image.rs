//! The base image of all sample images: `FROM scratch` and a static busybox. Built once per engine, without
//! network, under a lock that all worlds share; never removed.

use std::fs::File;
use std::path::Path;

use super::Engine;
use crate::world::app::BASE_IMAGE;

const BUSYBOX: &str = "/bin/busybox";
const DOCKERFILE: &str = "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
                          ENV PATH=/bin\nCMD [\"sh\"]\n";

/// Makes sure that the engine has it.
pub async fn ensure(engine: &Engine) {
    if exists(engine).await {
        return;
    }
    let file = std::env::temp_dir().join("hp-base-image.lock");
    let lock = File::create(&file).expect("make the base image's lock");
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await;
    let _held = lock.expect("wait for the base image's lock").expect("take the base image's lock");
    if exists(engine).await {
        return;
    }
    assert!(Path::new(BUSYBOX).exists(), "no {BUSYBOX}: the world needs Debian's busybox-static");
    let context = tempfile::tempdir().expect("make a build context");
    std::fs::copy(BUSYBOX, context.path().join("busybox")).expect("copy busybox");
    std::fs::write(context.path().join("Dockerfile"), DOCKERFILE).expect("write the base image's Dockerfile");
    let context = context.path().to_str().expect("a path in UTF-8");
    engine.docker(&["build", "--quiet", "--tag", BASE_IMAGE, context]).await.expect("build the base image");
    // Those who wait for this lock will find the image, and others do not ask for one.
    std::fs::remove_file(file).ok();
}

async fn exists(engine: &Engine) -> bool {
    engine.docker(&["image", "inspect", "--format", "{{.Id}}", BASE_IMAGE]).await.is_ok()
}
