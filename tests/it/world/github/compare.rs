//! What changed between two commits, as GitHub compares them: from where they parted, renames found, at most 300 files,
//! all on the first page; the newest 250 commits, oldest of them first, or a page of all.

use std::path::Path;

use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use crate::world::github::answers;
use crate::world::github::rest::describe;
use crate::world::github::rest::resolve;
use crate::world::repository::git;

const MOST_FILES: usize = 300;
const MOST_COMMITS: usize = 250;

/// Answers `/compare/BASE...HEAD`.
pub async fn answer(
    name: &str,
    directory: &Path,
    basehead: &str,
    query: &str,
    if_none_match: Option<&str>,
) -> Response {
    let Some((base, head)) = basehead.split_once("...") else { return answers::not_found() };
    let (Some(base), Some(head)) = (resolve(directory, base).await, resolve(directory, head).await) else {
        return answers::not_found();
    };
    let Ok(parted) = git(directory, &["merge-base", &base, &head]).await else { return answers::not_found() };
    let parted = parted.trim().to_owned();
    let ahead = commits(directory, &base, &head).await;
    let behind = commits(directory, &head, &base).await;
    let status = match (ahead.len(), behind.len()) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        (_, _) => "diverged",
    };
    let files = files(name, directory, &parted, &head).await;
    let api = format!("https://api.github.com/repos/{name}");
    let page = format!("https://github.com/{name}/compare/{base}...{head}");
    let page_size = query.split('&').find_map(|pair| pair.strip_prefix("per_page=")?.parse::<usize>().ok());
    let shown = match page_size {
        Some(size) => &ahead[..ahead.len().min(size)],
        None => &ahead[ahead.len().saturating_sub(MOST_COMMITS)..],
    };
    let mut listed = Vec::new();
    for sha in shown {
        listed.push(describe(name, directory, sha).await);
    }
    let body = json!({
        "url": format!("{api}/compare/{base}...{head}"), "html_url": page, "permalink_url": page,
        "diff_url": format!("{page}.diff"), "patch_url": format!("{page}.patch"),
        "base_commit": describe(name, directory, &base).await,
        "merge_base_commit": describe(name, directory, &parted).await,
        "status": status, "ahead_by": ahead.len(), "behind_by": behind.len(), "total_commits": ahead.len(),
        "commits": listed, "files": files
    });
    answers::cached(&body, if_none_match)
}

/// The commits of `to` that `from` does not have, oldest first.
async fn commits(directory: &Path, from: &str, to: &str) -> Vec<String> {
    let range = format!("{from}..{to}");
    let listed = git(directory, &["rev-list", "--reverse", &range]).await.expect("list commits that exist");
    listed.lines().map(str::to_owned).collect()
}

async fn files(name: &str, directory: &Path, from: &str, to: &str) -> Vec<Value> {
    let diff = ["diff", "--name-status", "--find-renames", "-z", from, to];
    let listed = git(directory, &diff).await.expect("compare commits that exist");
    let mut fields = listed.split('\0');
    let mut files = Vec::new();
    while let (Some(letter), Some(path)) = (fields.next().filter(|letter| !letter.is_empty()), fields.next())
    {
        let status = match letter.as_bytes()[0] {
            b'A' => "added",
            b'D' => "removed",
            b'R' => "renamed",
            _ => "modified",
        };
        let (before, path) = match status {
            "renamed" => (Some(path), fields.next().unwrap_or_default()),
            _ => (None, path),
        };
        let mut file = json!({
            "sha": to, "filename": path, "status": status, "additions": 1, "deletions": 1, "changes": 2,
            "blob_url": format!("https://github.com/{name}/blob/{to}/{path}"),
            "raw_url": format!("https://github.com/{name}/raw/{to}/{path}"),
            "contents_url": format!("https://api.github.com/repos/{name}/contents/{path}?ref={to}"),
            "patch": "@@ -1 +1 @@\n-one\n+two"
        });
        if let Some(before) = before {
            file["previous_filename"] = json!(before);
        }
        files.push(file);
    }
    files.truncate(MOST_FILES);
    files
}
