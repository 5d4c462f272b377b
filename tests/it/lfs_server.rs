//! The LFS half of a git server: the batch API and a store of contents, in the official shapes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;

use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;
use url::Url;

use crate::stub_server::answer;

/// What is wrong with the server.
#[derive(Debug, Clone, Default)]
pub enum Trouble {
    #[default]
    None,
    /// It has none of the contents.
    Empty,
    /// It gives other bytes than were asked for.
    WrongBytes,
    /// The owner has used up what they may download.
    Quota,
    /// It sends to another server for the contents.
    Elsewhere(Url),
    /// It never answers.
    Silence,
}

/// The contents, by their ids.
type Contents = HashMap<String, Vec<u8>>;

/// Contents, and what is wrong with the server.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<(Contents, Trouble)>>);

impl Shelf {
    /// Uploads a content, and gives its pointer.
    pub fn upload(&self, content: &[u8]) -> String {
        let id: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.lock().unwrap().0.insert(id.clone(), content.to_vec());
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{id}\nsize {}\n", content.len())
    }

    pub fn trouble(&self, trouble: Trouble) {
        self.0.lock().unwrap().1 = trouble;
    }

    /// Answers the batch API at this server's address.
    pub async fn batch(&self, host: &str, body: &[u8]) -> Response {
        let (known, trouble) = self.0.lock().unwrap().clone();
        let home = Url::parse(&format!("http://{host}")).unwrap();
        let place = match &trouble {
            Trouble::Silence => std::future::pending().await,
            Trouble::Quota => {
                return said(403, &json!({"message": "This repository is over its data quota."}));
            }
            Trouble::Elsewhere(url) => url,
            Trouble::None | Trouble::Empty | Trouble::WrongBytes => &home,
        };
        let asked: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(asked["operation"], "download");
        let objects = asked["objects"].as_array().unwrap().iter().map(|object| {
            let (oid, size) = (object["oid"].as_str().unwrap(), &object["size"]);
            if known.contains_key(oid) && !matches!(trouble, Trouble::Empty) {
                let href = place.join(&format!("lfs/{oid}")).unwrap();
                json!({"oid": oid, "size": size, "actions": {"download": {"href": href}}})
            } else {
                let error = json!({"code": 404, "message": "Object does not exist"});
                json!({"oid": oid, "size": size, "error": error})
            }
        });
        said(200, &json!({"transfer": "basic", "objects": objects.collect::<Vec<_>>()}))
    }

    /// Answers `/lfs/ID`.
    pub fn content(&self, id: &str) -> Response {
        let (known, trouble) = self.0.lock().unwrap().clone();
        let mut bytes = known[id].clone();
        if matches!(trouble, Trouble::WrongBytes) {
            bytes.reverse();
        }
        answer(200, &[], bytes)
    }
}

/// The login that a token makes.
pub fn basic(token: &str) -> String {
    BASE64_STANDARD.encode(format!("x-access-token:{token}"))
}

fn said(status: u16, body: &Value) -> Response {
    answer(status, &[("content-type", "application/vnd.git-lfs+json")], body.to_string())
}
