//! The tags of a repository whose names begin so, a page of them at a time, as GitHub lists them.

use std::path::Path;

use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use crate::world::github::answers;
use crate::world::repository::git;

/// Answers `/git/matching-refs/tags/BEGINNING`.
pub async fn answer(
    name: &str,
    directory: &Path,
    beginning: &str,
    query: &str,
    if_none_match: Option<&str>,
) -> Response {
    let number = |key: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| *name == key).find_map(|(_, value)| value.parse::<usize>().ok())
    };
    let (size, page) = (number("per_page").unwrap_or(30), number("page").unwrap_or(1));
    let format = "--format=%(refname)%00%(objecttype)%00%(objectname)";
    let listed = git(directory, &["for-each-ref", format, "refs/tags"]).await.expect("list the tags");
    let all: Vec<Value> = listed
        .lines()
        .filter(|line| line.starts_with(&format!("refs/tags/{beginning}")))
        .filter_map(|line| {
            let [reference, kind, sha] = line.split('\0').collect::<Vec<_>>()[..] else { return None };
            let api = format!("https://api.github.com/repos/{name}/git");
            Some(json!({
                "ref": reference, "node_id": "MDM6UmVmcmVmcy9oZWFkcy9mZWF0dXJlQQ==", "url": format!("{api}/{reference}"),
                "object": {"type": kind, "sha": sha, "url": format!("{api}/{kind}s/{sha}")}
            }))
        })
        .collect();
    let shown: Vec<&Value> = all.iter().skip((page - 1) * size).take(size).collect();
    let mut response = answers::cached(&json!(shown), if_none_match);
    if all.len() > page * size {
        let next = format!(
            "<https://api.github.com/repositories/1/git/matching-refs/tags/{beginning}?per_page={size}&page={}>; rel=\"next\"",
            page + 1
        );
        crate::world::answer::set(&mut response, "link", &next);
    }
    response
}
