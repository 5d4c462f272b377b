//! Resolving GitHub: its addresses, the token, and the way by SSH. See [`resolve`].
//!
//! [`resolve`]: crate::config::resolve

use url::Url;

use crate::config::GitHub;
use crate::config::address;
use crate::config::path::JsonPath;
use crate::config::problem::Problems;
use crate::config::resolve;
use crate::config::secret::SecretReader;
use crate::config::secret::Shape;
use crate::config::settings::GitHubSettings;

/// The user as whom GitHub, like all such servers, wants git to log in.
const GIT_USER: &str = "git";

/// GitHub's part. `None` is a refusal.
pub fn github(
    written: &GitHub,
    reader: SecretReader<'_>,
    problems: &mut Problems<'_>,
) -> Option<GitHubSettings> {
    let path = JsonPath::root().key("github");
    let has_token = written.token.is_some();
    let token = written
        .token
        .as_ref()
        .map(|source| resolve::secret(source, Shape::Line, &path.key("token"), reader, problems));
    let [api_url, clone_url] =
        [("api_url", &written.api_url), ("clone_url", &written.clone_url)].map(|(key, text)| {
            let url = problems.keep(&path.key(key), address::base_url(text));
            resolve::warn_if_exposed(url.as_ref().filter(|_| has_token), &path.key(key), problems);
            url
        });
    let ssh_url = problems.keep(&path.key("ssh_url"), ssh_url(&written.ssh_url));
    let known_hosts = written.known_hosts.as_ref().map(|file| {
        // What ssh would take for the end of the path, or for something to put into it.
        if file.is_empty() || file.contains(['"', '\0', '\n']) || file.contains("${") {
            problems.refuse(&path.key("known_hosts"), "this names no file that ssh could read");
            return None;
        }
        Some(reader.folder.join(file))
    });
    let status_url = written
        .status_url
        .as_ref()
        .map(|text| problems.keep(&path.key("status_url"), address::web_url(text)));
    Some(GitHubSettings {
        token: token.map_or(Some(None), |read| read.map(Some))?,
        api_url: api_url?,
        clone_url: clone_url?,
        ssh_url: ssh_url?,
        known_hosts: known_hosts.map_or(Some(None), |file| file.map(Some))?,
        statuses: written.statuses,
        status_url: status_url.map_or(Some(None), |read| read.map(Some))?,
    })
}

/// An address that git reaches over SSH. Always has a user, and ends in `/`.
fn ssh_url(text: &str) -> Result<Url, String> {
    let wanted =
        "write `ssh://HOST` or `ssh://HOST:PORT`, for another user than `git` with that in front of the host";
    let mut url = Url::parse(text).map_err(|_| format!("this is no address: {wanted}"))?;
    if url.scheme() != "ssh" || !url.has_host() || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("this is no address of a git server behind SSH: {wanted}"));
    }
    if url.password().is_some() {
        return Err(format!("an address must not carry a password, and SSH needs none: {wanted}"));
    }
    if url.username().is_empty() {
        url.set_username(GIT_USER).map_err(|()| format!("this has no host: {wanted}"))?;
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::ssh_url;

    #[test]
    fn an_ssh_address_has_a_user_and_no_secrets() {
        let read = |text| ssh_url(text).map(|url| url.to_string());
        assert_eq!(read("ssh://git@github.com").unwrap(), "ssh://git@github.com/");
        assert_eq!(read("ssh://pi.local:2222/srv/git").unwrap(), "ssh://git@pi.local:2222/srv/git/");
        for text in
            ["git@github.com", "https://github.com", "ssh:", "ssh://git:pass@github.com", "ssh://h/?a"]
        {
            assert!(!read(text).unwrap_err().contains("pass@"), "{text}");
        }
    }
}
