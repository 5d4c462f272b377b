//! Whose fault a failed build is. Pure.
//!
//! Takes the builder's message and the last lines of output, gives the commit or the world. The commit's own
//! failures are final for that commit, the world's are tried again, so in doubt it is the commit.

/// What the world's failures sound like, when the builder itself fails: disk, network, registry, engine.
const OF_THE_WORLD: &[&str] = &[
    "no space left on device",
    "disk quota exceeded",
    "read-only file system",
    "i/o timeout",
    "input/output error",
    "dial tcp",
    "no such host",
    "name resolution",
    "server misbehaving",
    "connection refused",
    "connection reset",
    "network is unreachable",
    "no route to host",
    "tls handshake timeout",
    "client.timeout exceeded",
    "deadline exceeded",
    "unexpected eof",
    "toomanyrequests",
    "too many requests",
    "pull rate limit",
    "internal server error",
    "bad gateway",
    "service unavailable",
    "gateway timeout",
    "gateway time-out",
    "401 unauthorized",
    "incorrect username or password",
    "no basic auth credentials",
    "failed to fetch oauth token",
    "failed to fetch anonymous token",
    "no active session",
    "context canceled",
    "transport is closing",
    "code = unavailable",
    "cannot allocate memory",
];

/// What the world's failures sound like in the output of a command of the Dockerfile. Only what no test or
/// compiler says for a reason of its own.
const IN_A_COMMAND: &[&str] = &[
    "no space left on device",
    "temporary failure in name resolution",
    "temporary failure resolving",
    "could not resolve host",
    "network is unreachable",
    "toomanyrequests",
];

/// Whose fault a failed build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The Dockerfile's or its commands' own.
    Dockerfile,
    /// The disk's, the network's, the registry's, the engine's.
    World,
    /// The engine's, and only as long as it builds with its cache.
    Cache,
}

/// The id of the secret that a build required and was not given, if its message says that.
pub(super) fn missing_secret(message: &str) -> Option<&str> {
    // At the end only: before that a message quotes the command, which can say anything.
    let said = message.trim_end().strip_suffix(": not found")?;
    // 20.10 says it twice.
    let (_, id) = said.strip_suffix(" not found").unwrap_or(said).rsplit_once("secret ")?;
    let is_id = !id.is_empty() && !id.contains(|c: char| c.is_whitespace() || c == ':');
    is_id.then_some(id)
}

/// Judges a failed build by the builder's message and the last lines of its output.
pub(super) fn fault<'a>(message: &str, tail: impl Iterator<Item = &'a str>) -> Fault {
    let message = message.to_ascii_lowercase();
    let says = |text: &str, words: &[&str]| words.iter().any(|w| text.contains(w));
    // The message of a failed command quotes the command, which may say anything.
    let is_command = says(
        &message,
        &["did not complete successfully", "executor failed running", "returned a non-zero code"],
    );
    if is_command {
        let is_world = tail.map(str::to_ascii_lowercase).any(|line| says(&line, IN_A_COMMAND));
        return if is_world { Fault::World } else { Fault::Dockerfile };
    }
    if says(&message, OF_THE_WORLD) {
        return Fault::World;
    }
    if is_damage(&message) { Fault::Cache } else { Fault::Dockerfile }
}

/// Whether the engine's own store has lost something that its build cache counts on. Power cuts do it, and engines up to
/// 20.10 by themselves (moby/moby issue 41595). It costs the whole cache, so nothing that a commit can make the builder
/// say may pass for it: names and paths of a Dockerfile come back in these messages.
fn is_damage(message: &str) -> bool {
    let unquoted: String = message.split('"').step_by(2).collect();
    // The second of a base image whose layers are gone: it is looked for under its id, which names no registry.
    let lost_layer = ["layer does not exist", "hostname required"]
        .iter()
        .any(|words| unquoted.trim_end().ends_with(words));
    let lost_snapshot = unquoted
        .split("snapshot ")
        .skip(1)
        .any(|rest| rest.split_once(' ').is_some_and(|(_, after)| after.starts_with("does not exist")));
    lost_layer || lost_snapshot || lost_folder(&unquoted)
}

/// Whether a folder of a layer is missing, or what the engine itself keeps in it: `…/overlay2/ID/diff`. A path that goes
/// on below that is of a file that the Dockerfile names.
fn lost_folder(message: &str) -> bool {
    let Some((path, _)) = message.rsplit_once(": no such file or directory") else { return false };
    let path = path.rsplit(' ').next().unwrap_or_default();
    let mut parts = path.rsplit('/');
    let last = parts.next().unwrap_or_default();
    let id = if matches!(last, "diff" | "committed" | "link" | "lower") { parts.next() } else { Some(last) };
    let is_id = |id: &str| id.len() >= 20 && id.bytes().all(|b| b.is_ascii_alphanumeric());
    id.is_some_and(is_id) && parts.next() == Some("overlay2") && !path.contains("/buildkit-mount")
}

