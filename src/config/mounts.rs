//! The grammar of what a container is given from its host: mounts, environment variables, a network. Pure.

/// A checked mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The host's path, or the name of a volume.
    pub source: String,
    /// The path in the container.
    pub target: String,
    /// In Docker's `SOURCE:TARGET[:ro]` form.
    pub written: String,
}

/// Parses one mount, `/HOST/PATH:/PATH` or `VOLUME:/PATH`, with or without `:ro` or `:rw`.
pub fn mount(text: &str) -> Result<Mount, String> {
    let (source, target, is_read_only) = match text.split(':').collect::<Vec<_>>().as_slice() {
        [source, target] | [source, target, "rw"] => (*source, *target, false),
        [source, target, "ro"] => (*source, *target, true),
        [_, _, option] => {
            return Err(format!("`{text}`: `{option}` is not supported: `:ro` is the only option"));
        }
        [path] if path.starts_with('/') => {
            return Err(format!("`{text}` names one path: write `/HOST/PATH:{path}` or `VOLUME:{path}`"));
        }
        _ => return Err(format!("`{text}` is not a mount: write `/HOST/PATH:/PATH` or `VOLUME:/PATH`")),
    };
    if source.starts_with(['.', '~']) || (source.contains('/') && !source.starts_with('/')) {
        return Err(format!("`{text}`: the host's path must be absolute, `/…:{target}`"));
    }
    if !source.starts_with('/') && !is_docker_name(source) {
        return Err(format!("`{text}`: `{source}` is neither an absolute path nor the name of a volume"));
    }
    if !target.starts_with('/') || target.trim_matches('/').is_empty() {
        return Err(format!("`{text}`: the container's path must be absolute and not `/` itself"));
    }
    let climbs = |path: &str| path.split('/').any(|part| part == "..");
    if climbs(source) || climbs(target) || text.chars().any(char::is_control) {
        return Err(format!("`{text}`: a path of a mount must not contain `..` or control characters"));
    }
    let written = format!("{source}:{target}{}", if is_read_only { ":ro" } else { "" });
    Ok(Mount { source: source.to_owned(), target: target.trim_end_matches('/').to_owned(), written })
}

impl Mount {
    /// Whether the container could reach the Docker engine through it, by one of the sockets or a folder above.
    pub fn exposes(&self, sockets: &[&str]) -> bool {
        let source = self.source.trim_end_matches('/');
        let is_above = |socket: &str| {
            socket.strip_prefix(source).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.source.starts_with('/') && sockets.iter().any(|socket| is_above(socket))
    }
}

/// Refuses what is not the name of an environment variable that a shell, Docker and the common frameworks take.
pub fn variable(name: &str) -> Result<(), String> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if name.chars().all(is_known) && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        Ok(())
    } else {
        Err("the name of a variable has letters, digits, `_`, `.` and `-`, and starts with a letter or `_`"
            .to_owned())
    }
}

/// Refuses a value that no process can be given.
pub fn variable_value(value: &str) -> Result<(), String> {
    if value.contains('\0') { Err("a variable cannot hold a NUL character".to_owned()) } else { Ok(()) }
}

/// A network that a container joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkKind {
    /// One with addresses of its own, whose ports can be published.
    Bridge,
    /// The host's own, or none at all: nothing can be published.
    Unpublished,
}

/// Checks the name of a network.
pub fn network(name: &str) -> Result<NetworkKind, String> {
    match name {
        "host" | "none" => Ok(NetworkKind::Unpublished),
        name if name.starts_with("container:") => {
            Err(format!("`{name}` would tie this container to the life of another: name a network"))
        }
        name if is_docker_name(name) => Ok(NetworkKind::Bridge),
        name => Err(format!("`{name}` is not the name of a network: letters, digits, `_`, `.` and `-`")),
    }
}

/// The rule for names of volumes and networks (moby, `RestrictedNamePattern`).
fn is_docker_name(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn mounts_are_paths_or_volumes() {
        for (text, written) in [
            ("/srv/data:/data", "/srv/data:/data"),
            ("data:/data:ro", "data:/data:ro"),
            ("data:/data:rw", "data:/data"),
        ] {
            assert_eq!(mount(text).unwrap().written, written);
        }
        for text in [
            "/data",
            "data",
            "./data:/data",
            "~/data:/data",
            "a/b:/data",
            "/a:b",
            "/a:/",
            "/a/../b:/c",
            "/a:/b:z",
            "",
            ":/a",
            "x:/a",
            "/a:/b:ro:ro",
            "/a:",
        ] {
            assert!(mount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_socket_is_exposed_by_itself_and_by_folders_above() {
        let exposes =
            |text: &str| mount(text).unwrap().exposes(&["/var/run/docker.sock", "/run/docker.sock"]);
        assert!(exposes("/var/run/docker.sock:/var/run/docker.sock:ro"));
        assert!(exposes("/run:/host/run"));
        assert!(exposes("/:/host"));
        assert!(!exposes("/var/run/docker:/x"));
        assert!(!exposes("run:/x"));
    }

    #[test]
    fn names_of_variables_are_checked() {
        for name in ["A", "_a", "spring.datasource.url", "A-B", "A1"] {
            assert_eq!(variable(name), Ok(()), "{name}");
        }
        for name in ["", "1A", "A B", "A=B", "Ä", "A\n"] {
            assert!(variable(name).is_err(), "{name}");
        }
    }

    #[test]
    fn nothing_is_published_on_the_host_network() {
        assert_eq!(network("host"), Ok(NetworkKind::Unpublished));
        assert_eq!(network("proxy"), Ok(NetworkKind::Bridge));
        assert!(network("container:x").is_err());
        assert!(network("a b").is_err());
    }
}
