//! The engine that answers is whatever the owner has installed: from Debian's 20.10 (API 1.41) to Docker 29, which
//! refuses what was spoken to 20.10 (its least API is 1.44). The real engine of the other tests is 20.10; here
//! answers in the shapes of 29 stand in for one that cannot be had: the containerd image store, in which an
//! image's id is its manifest's digest, fields that are gone, and fields that are new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use axum::response::Response;
use homeport::clients::docker::Docker;
use homeport::clients::docker::DockerError;
use homeport::clients::docker::Ended;
use homeport::clients::docker::ImageReference;
use homeport::clients::docker::Stopped;
use homeport::config::settings::ContainerSpec;
use homeport::config::settings::Proof;
use homeport::model::ContainerId;
use homeport::model::LABEL_PROJECT;
use homeport::model::Life;
use homeport::model::ProjectName;
use homeport::model::RestartPolicy;
use serde_json::Value;
use serde_json::json;

use crate::stub_server::Seen;
use crate::stub_server::StubServer;
use crate::stub_server::answer;

const ID: &str = "4d1f0c2b7a6958473625140f3e2d1c0b9a8877665544332211ffeeddccbbaa00";
const DIGEST: &str = "sha256:9c1185a5c5e9fc54612808977ee8f548b2258d31f1e7c9f2c1c9d0f1b1f0e1a2";
const LIMIT: Duration = Duration::from_secs(10);

/// An engine's version, the API it speaks and the least that it takes.
#[derive(Debug, Clone, Copy)]
struct Generation {
    version: &'static str,
    api: u32,
    least_api: u32,
}

const DEBIAN_12: Generation = Generation { version: "20.10.24+dfsg1", api: 41, least_api: 12 };
const DOCKER_29: Generation = Generation { version: "29.1.2", api: 52, least_api: 44 };

/// What the engine has: one container at most, and which generation it is.
#[derive(Debug)]
struct House {
    generation: Generation,
    container: Option<Value>,
}

impl House {
    fn answer(&mut self, asked: &Seen) -> Response {
        let target = match self.unversioned(&asked.target) {
            Ok(target) => target,
            Err(refusal) => return *refusal,
        };
        let path = target.split('?').next().unwrap_or_default().to_owned();
        match (asked.method.as_str(), path.as_str()) {
            ("GET", "/version") => ok(&self.version()),
            ("GET", "/info") => ok(&info()),
            ("GET", "/containers/json") => ok(&self.listed()),
            ("GET", "/events") => answer(200, &[("content-type", "application/json")], ""),
            ("GET", path) if path.starts_with("/distribution/") => ok(
                &json!({"Descriptor": descriptor(), "Platforms": [{"architecture": "arm64", "os": "linux"}]}),
            ),
            ("GET", path) if path.starts_with("/images/") => ok(&self.image()),
            ("POST", "/images/create") => lines(&[
                json!({"status": "Pulling from me/web", "id": DIGEST}),
                json!({"status": format!("Digest: {DIGEST}")}),
            ]),
            ("POST", path) if path.ends_with("/push") => lines(&[
                json!({"status": "Pushed", "id": "9c1185a5c5e9"}),
                json!({"status": format!("7: digest: {DIGEST} size: 855")}),
                json!({"aux": {"Tag": "7", "Digest": DIGEST, "Size": 855}}),
            ]),
            ("POST", path) if path.ends_with("/tag") => answer(201, &[], ""),
            ("POST", "/containers/create") => self.create(&target, &asked.body),
            (method, path) if path.starts_with("/containers/") => {
                self.of_container(method, path, &target, asked)
            }
            (method, path) => panic!("the stub engine does not know {method} {path}"),
        }
    }

    /// What newer engines do with the version in a path: 29 refuses what is too old for it.
    fn unversioned(&self, target: &str) -> Result<String, Box<Response>> {
        let Some((version, rest)) = target.strip_prefix("/v1.").and_then(|rest| rest.split_once('/')) else {
            return Ok(target.to_owned());
        };
        let asked: u32 = version.parse().unwrap();
        let Generation { api, least_api, .. } = self.generation;
        let complaint = if asked < least_api {
            format!(
                "client version 1.{asked} is too old. Minimum supported API version is 1.{least_api}, please \
                     upgrade your client to a newer version"
            )
        } else if asked > api {
            format!("client version 1.{asked} is too new. Maximum supported API version is 1.{api}")
        } else {
            return Ok(format!("/{rest}"));
        };
        Err(Box::new(answer(400, JSON, json!({"message": complaint}).to_string())))
    }

