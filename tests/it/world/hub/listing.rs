//! The listing of an image's tags: what the registry holds, as far as the index has caught up with it, altered as
//! the test wants, sorted and cut into pages.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::SystemTime;

use axum::response::Response;
use url::form_urlencoded;

use super::Lag;
use super::answers;
use crate::world::answer;
use crate::world::registry::Manifest;
use crate::world::registry::Reader;

const MAX_PAGE_SIZE: usize = 100;
const DEFAULT_PAGE_SIZE: usize = 10;

/// A tag as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTag {
    /// The tag.
    pub name: String,
    /// The digest of the index or manifest; old tags show none.
    pub digest: Option<String>,
    /// The media type of what the digest names.
    pub media_type: String,
    /// The images; empty in the incident of August 2025.
    pub platforms: Vec<Platform>,
    /// When it was pushed, the order of a listing.
    pub pushed: SystemTime,
    /// The size of one image in bytes.
    pub size: u64,
}

/// One image of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `linux`; `unknown` for an attestation.
    pub os: String,
    /// `amd64`, `arm64`, `arm` …; `unknown` for an attestation.
    pub architecture: String,
    /// `v7`, `v8` …
    pub variant: Option<String>,
    /// The platform's own manifest.
    pub digest: Option<String>,
    /// Its size in bytes.
    pub size: u64,
}

impl Platform {
    /// From `OS/ARCHITECTURE[/VARIANT]`.
    pub fn new(text: &str, digest: &str) -> Self {
        let mut parts = text.split('/').map(str::to_owned);
        let (os, architecture) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        Self { os, architecture, variant: parts.next(), digest: Some(digest.to_owned()), size: 42_927_662 }
    }
}

impl ListedTag {
    /// A tag pushed just now for these platforms, whose digest is taken from its name alone.
    pub fn fake(name: &str, platforms: &[&str]) -> Self {
        let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{hex:0>64.64}");
        Self {
            name: name.to_owned(),
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            platforms: platforms.iter().map(|platform| Platform::new(platform, &digest)).collect(),
            digest: Some(digest),
            pushed: SystemTime::now(),
            size: 42_927_662,
        }
    }
}

type Alteration = Box<dyn Fn(&mut ListedTag) + Send>;

/// What the index shows beside and instead of what the registry holds.
pub struct Index(Mutex<State>);

struct State {
    lag: Lag,
    page_size: Option<usize>,
    added: Vec<(String, ListedTag)>,
    hidden: Vec<(String, String)>,
    altered: Vec<(String, String, Alteration)>,
    left_out: HashMap<(String, String, String), u32>,
    shown: HashMap<(String, String), ListedTag>,
}

impl Index {
    /// An index that shows what is there.
    pub fn new() -> Self {
        Self(Mutex::new(State {
            lag: Lag::None,
            page_size: None,
            added: Vec::new(),
            hidden: Vec::new(),
            altered: Vec::new(),
            left_out: HashMap::new(),
            shown: HashMap::new(),
        }))
    }

    /// See [`super::Hub::lag`].
    pub fn set_lag(&self, lag: Lag) {
        self.0.lock().unwrap().lag = lag;
    }

    /// See [`super::Hub::force_page_size`].
    pub fn force_page_size(&self, size: Option<usize>) {
        self.0.lock().unwrap().page_size = size;
    }

    /// See [`super::Hub::add_tag`].
    pub fn add(&self, name: &str, tag: ListedTag) {
        self.0.lock().unwrap().added.push((name.to_owned(), tag));
    }

    /// See [`super::Hub::hide`].
    pub fn hide(&self, name: &str, tag: &str) {
        self.0.lock().unwrap().hidden.push((name.to_owned(), tag.to_owned()));
    }

    /// See [`super::Hub::alter_tag`].
    pub fn alter(&self, name: &str, tag: &str, change: impl Fn(&mut ListedTag) + Send + 'static) {
        self.0.lock().unwrap().altered.push((name.to_owned(), tag.to_owned(), Box::new(change)));
    }

    /// See [`super::Hub::clear_alterations`].
    pub fn clear(&self) {
        let mut state = self.0.lock().unwrap();
        state.added.clear();
        state.altered.clear();
    }

    /// Whether any tag of the image was ever listed; an image that was never pushed is a 404.
    pub fn knows(&self, name: &str) -> bool {
        let state = self.0.lock().unwrap();
        state.left_out.keys().any(|(image, ..)| image == name)
            || state.shown.keys().any(|(image, _)| image == name)
    }

    /// The tags of an image as they are listed now, newest first.
    pub async fn tags(&self, registry: &Reader, name: &str) -> Vec<ListedTag> {
        let mut live = Vec::new();
        for stored in registry.tags(name).await {
            let manifest = registry.manifest(name, &stored.digest).await;
            let platforms = platforms(registry, name, &stored.digest, &manifest).await;
            live.push(ListedTag {
                name: stored.name,
                digest: Some(stored.digest),
                media_type: manifest.media_type.clone(),
                size: platforms.first().map_or(0, |image| image.size),
                platforms,
                pushed: stored.pushed,
            });
        }
        let mut state = self.0.lock().unwrap();
        let mut tags: Vec<ListedTag> = live.into_iter().filter_map(|tag| state.catch_up(name, tag)).collect();
        tags.extend(state.added.iter().filter(|(image, _)| image == name).map(|(_, tag)| tag.clone()));
        for (image, altered, change) in &state.altered {
            tags.iter_mut().filter(|tag| image == name && tag.name == *altered).for_each(change);
        }
        let is_hidden =
            |tag: &ListedTag| state.hidden.iter().any(|(image, hidden)| image == name && tag.name == *hidden);
        tags.retain(|tag| !is_hidden(tag));
        tags.sort_by_key(|tag| Reverse(tag.pushed));
        tags
    }

