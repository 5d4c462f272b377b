//! Reads and writes the registry behind the proxy's back, over its own HTTP API, as Docker Hub's index and other
//! pipelines would. The time of a push, which the API does not tell, comes from the registry's files.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::SystemTime;

use reqwest::Method;
use reqwest::RequestBuilder;
use serde_json::Value;

use super::Login;

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.v2+json";

/// A tag as the registry holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTag {
    /// The tag.
    pub name: String,
    /// What it stands for.
    pub digest: String,
    /// When it was pushed.
    pub pushed: SystemTime,
}

/// A manifest or index.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Its media type.
    pub media_type: String,
    /// Its bytes, of which the digest is taken.
    pub text: String,
    /// The same, read.
    pub json: Value,
}

/// The registry's content.
#[derive(Clone)]
pub struct Reader {
    client: reqwest::Client,
    address: SocketAddr,
    login: Option<Login>,
    repositories: PathBuf,
    manifests: Arc<Mutex<HashMap<String, Manifest>>>,
    configs: Arc<Mutex<HashMap<String, Value>>>,
}

impl Reader {
    /// A reader of the registry at `address` whose files are below `data`.
    pub fn new(client: reqwest::Client, address: SocketAddr, login: Option<Login>, data: &Path) -> Self {
        let repositories = data.join("docker/registry/v2/repositories");
        let (manifests, configs) = (Arc::default(), Arc::default());
        Self { client, address, login, repositories, manifests, configs }
    }

    /// The tags of an image; none for an image it does not know.
    pub async fn tags(&self, name: &str) -> Vec<StoredTag> {
        let answer =
            self.request(Method::GET, name, "tags/list").send().await.expect("ask the registry for tags");
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Vec::new();
        }
        let list: Value = answer.json().await.expect("the registry lists tags");
        let names = list["tags"].as_array().cloned().unwrap_or_default();
        names.iter().filter_map(|tag| self.stored_tag(name, tag.as_str()?)).collect()
    }

    fn stored_tag(&self, name: &str, tag: &str) -> Option<StoredTag> {
        let link = self.repositories.join(name).join("_manifests/tags").join(tag).join("current/link");
        let digest = std::fs::read_to_string(&link).ok()?.trim().to_owned();
        let pushed = std::fs::metadata(&link).ok()?.modified().ok()?;
        Some(StoredTag { name: tag.to_owned(), digest, pushed })
    }

    /// The manifest or index with this digest.
    pub async fn manifest(&self, name: &str, digest: &str) -> Manifest {
        if let Some(known) = self.manifests.lock().unwrap().get(digest) {
            return known.clone();
        }
        let request =
            self.request(Method::GET, name, &format!("manifests/{digest}")).header("accept", ACCEPT);
        let answer = request.send().await.expect("ask the registry for a manifest");
        assert!(answer.status().is_success(), "the registry has no manifest {name}@{digest}");
        let media_type = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or_default().to_owned();
        let text = answer.text().await.expect("read a manifest");
        let json = serde_json::from_str(&text).expect("a manifest is JSON");
        let manifest = Manifest { media_type, text, json };
        self.manifests.lock().unwrap().insert(digest.to_owned(), manifest.clone());
        manifest
    }

    /// The image config with this digest, which names the platform.
    pub async fn config(&self, name: &str, digest: &str) -> Value {
        if let Some(known) = self.configs.lock().unwrap().get(digest) {
            return known.clone();
        }
        let request = self.request(Method::GET, name, &format!("blobs/{digest}"));
        let answer = request.send().await.expect("ask the registry for a config");
        let config: Value = answer.json().await.expect("a config is JSON");
        self.configs.lock().unwrap().insert(digest.to_owned(), config.clone());
        config
    }

    /// Stores a manifest under a tag; gives its digest.
    pub async fn put_manifest(&self, name: &str, tag: &str, media_type: &str, text: String) -> String {
        let request = self.request(Method::PUT, name, &format!("manifests/{tag}"));
        let answer =
            request.header("content-type", media_type).body(text).send().await.expect("put a manifest");
        assert!(answer.status().is_success(), "the registry refused the manifest {name}:{tag}");
        let digest = answer.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        digest.expect("the registry tells the digest").to_owned()
    }

    /// Deletes what a digest names, with every tag on it.
    pub async fn delete(&self, name: &str, digest: &str) {
        let request = self.request(Method::DELETE, name, &format!("manifests/{digest}"));
        let answer = request.send().await.expect("delete a manifest");
        assert!(answer.status().is_success(), "the registry did not delete {name}@{digest}");
    }

    fn request(&self, method: Method, name: &str, rest: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("http://{}/v2/{name}/{rest}", self.address));
        match &self.login {
            Some(login) => request.basic_auth(&login.username, Some(&login.password)),
            None => request,
        }
    }
}