    fn version(&self) -> Value {
        let Generation { version, api, least_api } = self.generation;
        json!({
            "Platform": {"Name": "Docker Engine - Community"}, "Version": version,
            "ApiVersion": format!("1.{api}"), "MinAPIVersion": format!("1.{least_api}"),
            "Os": "linux", "Arch": "arm64", "KernelVersion": "6.12.47+rpt-rpi-v8", "GoVersion": "go1.25.4",
            "Components": [{"Name": "Engine", "Version": version, "Details": {"ApiVersion": format!("1.{api}")}}]
        })
    }

    fn is_modern(&self) -> bool {
        self.generation.least_api > 12
    }

    fn image(&self) -> Value {
        let mut image = json!({
            "Id": DIGEST, "RepoTags": ["registry.example/me/web:7"],
            "RepoDigests": [format!("registry.example/me/web@{DIGEST}")],
            "Created": "2026-11-20T10:00:00Z", "Architecture": "arm64", "Variant": "v8", "Os": "linux",
            "Size": 9_000_000, "Config": {"Labels": {LABEL_PROJECT: "web"}, "ExposedPorts": {"5000/tcp": {}}},
            "RootFS": {"Type": "layers", "Layers": [DIGEST]}, "Metadata": {"LastTagTime": "2026-11-20T10:00:01Z"}
        });
        if self.is_modern() {
            image["Descriptor"] = descriptor();
            image["Identity"] = json!({"Pull": [{"Repository": "registry.example/me/web"}]});
        } else {
            image["GraphDriver"] = json!({"Name": "overlay2", "Data": {}});
            image["VirtualSize"] = json!(9_000_000);
        }
        image
    }

    fn create(&mut self, target: &str, body: &str) -> Response {
        let body: Value = serde_json::from_str(body).unwrap();
        let name = target.split("name=").nth(1).and_then(|rest| rest.split('&').next()).unwrap();
        let mut container = json!({
            "Id": ID, "Name": format!("/{name}"), "Image": DIGEST, "RestartCount": 0,
            "Created": "2026-11-24T10:00:00.0Z", "Path": "/bin/sh", "Args": [], "Platform": "linux",
            "State": {
                "Status": "created", "Running": false, "Paused": false, "Restarting": false, "OOMKilled": false,
                "Dead": false, "Pid": 0, "ExitCode": 0, "Error": "", "StartedAt": "0001-01-01T00:00:00Z",
                "FinishedAt": "0001-01-01T00:00:00Z"
            },
            "Config": {"Labels": body["Labels"], "Image": DIGEST, "Env": body["Env"]},
            "HostConfig": {"NetworkMode": "bridge", "RestartPolicy": body["HostConfig"]["RestartPolicy"]},
            "NetworkSettings": {"SandboxID": "", "Ports": {}, "Networks": {"bridge": endpoint()}}
        });
        if self.is_modern() {
            container["ImageManifestDescriptor"] = descriptor();
            container["Storage"] = json!({"RootFS": {"Snapshot": {"Name": "overlayfs"}}});
        } else {
            container["NetworkSettings"]["IPAddress"] = json!("172.17.0.5");
            container["GraphDriver"] = json!({"Name": "overlay2", "Data": {}});
        }
        self.container = Some(container);
        answer(201, JSON, json!({"Id": ID, "Warnings": []}).to_string())
    }

    fn listed(&self) -> Value {
        let one = self.container.as_ref().map(|container| {
            json!({
                "Id": ID, "Names": [container["Name"]], "Image": DIGEST, "ImageID": DIGEST,
                "Labels": container["Config"]["Labels"], "State": container["State"]["Status"],
                "Status": "Up 3 seconds", "Created": 1_795_000_000, "Command": "sh",
                "Ports": [{"IP": "0.0.0.0", "PrivatePort": 5000, "PublicPort": 5000, "Type": "tcp"}],
                "HostConfig": {"NetworkMode": "bridge"}, "NetworkSettings": {"Networks": {}}, "Mounts": [],
                "Health": {"Status": "none", "FailingStreak": 0}
            })
        });
        Value::Array(one.into_iter().collect())
    }

