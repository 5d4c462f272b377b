//! Tests of a Node project: the `test` script of its package.json, with the package manager that its lock
//! file belongs to. Pure.

use crate::ci::detect::Detected;
use crate::ci::detect::Tree;

/// What `npm init` writes where there are no tests.
const PLACEHOLDER: &str = "no test specified";

/// The tests of a Node project, if the tree is one that has any.
pub fn detect(tree: &Tree) -> Option<Detected> {
    let package: serde_json::Value = serde_json::from_str(&tree.text("package.json")).ok()?;
    let script = package.get("scripts")?.get("test")?.as_str()?.trim();
    if script.is_empty() || script.contains(PLACEHOLDER) {
        return None;
    }
    let commands = commands(tree).into_iter().map(str::to_owned).collect();
    let image = node_image(&tree.text(tree.first_of(&[".nvmrc", ".node-version"]).unwrap_or_default()));
    Some(tree.in_image(&["node"], &image, commands, "the package.json has a `test` script"))
}

fn commands(tree: &Tree) -> Vec<&'static str> {
    if tree.has("pnpm-lock.yaml") {
        vec!["corepack enable", "pnpm install --frozen-lockfile", "pnpm test"]
    } else if tree.has("yarn.lock") && tree.has(".yarnrc.yml") {
        // The settings of Yarn 2 and later.
        vec!["corepack enable", "yarn install --immutable", "yarn test"]
    } else if tree.has("yarn.lock") {
        vec!["yarn install --frozen-lockfile", "yarn test"]
    } else if tree.first_of(&["package-lock.json", "npm-shrinkwrap.json"]).is_some() {
        vec!["npm ci", "npm test"]
    } else {
        vec!["npm install", "npm test"]
    }
}

fn node_image(version_file: &str) -> String {
    let version = version_file.trim().trim_start_matches('v');
    let is_version = !version.is_empty()
        && version.split('.').count() <= 3
        && version.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    format!("node:{}-slim", if is_version { version } else { "22" })
}
