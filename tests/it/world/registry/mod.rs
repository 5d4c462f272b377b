//! A real registry: Debian's `docker-registry` as a child, its files in the world's folder, and in front of it the
//! proxy whose address everyone is given, which counts pushes and fails on demand.

mod proxy;
mod reader;

pub use proxy::Fault;
pub use proxy::Push;
pub use reader::Manifest;
pub use reader::Reader;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use serde_json::json;

use crate::world::leash::Leash;
use crate::world::port::ReservedPort;
use crate::world::requests::RequestLog;
use crate::world::simulators::Simulators;
use crate::world::wire::Wire;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Who may push and pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user name.
    pub username: String,
    /// The password, or token.
    pub password: String,
}

/// The running registry.
pub struct Registry {
    wire: Wire,
    shared: Arc<proxy::Shared>,
    reader: Reader,
    login: Option<Login>,
    _process: Leash,
    _port: ReservedPort,
}

impl Registry {
    /// Starts an empty one; with a login, nothing can be read or written without it.
    pub async fn start(
        simulators: &Simulators,
        address: IpAddr,
        folder: &Path,
        login: Option<Login>,
    ) -> Self {
        let port = ReservedPort::find();
        let inner = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        std::fs::create_dir_all(folder).expect("make the registry's folder");
        let config = folder.join("config.yml");
        std::fs::write(&config, configuration(inner, folder, login.as_ref()))
            .expect("write the registry's config");
        let config = config.to_str().expect("a path in UTF-8");
        let process = Leash::start(&["docker-registry", "serve", config], &folder.join("log"));
        process.wait_listening(inner).await;
        let client = reqwest::Client::builder().no_proxy().build().expect("make the proxy's client");
        let shared = Arc::new(proxy::Shared::new(inner, client.clone()));
        let reader = Reader::new(client, inner, login.clone(), &folder.join("data"));
        let wire = Wire::serve(simulators, address, 0, proxy::router(Arc::clone(&shared))).await;
        Self { wire, shared, reader, login, _process: process, _port: port }
    }

    /// `docker_hub.registry`: the proxy's host and port.
    pub fn address(&self) -> String {
        self.wire.address().to_string()
    }

    /// The login, if it wants one.
    pub const fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// Every request this fault can hit fails, until [`Self::clear_faults`].
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.arm(fault, "", None);
    }

    /// The next `times` requests this fault can hit fail.
    pub fn fault_next(&self, times: u32, fault: Fault) {
        self.shared.faults.arm(fault, "", Some(times));
    }

    /// Requests this fault can hit fail if their path contains `path_part`, until cleared.
    pub fn fault_on(&self, path_part: &str, fault: Fault) {
        self.shared.faults.arm(fault, path_part, None);
    }

    /// All is well again, also on the wire.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
        self.wire.cut_uploads_after(None);
    }

    /// The network in front of it: down, or cutting uploads after so many bytes. Docker tries a cut layer five
    /// times over 50 s before it gives up, and so after a 5xx; a refusal with 401 or 403 it takes at once.
    pub const fn wire(&self) -> &Wire {
        &self.wire
    }

    /// What the proxy was asked.
    pub fn requests(&self) -> &RequestLog {
        &self.shared.requests
    }

    /// Every manifest that was pushed and taken, in order.
    pub fn pushes(&self) -> Vec<Push> {
        self.shared.pushes.lock().unwrap().clone()
    }

    /// How many times a manifest was pushed and taken under `NAME:TAG`.
    pub fn count_pushes(&self, name: &str, tag: &str) -> usize {
        self.pushes().iter().filter(|push| push.name == name && push.reference == tag).count()
    }

    /// What it holds, read behind the proxy's back.
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The tags of an image, sorted; none for an image it does not know.
    pub async fn tags(&self, name: &str) -> Vec<String> {
        let mut tags: Vec<String> = self.reader.tags(name).await.into_iter().map(|tag| tag.name).collect();
        tags.sort();
        tags
    }

    /// The digest a tag stands for now.
    pub async fn digest(&self, name: &str, tag: &str) -> Option<String> {
        self.reader.tags(name).await.into_iter().find(|found| found.name == tag).map(|found| found.digest)
    }

    /// Puts a second tag on what `from` stands for, as another pipeline would.
    pub async fn retag(&self, name: &str, from: &str, to: &str) {
        let digest = self.digest(name, from).await.expect("the tag to copy exists");
        let manifest = self.reader.manifest(name, &digest).await;
        self.reader.put_manifest(name, to, &manifest.media_type, manifest.text).await;
    }

    /// Pushes a multi-platform index under a tag: `(platform, digest)` pairs, `unknown/unknown` for an attestation.
    pub async fn put_index(&self, name: &str, tag: &str, entries: &[(&str, &str)]) -> String {
        let mut manifests = Vec::new();
        for (platform, digest) in entries {
            let manifest = self.reader.manifest(name, digest).await;
            let mut parts = platform.split('/');
            let (os, architecture, variant) = (parts.next(), parts.next(), parts.next());
            let mut entry = json!({"mediaType": manifest.media_type, "digest": digest, "size": manifest.text.len(),
                                   "platform": {"os": os, "architecture": architecture}});
            if let Some(variant) = variant {
                entry["platform"]["variant"] = Value::from(variant);
            }
            manifests.push(entry);
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        self.reader.put_manifest(name, tag, INDEX, index.to_string()).await
    }
}

fn configuration(address: SocketAddr, folder: &Path, login: Option<&Login>) -> String {
    let data = folder.join("data");
    let mut text = format!(
        "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {address}\n",
        data.display()
    );
    if let Some(login) = login {
        let hashed = Command::new("htpasswd")
            .args(["-nbB", "-C", "4", &login.username, &login.password])
            .output()
            .expect("run htpasswd, of apache2-utils");
        let file = folder.join("htpasswd");
        std::fs::write(&file, hashed.stdout).expect("write the registry's htpasswd");
        text.push_str(&format!("auth:\n  htpasswd:\n    realm: registry\n    path: {}\n", file.display()));
    }
    text
}
