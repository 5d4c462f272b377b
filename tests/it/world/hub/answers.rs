//! Docker Hub's answers as values: the fields as they really are, the error bodies as they were seen. No state, no IO.

use axum::response::Response;
use chrono::DateTime;
use chrono::SecondsFormat;
use chrono::Utc;
use serde_json::Value;
use serde_json::json;

use super::RetryHint;
use super::listing::ListedTag;
use super::listing::Platform;
use crate::world::answer;
use crate::world::answer::set;

const LIMIT: u32 = 180;

/// Adds the limits of the minute, which begin anew when they are used up.
pub fn with_headers(mut response: Response, used: u32, now: u64) -> Response {
    let remaining = LIMIT - 1 - used % LIMIT;
    let shown = [
        ("x-ratelimit-limit", LIMIT.to_string()),
        ("x-ratelimit-remaining", remaining.to_string()),
        ("x-ratelimit-reset", (now + 60 - now % 60).to_string()),
    ];
    for (name, value) in shown {
        if !response.headers().contains_key(name) {
            set(&mut response, name, &value);
        }
    }
    response
}

/// A page of a listing.
pub fn page(count: usize, next: Option<String>, previous: Option<String>, tags: &[ListedTag]) -> Value {
    let results: Vec<Value> = tags.iter().map(tag).collect();
    json!({"count": count, "next": next, "previous": previous, "results": results})
}

/// One tag.
pub fn tag(tag: &ListedTag) -> Value {
    let pushed = timestamp(tag.pushed.into());
    let mut value = json!({
        "creator": 7, "id": 623_440_328, "images": tag.platforms.iter().map(|image| platform(image, &pushed)).collect::<Vec<_>>(),
        "last_updated": pushed, "last_updater": 7, "last_updater_username": "me", "name": tag.name,
        "repository": 5_081_717, "full_size": tag.size, "v2": true, "tag_status": "active",
        "tag_last_pulled": null, "tag_last_pushed": pushed, "media_type": tag.media_type, "content_type": "image"
    });
    // Old tags have no such key at all, rather than null.
    if let (Some(digest), Some(fields)) = (&tag.digest, value.as_object_mut()) {
        fields.insert("digest".to_owned(), json!(digest));
    }
    value
}

fn platform(image: &Platform, pushed: &str) -> Value {
    json!({
        "architecture": image.architecture, "features": "", "variant": image.variant, "digest": image.digest,
        "os": image.os, "os_features": "", "os_version": null, "size": image.size, "status": "active",
        "last_pulled": null, "last_pushed": pushed
    })
}

/// Nanoseconds, as Docker Hub shows them.
fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// A missing or hidden repository, and also a page past the end.
pub fn not_found(name: &str) -> Response {
    let info = match name.split_once('/') {
        Some((namespace, repository)) => json!({"namespace": namespace, "repository": repository}),
        None => json!({}),
    };
    answer::json(404, &json!({"message": "httperror 404: object not found", "errinfo": info}))
}

/// A missing tag.
pub fn tag_not_found(name: &str, tag: &str) -> Response {
    let (namespace, repository) = name.split_once('/').unwrap_or(("library", name));
    let info = json!({"namespace": namespace, "repository": repository, "tag": tag});
    answer::json(404, &json!({"message": format!("httperror 404: tag '{tag}' not found"), "errinfo": info}))
}

/// A token that is wrong or has expired.
pub fn unauthorized() -> Response {
    answer::json(401, &json!({"detail": "unauthorized", "message": "unauthorized"}))
}

/// Docker Hub's own trouble.
pub fn failure(status: u16) -> Response {
    let body = json!({"txnid": "REPOSREQ-fac63740-106a-4647-a201-a593cd486dcd",
                      "message": "ListRepositoryTags failed", "errinfo": {"error": "failed to update 1 tag(s)"}});
    answer::json(status, &body)
}

/// Too many requests, in one of the forms seen.
pub fn rate_limited(hint: RetryHint, now: u64) -> Response {
    let mut response = answer::json(429, &json!({"detail": "Rate limit exceeded", "error": false}));
    set(&mut response, "x-ratelimit-remaining", "0");
    match hint {
        RetryHint::Seconds(seconds) => set(&mut response, "retry-after", &seconds.to_string()),
        RetryHint::Timestamp(ahead) => set(&mut response, "retry-after", &(now + ahead).to_string()),
        RetryHint::OldTimestamp(ahead) => set(&mut response, "x-retry-after", &(now + ahead).to_string()),
        RetryHint::Nothing => response = answer::text(429, "text/html", "Too Many Requests"),
    }
    response
}