/// What to add to a message that does not say what to do.
pub(super) fn advice(message: &str) -> &'static str {
    if message.to_ascii_lowercase().contains("invalid utf-8") {
        "; the name of a file is not UTF-8, which this engine does not take: rename it, or name it in .dockerignore"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_secret_that_was_not_given_is_found_in_the_builders_own_words_only() {
        assert_eq!(missing_secret("secret npm-token not found: not found"), Some("npm-token"));
        assert_eq!(missing_secret("failed to solve: secret a.b: not found"), Some("a.b"));
        let by_a_command = "process \"sh -c echo secret a: not found; false\" did not complete: exit code: 1";
        for other in [by_a_command, "failed to solve: python:9: not found", "secret : not found", ""] {
            assert_eq!(missing_secret(other), None, "{other}");
        }
    }

    #[test]
    fn the_world_is_blamed_for_what_the_commit_cannot_help() {
        for message in [
            "failed to copy files: copy file range failed: no space left on device",
            "failed to do request: Head \"https://registry-1.docker.io/v2/library/python/manifests/3\": dial tcp: \
             lookup registry-1.docker.io: no such host",
            "toomanyrequests: You have reached your pull rate limit",
            "failed to copy: httpReadSeeker: failed open: unexpected status code 503 Service Unavailable",
            "failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized",
        ] {
            assert_eq!(fault(message, std::iter::empty()), Fault::World, "{message}");
        }
    }

    #[test]
    fn the_commit_is_blamed_for_its_own_dockerfile() {
        for message in [
            "dockerfile parse error line 2: unknown instruction: FORM",
            "failed to compute cache key: \"/nothing\" not found: not found",
            "process \"/bin/sh -c make test\" did not complete successfully: exit code: 2",
            "executor failed running [/bin/sh -c echo 'connection refused'; false]: exit code: 1",
            "The command '/bin/sh -c false' returned a non-zero code: 1",
            "pull access denied, repository does not exist or may require authorization",
            "docker.io/library/pyhton:3: not found",
        ] {
            assert_eq!(fault(message, std::iter::empty()), Fault::Dockerfile, "{message}");
        }
    }

    #[test]
    fn a_store_that_lost_what_the_cache_counts_on_is_told_apart() {
        for message in [
            "layer does not exist",
            "failed to export image: failed to get layer sha256:ab: layer does not exist",
            "failed to read dockerfile: stat /var/lib/docker/overlay2/ywn3o3gejpeifoz0wdrpgt85a: no such file or directory",
            "failed to walk: resolve : lstat /d/overlay2/yo1ip99urxttbd3fdrhzw797z/diff: no such file or directory",
            "failed to prepare on8: open /d/overlay2/n8phuqf3gnbpo7pqg203d1yw3/committed: no such file or directory",
            "parent snapshot sha256:ab does not exist: not found",
            "hostname required",
        ] {
            assert_eq!(fault(message, std::iter::empty()), Fault::Cache, "{message}");
        }
        let full = "open /d/overlay2/n8phuqf3gnbpo7pqg203d1yw3: no space left on device";
        assert_eq!(fault(full, std::iter::empty()), Fault::World);
    }

    #[test]
    fn no_words_of_a_commit_pass_for_a_damaged_store() {
        for message in [
            "docker.io/me/base:1.0-SNAPSHOT: pull access denied, repository does not exist or may require authorization",
            "failed to walk /d/tmp/buildkit-mount2803190374/overlay2/nope: lstat /d/tmp/buildkit-mount2803190374/overlay2/\
             nopenopenopenopenope: no such file or directory",
            "failed to walk: lstat /d/overlay2/n8phuqf3gnbpo7pqg203d1yw3/diff/app/overlay2/x: no such file or directory",
            "failed to compute cache key: \"/layer does not exist\" not found: not found",
            "failed to compute cache key: \"/snapshot x does not exist\" not found: not found",
            "failed to compute cache key: \"/overlay2/x\" not found: not found",
            "process \"echo layer does not exist\" did not complete successfully: exit code: 1",
        ] {
            assert_eq!(fault(message, std::iter::empty()), Fault::Dockerfile, "{message}");
        }
    }

    #[test]
    fn a_name_that_the_engine_does_not_take_comes_with_the_way_out() {
        let message = "rpc error: code = Internal desc = grpc: error unmarshalling: string field contains invalid UTF-8";
        assert!(advice(message).contains("rename it"));
        assert_eq!(advice("layer does not exist"), "");
    }

    #[test]
    fn a_command_that_lost_the_network_is_the_worlds() {
        let message = "process \"/bin/sh -c pip install -r requirements.txt\" did not complete successfully: exit code: 1";
        let tail = ["... Temporary failure in name resolution", "ERROR: no matching distribution"];
        assert_eq!(fault(message, tail.into_iter()), Fault::World);
        assert_eq!(fault(message, ["AssertionError: connection refused"].into_iter()), Fault::Dockerfile);
    }
}