    /// The page of the listing that was asked for; `url` is how the client wrote it, without the query.
    pub fn page(&self, mut tags: Vec<ListedTag>, query: &Query, url: &str) -> Response {
        tags.retain(|tag| query.name.as_ref().is_none_or(|part| tag.name.contains(part.as_str())));
        match query.ordering.as_deref() {
            Some("-last_updated") => tags.reverse(),
            Some("name") => tags.sort_by(|a, b| b.name.cmp(&a.name)),
            Some("-name") => tags.sort_by(|a, b| a.name.cmp(&b.name)),
            Some(_) | None => {}
        }
        let size = self.0.lock().unwrap().page_size.unwrap_or(query.page_size);
        let first = (query.page - 1) * size;
        if first >= tags.len() && query.page > 1 {
            return answers::not_found("");
        }
        let last = tags.len().min(first + size);
        let link = |page: usize| format!("{url}?{}", query.with_page(page));
        let next = (last < tags.len()).then(|| link(query.page + 1));
        let previous = (query.page > 1).then(|| link(query.page - 1));
        let shown = tags.get(first..last).unwrap_or_default();
        answer::json(200, &answers::page(tags.len(), next, previous, shown))
    }
}

impl State {
    /// The tag as the index shows it: new, as it was before, or not yet.
    fn catch_up(&mut self, name: &str, tag: ListedTag) -> Option<ListedTag> {
        let key = (name.to_owned(), tag.name.clone());
        let version = (name.to_owned(), tag.name.clone(), tag.digest.clone().unwrap_or_default());
        let is_shown = self.shown.get(&key).is_some_and(|shown| shown.digest == tag.digest);
        let times = self.left_out.entry(version).or_default();
        let is_late = match self.lag {
            Lag::None => false,
            Lag::Listings(wanted) => *times < wanted,
            Lag::UntilReleased => true,
        };
        if is_late && !is_shown {
            *times += 1;
            return self.shown.get(&key).cloned();
        }
        self.shown.insert(key, tag.clone());
        Some(tag)
    }
}

async fn platforms(registry: &Reader, name: &str, digest: &str, manifest: &Manifest) -> Vec<Platform> {
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    if let Some(entries) = manifest.json["manifests"].as_array() {
        let platform = |entry: &serde_json::Value| Platform {
            os: text(&entry["platform"]["os"]).unwrap_or_default(),
            architecture: text(&entry["platform"]["architecture"]).unwrap_or_default(),
            variant: text(&entry["platform"]["variant"]),
            digest: text(&entry["digest"]),
            size: entry["size"].as_u64().unwrap_or(0),
        };
        return entries.iter().map(platform).collect();
    }
    let config = manifest.json["config"]["digest"].as_str().unwrap_or_default();
    let config = registry.config(name, config).await;
    let layers = manifest.json["layers"].as_array().cloned().unwrap_or_default();
    vec![Platform {
        os: text(&config["os"]).unwrap_or_default(),
        architecture: text(&config["architecture"]).unwrap_or_default(),
        variant: text(&config["variant"]),
        digest: Some(digest.to_owned()),
        size: layers.iter().filter_map(|layer| layer["size"].as_u64()).sum(),
    }]
}

/// What a listing is asked for.
pub struct Query {
    page: usize,
    page_size: usize,
    name: Option<String>,
    ordering: Option<String>,
    pairs: Vec<(String, String)>,
}

impl Query {
    /// From the text behind the `?`.
    pub fn parse(text: &str) -> Self {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        let value = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        let number = |key: &str| value(key).and_then(|text| text.parse::<usize>().ok()).filter(|n| *n > 0);
        Self {
            page: number("page").unwrap_or(1),
            page_size: number("page_size").unwrap_or(DEFAULT_PAGE_SIZE).min(MAX_PAGE_SIZE),
            name: value("name"),
            ordering: value("ordering"),
            pairs,
        }
    }

    fn with_page(&self, page: usize) -> String {
        let others = self.pairs.iter().filter(|(name, _)| name != "page");
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(others)
            .append_pair("page", &page.to_string())
            .finish()
    }
}

/// The image, and the tag if it is about one, that a path of either style names.
pub fn target(path: &str) -> Option<(String, Option<String>)> {
    let parts: Vec<&str> = path.strip_prefix("/v2/")?.split('/').collect();
    match parts[..] {
        ["repositories", namespace, name, "tags"]
        | ["namespaces", namespace, "repositories", name, "tags"] => {
            Some((format!("{namespace}/{name}"), None))
        }
        ["repositories", namespace, name, "tags", tag]
        | ["namespaces", namespace, "repositories", name, "tags", tag] => {
            Some((format!("{namespace}/{name}"), Some(tag.to_owned())))
        }
        _ => None,
    }
}
