//! GitHub's REST routes over a bare repository: commits, the repository itself, commit statuses, the rate limit.
//! Takes a request, gives the official answer; reads the repository by the git CLI and keeps nothing.

use std::path::Path;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::Method;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use super::CommitStatus;
use super::Shared;
use super::answers;
use crate::world::answer;
use crate::world::github::account::Access;
use crate::world::github::compare;
use crate::world::github::tags;
use crate::world::repository::git;

const MAX_DESCRIPTION: usize = 140;

/// Answers a request to the API.
pub async fn answer(shared: &Arc<Shared>, number: usize, path: &str, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let access = shared.account.access(token(&parts.headers));
    if matches!(access, Access::Refused) {
        return answers::bad_credentials();
    }
    if path == "/rate_limit" {
        return answer::json(200, &answers::rate_limit(&shared.account.budget()));
    }
    if path == "/meta" {
        let keys = shared.host_keys.lock().unwrap().clone();
        return answer::json(200, &json!({"verifiable_password_authentication": false, "ssh_keys": keys}));
    }
    let Some((name, rest)) = repository_of(shared, path) else {
        return answers::not_found();
    };
    if let Some(now) = shared.moved_to(&name) {
        let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        return answers::moved(&format!("http://{host}/repositories/{}{rest}", shared.id(&now)));
    }
    let Some(directory) = shared.directory(&name) else {
        return answers::not_found();
    };
    if shared.is_private(&name) && matches!(access, Access::Anonymous) {
        return answers::not_found();
    }
    let if_none_match = header(&parts.headers, "if-none-match");
    let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
    if rest.is_empty() && is_read {
        let branch = git(&directory, &["symbolic-ref", "--short", "HEAD"]).await.unwrap_or_default();
        let body = answers::repository(&name, shared.id(&name), shared.is_private(&name), branch.trim());
        return answers::cached(&body, if_none_match);
    }
    if let Some(reference) = rest.strip_prefix("/commits/").filter(|_| is_read) {
        let wants_sha = header(&parts.headers, "accept").is_some_and(|all| all.contains("vnd.github.sha"));
        return commit(&name, &directory, reference, wants_sha, if_none_match).await;
    }
    if let Some(beginning) = rest.strip_prefix("/git/matching-refs/tags/").filter(|_| is_read) {
        let query = parts.uri.query().unwrap_or_default();
        return tags::answer(&name, &directory, beginning, query, if_none_match).await;
    }
    if let Some(basehead) = rest.strip_prefix("/compare/").filter(|_| is_read) {
        let query = parts.uri.query().unwrap_or_default();
        return compare::answer(&name, &directory, basehead, query, if_none_match).await;
    }
    if let Some(sha) = rest.strip_prefix("/statuses/").filter(|_| parts.method == Method::POST) {
        if matches!(access, Access::Anonymous) {
            return answers::requires_authentication();
        }
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
        return create_status(shared, &name, &directory, sha, &body).await;
    }
    shared.requests.unexpected(number);
    answers::not_found()
}

/// `/repos/OWNER/NAME/rest` or `/repositories/ID/rest`, as the name and `/rest`.
fn repository_of(shared: &Shared, path: &str) -> Option<(String, String)> {
    let slash = |text: &str| if text.is_empty() { String::new() } else { format!("/{text}") };
    if let Some(rest) = path.strip_prefix("/repositories/") {
        let (id, rest) = rest.split_once('/').unwrap_or((rest, ""));
        return Some((shared.name_of(id.parse().ok()?)?, slash(rest)));
    }
    let (owner, rest) = path.strip_prefix("/repos/")?.split_once('/')?;
    let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
    Some((format!("{owner}/{name}"), slash(rest)))
}

async fn commit(
    name: &str,
    directory: &Path,
    reference: &str,
    wants_sha: bool,
    if_none_match: Option<&str>,
) -> Response {
    match resolve(directory, reference).await {
        Some(sha) if wants_sha => answers::sha(&sha, if_none_match),
        Some(sha) => answers::cached(&describe(name, directory, &sha).await, if_none_match),
        None if git(directory, &["rev-list", "-n1", "--all"]).await.is_ok_and(|out| out.is_empty()) => {
            answers::empty_repository()
        }
        None => answers::no_commit(reference),
    }
}

