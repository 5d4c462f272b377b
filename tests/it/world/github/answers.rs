//! GitHub's official answers as values: error bodies word for word, objects in the shape of its OpenAPI
//! description, and the headers every answer carries. No state, no IO.

use std::time::Duration;

use axum::http::header::ETAG;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;

use super::CommitStatus;
use crate::world::answer;
use crate::world::answer::set;
use crate::world::github::account::Budget;

const DOCS: &str = "https://docs.github.com/rest";

/// Adds what GitHub sends with everything.
pub fn with_headers(mut response: Response, budget: &Budget, number: usize) -> Response {
    let shown = [
        ("x-ratelimit-limit", budget.limit.to_string()),
        ("x-ratelimit-remaining", budget.limit.saturating_sub(budget.used).to_string()),
        ("x-ratelimit-used", budget.used.to_string()),
        ("x-ratelimit-reset", budget.reset.to_string()),
        ("x-ratelimit-resource", "core".to_owned()),
        ("x-github-request-id", format!("FA2D:87B1:{number:06X}:1176C87:6570B7E6")),
        ("x-github-media-type", "github.v3; format=json".to_owned()),
        ("vary", "Accept, Authorization, Cookie, X-GitHub-OTP".to_owned()),
        ("server", "github.com".to_owned()),
    ];
    for (name, value) in shown {
        if !response.headers().contains_key(name) {
            set(&mut response, name, &value);
        }
    }
    response
}

/// A JSON answer with its weak ETag; 304 without a body if the client has it.
pub fn cached(body: &Value, if_none_match: Option<&str>) -> Response {
    let hash = Sha256::digest(body.to_string());
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    tagged(answer::json(200, body), &format!("W/\"{hex}\""), if_none_match)
}

/// The bare SHA under its own name as strong ETag; 304 without a body if the client has it.
pub fn sha(sha: &str, if_none_match: Option<&str>) -> Response {
    let whole = answer::text(200, "application/vnd.github.sha; charset=utf-8", sha.to_owned());
    tagged(whole, &format!("\"{sha}\""), if_none_match)
}

fn tagged(whole: Response, etag: &str, if_none_match: Option<&str>) -> Response {
    let mut response = if if_none_match == Some(etag) {
        let mut unchanged = answer::text(304, "text/plain", "");
        unchanged.headers_mut().clear();
        unchanged
    } else {
        whole
    };
    set(&mut response, ETAG.as_str(), etag);
    set(&mut response, "cache-control", "private, max-age=60, s-maxage=60");
    response
}

/// Also what a private repository answers to those who may not see it.
pub fn not_found() -> Response {
    message(404, "Not Found", "")
}

/// A token that GitHub does not know.
pub fn bad_credentials() -> Response {
    message(401, "Bad credentials", "")
}

/// A write without a token.
pub fn requires_authentication() -> Response {
    message(401, "Requires authentication", "/commits/statuses#create-a-commit-status")
}

/// A branch, tag or SHA that is not there.
pub fn no_commit(reference: &str) -> Response {
    message(422, &format!("No commit found for SHA: {reference}"), "/commits/commits#get-a-commit")
}

/// A repository without any commit.
pub fn empty_repository() -> Response {
    message(409, "Git Repository is empty.", "/commits/commits#list-commits")
}

/// A token that may not do this: budget is left, so waiting does not help.
pub fn forbidden() -> Response {
    let text = "Resource not accessible by personal access token";
    message(403, text, "/commits/statuses#create-a-commit-status")
}

/// The hour's requests are used up until `reset` (seconds of the Unix epoch).
pub fn primary_limit(status: u16, reset: u64) -> Response {
    let text = "API rate limit exceeded for user ID 12345.";
    let mut response = message(status, text, "/overview/rate-limits-for-the-rest-api");
    set(&mut response, "x-ratelimit-remaining", "0");
    set(&mut response, "x-ratelimit-reset", &reset.to_string());
    response
}

/// Too much at once; without Retry-After only the message tells it from [`forbidden`].
pub fn secondary_limit(status: u16, retry_after: Option<Duration>) -> Response {
    let text = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    let docs = "/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits";
    let mut response = message(status, text, docs);
    set(&mut response, "x-ratelimit-remaining", "4987");
    if let Some(wait) = retry_after {
        set(&mut response, "retry-after", &wait.as_secs().to_string());
    }
    response
}

/// A repository that lives elsewhere now.
pub fn moved(url: &str) -> Response {
    let docs = format!("{DOCS}/guides/best-practices-for-using-the-rest-api#follow-redirects");
    let body = json!({"message": "Moved Permanently", "url": url, "documentation_url": docs});
    let mut response = answer::json(301, &body);
    set(&mut response, "location", url);
    response
}