    fn of_container(&mut self, method: &str, path: &str, target: &str, asked: &Seen) -> Response {
        let Some(container) = &mut self.container else {
            return answer(404, JSON, json!({"message": "No such container: web"}).to_string());
        };
        let state = &mut container["State"];
        match (method, path.rsplit('/').next().unwrap_or_default()) {
            ("GET", "json") => return ok(container),
            ("GET", "logs") => {
                let frame = [&[1, 0, 0, 0, 0, 0, 0, 6][..], b"hello\n"].concat();
                let kind = "application/vnd.docker.multiplexed-stream";
                return answer(200, &[("content-type", kind)], frame);
            }
            ("POST", "start") => {
                state["Status"] = json!("running");
                state["Running"] = json!(true);
                state["StartedAt"] = json!("2026-11-24T10:00:01.5Z");
                container["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] = json!("172.17.0.5");
            }
            ("POST", "stop") => {
                state["Status"] = json!("exited");
                state["Running"] = json!(false);
                state["ExitCode"] = json!(143);
                state["FinishedAt"] = json!("2026-11-24T10:00:09.5Z");
            }
            ("POST", "wait") => return lines(&[json!({"StatusCode": 143})]),
            ("POST", "rename") => {
                let name = target.split("name=").nth(1).unwrap();
                container["Name"] = json!(format!("/{name}"));
            }
            ("POST", "update") => {
                let body: Value = serde_json::from_str(&asked.body).unwrap();
                container["HostConfig"]["RestartPolicy"] = body["RestartPolicy"].clone();
                return ok(&json!({"Warnings": null}));
            }
            ("DELETE", _) => self.container = None,
            (method, _) => panic!("the stub engine does not know {method} {path}"),
        }
        answer(204, &[], "")
    }
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn ok(body: &Value) -> Response {
    answer(200, JSON, body.to_string())
}

fn lines(all: &[Value]) -> Response {
    answer(200, JSON, all.iter().map(|line| format!("{line}\n")).collect::<String>())
}

fn info() -> Value {
    json!({
        "ID": "7f3a", "OSType": "linux", "Architecture": "aarch64", "NCPU": 4, "MemTotal": 4_000_000_000_u64,
        "DockerRootDir": "/var/lib/docker", "MemoryLimit": true, "CgroupVersion": "2", "Driver": "overlayfs",
        "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]], "FirewallBackend": {"Driver": "nftables"},
        "DiscoveredDevices": [], "NRI": {"Info": []}
    })
}

fn descriptor() -> Value {
    json!({
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": DIGEST, "size": 855,
        "annotations": {"org.opencontainers.image.created": "2026-11-20T10:00:00Z"}
    })
}

fn endpoint() -> Value {
    json!({
        "IPAMConfig": null, "Links": null, "Aliases": null, "DriverOpts": null, "GwPriority": 0,
        "MacAddress": "02:42:ac:11:00:05", "NetworkID": "n1", "EndpointID": "e1", "Gateway": "172.17.0.1",
        "IPAddress": "", "DNSNames": ["web"]
    })
}

fn spec() -> ContainerSpec {
    ContainerSpec {
        name: "web".parse().unwrap(),
        ports: Vec::new(),
        env: BTreeMap::new(),
        volumes: Vec::new(),
        labels: BTreeMap::new(),
        network: None,
        stop_grace: Duration::from_secs(1),
        proof: Proof::default(),
    }
}

async fn engine_of(generation: Generation) -> (StubServer, Docker, Arc<Mutex<House>>) {
    let house = Arc::new(Mutex::new(House { generation, container: None }));
    let shared = Arc::clone(&house);
    let server = StubServer::start(move |seen, _| shared.lock().unwrap().answer(seen)).await;
    let host = server.url.as_str().replace("http://", "tcp://");
    let docker = Docker::connect(host.trim_end_matches('/')).unwrap();
    (server, docker, house)
}

/// Every call of a deployment, from the question what the engine is to the removal of the container.
async fn live_through_a_deployment(docker: &Docker, generation: Generation) -> Result<(), DockerError> {
    let project: ProjectName = "web".parse().unwrap();
    let engine = docker.engine().await?;
    assert_eq!((engine.version.as_str(), engine.goarch.as_str()), (generation.version, "arm64"));
    assert_eq!(engine.api_version, format!("1.{}", generation.api));

    let reference: ImageReference = format!("registry.example/me/web@{DIGEST}").parse().unwrap();
    let image = docker.pull(&reference, None, None, LIMIT, &|_| {}).await?;
    assert_eq!((image.id.as_str(), image.exposed_ports.len()), (DIGEST, 1));
    let tagged: ImageReference = "registry.example/me/web:7".parse().unwrap();
    docker.tag(&image.id, &tagged).await?;
    assert_eq!(docker.push(&tagged, None, LIMIT, &|_| {}).await?.as_str(), DIGEST);
    assert_eq!(docker.registry_digest(&tagged, None).await?.map(|d| d.to_string()), Some(DIGEST.to_owned()));

    let labels = BTreeMap::from([(LABEL_PROJECT.to_owned(), "web".to_owned())]);
    let id = docker.create(&"web.next".parse().unwrap(), &spec(), DIGEST, &labels).await?;
    assert_eq!(docker.inspect(id.as_str()).await?.unwrap().life, Life::Created);
    docker.set_policy(&id, RestartPolicy::Always).await?;
    docker.start(&id).await?;
    let running = docker.inspect("web.next").await?.unwrap();
    assert_eq!((running.is_running(), running.policy), (true, RestartPolicy::Always));
    assert_eq!(running.address.map(|address| address.to_string()).as_deref(), Some("172.17.0.5"));
    docker.rename(&id, &"web".parse().unwrap()).await?;
    assert_eq!(docker.standing(&project, &[]).await?.containers[0].name, "web");
    assert_eq!(docker.publications().await?[0].port.host, 5000);
    assert_eq!(docker.logs_tail(&id, 5).await?, ["hello"]);
    assert_eq!(docker.stop(&id, Duration::from_secs(1)).await?, Stopped::ByItself);
    assert_eq!(docker.wait_exit(&id).await?, Ended::Exited { code: 143 });
    assert!(!docker.was_told_to_stop(&running).await?);
    docker.remove(&id, true).await?;
    assert_eq!(docker.inspect("web").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_deployment_speaks_to_docker_29_which_refuses_what_is_spoken_to_older_ones() {
    let (server, docker, _) = engine_of(DOCKER_29).await;
    live_through_a_deployment(&docker, DOCKER_29).await.unwrap();
    let versioned: Vec<String> = server.lines().into_iter().filter(|line| line.contains(" /v1.")).collect();
    assert!(versioned.is_empty(), "without a version in its path every engine answers: {versioned:?}");
}

#[tokio::test]
async fn an_engine_that_is_upgraded_under_the_agent_is_spoken_to_as_before() {
    let (_server, docker, house) = engine_of(DEBIAN_12).await;
    live_through_a_deployment(&docker, DEBIAN_12).await.unwrap();
    house.lock().unwrap().generation = DOCKER_29;
    live_through_a_deployment(&docker, DOCKER_29).await.unwrap();
}

#[tokio::test]
async fn an_engine_that_is_too_old_is_told_apart() {
    let old = Generation { version: "19.03.15", api: 40, least_api: 12 };
    for (generation, is_too_old) in [(old, true), (DEBIAN_12, false), (DOCKER_29, false)] {
        let (_server, docker, _) = engine_of(generation).await;
        assert_eq!(docker.engine().await.unwrap().is_too_old(), is_too_old, "{generation:?}");
    }
}

#[tokio::test]
async fn a_container_state_that_a_later_engine_invents_is_an_error_that_names_it() {
    let (_server, docker, house) = engine_of(DOCKER_29).await;
    let id: ContainerId =
        docker.create(&"web".parse().unwrap(), &spec(), DIGEST, &BTreeMap::new()).await.unwrap();
    house.lock().unwrap().container.as_mut().unwrap()["State"]["Status"] = json!("hibernating");
    let error = docker.inspect(id.as_str()).await.unwrap_err().to_string();
    assert!(error.contains("hibernating"), "{error}");
}