/// A branch, a tag, either with its folder in front, or a SHA, as the commit's full SHA.
pub async fn resolve(directory: &Path, reference: &str) -> Option<String> {
    let is_hex = reference.len() >= 4 && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
    let candidates = if reference.starts_with("heads/") || reference.starts_with("tags/") {
        vec![format!("refs/{reference}")]
    } else {
        vec![format!("refs/heads/{reference}"), format!("refs/tags/{reference}")]
    };
    for candidate in candidates.into_iter().chain(is_hex.then(|| reference.to_owned())) {
        let loose = tokio::fs::read_to_string(directory.join(&candidate)).await.unwrap_or_default();
        if candidate.starts_with("refs/heads/") && loose.trim().len() == 40 {
            return Some(loose.trim().to_owned());
        }
        let commit = format!("{candidate}^{{commit}}");
        if let Ok(sha) =
            git(directory, &["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]).await
        {
            return Some(sha.trim().to_owned());
        }
    }
    None
}

/// The commit in the official shape.
pub async fn describe(name: &str, directory: &Path, sha: &str) -> Value {
    let format = "--format=%T%x00%P%x00%an%x00%ae%x00%ad%x00%cn%x00%ce%x00%cd%x00%B";
    let date = "--date=format-local:%Y-%m-%dT%H:%M:%SZ";
    let shown = git(directory, &["log", "-1", date, format, sha]).await.expect("show a commit that exists");
    let field: Vec<&str> = shown.trim_end_matches('\n').split('\0').collect();
    let [tree, parents, author, author_mail, authored, committer, committer_mail, committed, message] =
        field[..]
    else {
        panic!("git log answered {shown:?}");
    };
    let api = format!("https://api.github.com/repos/{name}");
    let parents: Vec<Value> = parents
        .split_whitespace()
        .map(|parent| {
            json!({"sha": parent, "url": format!("{api}/commits/{parent}"),
                   "html_url": format!("https://github.com/{name}/commit/{parent}")})
        })
        .collect();
    let files = changed_files(name, directory, sha).await;
    let sum = |key: &str| files.iter().filter_map(|file| file[key].as_u64()).sum::<u64>();
    let stats =
        json!({"additions": sum("additions"), "deletions": sum("deletions"), "total": sum("changes")});
    json!({
        "sha": sha, "node_id": "MDY6Q29tbWl0NmRjYjA5YjU=", "url": format!("{api}/commits/{sha}"),
        "html_url": format!("https://github.com/{name}/commit/{sha}"),
        "comments_url": format!("{api}/commits/{sha}/comments"),
        "commit": {
            "url": format!("{api}/git/commits/{sha}"), "message": message.trim_end_matches('\n'),
            "author": {"name": author, "email": author_mail, "date": authored},
            "committer": {"name": committer, "email": committer_mail, "date": committed},
            "tree": {"sha": tree, "url": format!("{api}/git/trees/{tree}")}, "comment_count": 0,
            "verification": {"verified": false, "reason": "unsigned", "signature": null, "payload": null,
                             "verified_at": null}
        },
        "author": answers::user("octocat"), "committer": answers::user("octocat"),
        "parents": parents, "stats": stats, "files": files
    })
}

async fn changed_files(name: &str, directory: &Path, sha: &str) -> Vec<Value> {
    let diff = ["diff-tree", "--no-commit-id", "--root", "-r", "--numstat", sha];
    let listed = git(directory, &diff).await.expect("list the files of a commit that exists");
    let file = |line: &str| {
        let [added, deleted, path] = line.split('\t').collect::<Vec<_>>()[..] else { return None };
        let count = |text: &str| text.parse::<u64>().unwrap_or(0);
        Some(json!({
            "sha": sha, "filename": path, "status": "modified",
            "additions": count(added), "deletions": count(deleted), "changes": count(added) + count(deleted),
            "blob_url": format!("https://github.com/{name}/blob/{sha}/{path}"),
            "raw_url": format!("https://github.com/{name}/raw/{sha}/{path}"),
            "contents_url": format!("https://api.github.com/repos/{name}/contents/{path}?ref={sha}")
        }))
    };
    listed.lines().filter_map(file).collect()
}

async fn create_status(shared: &Shared, name: &str, directory: &Path, sha: &str, body: &[u8]) -> Response {
    let Ok(given) = serde_json::from_slice::<Value>(body) else {
        return answer::json(400, &json!({"message": "Problems parsing JSON", "status": "400"}));
    };
    let text = |key: &str| given[key].as_str().unwrap_or_default().to_owned();
    if git(directory, &["cat-file", "-e", &format!("{sha}^{{commit}}")]).await.is_err() {
        return answers::no_commit(sha);
    }
    if !["error", "failure", "pending", "success"].contains(&text("state").as_str()) {
        return answers::invalid_status("state", "state is not included in the list");
    }
    if text("description").chars().count() > MAX_DESCRIPTION {
        return answers::invalid_status("description", "description is too long (maximum is 140 characters)");
    }
    let context = given["context"].as_str().unwrap_or("default").to_owned();
    let status = CommitStatus {
        repository: name.to_owned(),
        sha: sha.to_owned(),
        state: text("state"),
        context,
        description: text("description"),
        target_url: text("target_url"),
    };
    let id = shared.record_status(status.clone());
    answer::json(201, &answers::status(&status, id))
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = header(headers, "authorization")?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token")).then_some(token.trim())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