/// A status that breaks a rule of its fields.
pub fn invalid_status(field: &str, problem: &str) -> Response {
    let error = json!({"resource": "Status", "code": "custom", "field": field, "message": problem});
    let docs = format!("{DOCS}/commits/statuses#create-a-commit-status");
    let body = json!({"message": "Validation Failed", "errors": [error], "documentation_url": docs, "status": "422"});
    answer::json(422, &body)
}

fn message(status: u16, text: &str, docs: &str) -> Response {
    let body =
        json!({"message": text, "documentation_url": format!("{DOCS}{docs}"), "status": status.to_string()});
    answer::json(status, &body)
}

/// The answer of `/rate_limit`.
pub fn rate_limit(budget: &Budget) -> Value {
    let remaining = budget.limit.saturating_sub(budget.used);
    let core =
        json!({"limit": budget.limit, "used": budget.used, "remaining": remaining, "reset": budget.reset});
    let search = json!({"limit": 30, "used": 0, "remaining": 30, "reset": budget.reset});
    let graphql = json!({"limit": 5000, "used": 0, "remaining": 5000, "reset": budget.reset});
    json!({"resources": {"core": core, "search": search, "graphql": graphql}, "rate": core})
}

/// A user in the short form that commits and repositories carry.
pub fn user(login: &str) -> Value {
    let api = format!("https://api.github.com/users/{login}");
    json!({
        "login": login, "id": 1, "node_id": "MDQ6VXNlcjE=",
        "avatar_url": "https://github.com/images/error/octocat_happy.gif", "gravatar_id": "",
        "url": api, "html_url": format!("https://github.com/{login}"),
        "followers_url": format!("{api}/followers"), "following_url": format!("{api}/following{{/other_user}}"),
        "gists_url": format!("{api}/gists{{/gist_id}}"), "starred_url": format!("{api}/starred{{/owner}}{{/repo}}"),
        "subscriptions_url": format!("{api}/subscriptions"), "organizations_url": format!("{api}/orgs"),
        "repos_url": format!("{api}/repos"), "events_url": format!("{api}/events{{/privacy}}"),
        "received_events_url": format!("{api}/received_events"), "type": "User", "site_admin": false
    })
}

/// A repository.
pub fn repository(name: &str, id: u64, is_private: bool, default_branch: &str) -> Value {
    let (owner, short) = name.split_once('/').unwrap_or(("", name));
    let api = format!("https://api.github.com/repos/{name}");
    json!({
        "id": id, "node_id": "MDEwOlJlcG9zaXRvcnkxMjk2MjY5", "name": short, "full_name": name,
        "owner": user(owner), "private": is_private, "html_url": format!("https://github.com/{name}"),
        "description": null, "fork": false, "url": api, "clone_url": format!("https://github.com/{name}.git"),
        "git_url": format!("git:github.com/{name}.git"), "ssh_url": format!("git@github.com:{name}.git"),
        "commits_url": format!("{api}/commits{{/sha}}"), "statuses_url": format!("{api}/statuses/{{sha}}"),
        "hooks_url": format!("{api}/hooks"), "homepage": null, "language": null, "forks_count": 0,
        "stargazers_count": 0, "watchers_count": 0, "size": 1, "default_branch": default_branch,
        "open_issues_count": 0, "topics": [], "has_issues": true, "has_projects": true, "has_wiki": true,
        "has_pages": false, "has_downloads": true, "archived": false, "disabled": false,
        "visibility": if is_private { "private" } else { "public" }, "pushed_at": "2026-11-23T06:00:00Z",
        "created_at": "2026-01-26T19:01:12Z", "updated_at": "2026-11-23T06:00:00Z",
        "permissions": {"admin": false, "push": true, "pull": true}
    })
}

/// A commit status as GitHub stored it.
pub fn status(status: &CommitStatus, id: usize) -> Value {
    let url = format!("https://api.github.com/repos/{}/statuses/{}", status.repository, status.sha);
    let target = if status.target_url.is_empty() { Value::Null } else { json!(status.target_url) };
    json!({
        "url": url, "avatar_url": "https://github.com/images/error/hubot_happy.gif", "id": id,
        "node_id": "MDY6U3RhdHVzMQ==", "state": status.state, "description": status.description,
        "target_url": target, "context": status.context, "created_at": "2026-11-23T06:00:00Z",
        "updated_at": "2026-11-23T06:00:00Z", "creator": user("octocat")
    })
}
