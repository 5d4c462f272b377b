//! The grammar of the addresses in a configuration: URLs, the Docker engine, the registry, what to listen on.
//!
//! Pure: texts in, parsed values or a sentence out. No sentence quotes an address that carries a password.

use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use url::Host;
use url::Url;

/// An `http` or `https` address without credentials, query or fragment. Always ends in `/`, so that a relative
/// path can be joined to it.
pub fn base_url(text: &str) -> Result<Url, String> {
    let mut url = web_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("`{text}` must end with its path, without `?` and `#`"));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// An `http` or `https` address without credentials.
pub fn web_url(text: &str) -> Result<Url, String> {
    refuse_credentials(text)?;
    let url = Url::parse(text).map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase => format!("`{text}` is not a URL: write `https://{text}`"),
        _ => format!("`{text}` is not a URL: {error}"),
    })?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(format!("`{scheme}:` is not a scheme for this address: write `https://` or `http://`")),
    }
}

/// Refuses an address with a user or password in it, without showing it.
pub fn refuse_credentials(text: &str) -> Result<(), String> {
    if text.contains('@') {
        let message = "an address must not carry a user or password (`@`): secrets have keys of their own";
        return Err(message.to_owned());
    }
    Ok(())
}

/// Whether what is sent to this address can be read on the way: plain `http` to another machine.
pub fn is_exposed(url: &Url) -> bool {
    url.scheme() == "http" && !is_loopback(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => is_local_name(name),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether a host name or address stands for this machine itself.
pub fn is_this_machine(host: &str) -> bool {
    host.parse::<IpAddr>().map_or_else(|_| is_local_name(host), |address| address.is_loopback())
}

fn is_local_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// The Docker engine's socket: `unix:///PATH` or `tcp://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// A socket of this machine, with its path.
    Unix(String),
    /// A port, with its host.
    Tcp(String),
}

/// Parses the Docker engine's address.
pub fn engine(text: &str) -> Result<Engine, String> {
    const WANTED: &str = "write `unix:///PATH` or `tcp://HOST:PORT`";
    let address = |text: &str| {
        let url = Url::parse(text).ok()?;
        let has_more = !matches!(url.path(), "" | "/") || url.query().is_some();
        let port = url.port().filter(|port| *port > 0);
        port.and(url.host_str()).filter(|host| !has_more && !host.is_empty()).map(str::to_owned)
    };
    refuse_credentials(text)?;
    match text.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') && path.len() > 1 => Ok(Engine::Unix(path.to_owned())),
        Some(("unix", _)) => {
            Err(format!("`{text}` has no absolute path: write `unix:///var/run/docker.sock`"))
        }
        Some(("tcp", _)) => address(text)
            .map(Engine::Tcp)
            .ok_or_else(|| format!("`{text}` is not `tcp://HOST:PORT`, such as `tcp://127.0.0.1:2375`")),
        Some((scheme, _)) => Err(format!("an engine cannot be reached by `{scheme}://`: {WANTED}")),
        None if text.starts_with('/') => Err(format!("`{text}` has no scheme: write `unix://{text}`")),
        None => Err(format!("`{text}` is not the address of an engine: {WANTED}")),
    }
}

/// A registry in the form in which it leads an image's name: `docker.io`, or `HOST[:PORT]`.
pub fn registry(text: &str) -> Result<String, String> {
    refuse_credentials(text)?;
    if let Some((_, rest)) = text.split_once("://") {
        return Err(format!("a registry is named without a scheme: write `{}`", rest.trim_end_matches('/')));
    }
    if matches!(
        text,
        "index.docker.io" | "registry-1.docker.io" | "hub.docker.com" | "registry.hub.docker.com"
    ) {
        return Err(format!("`{text}` is Docker Hub: write `docker.io`"));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if !is_host(host) || !port.is_none_or(is_port) {
        return Err(format!(
            "`{text}` is not a registry: write `docker.io` or `HOST:PORT`, in lower case, without a path"
        ));
    }
    // Docker takes a first component without a dot or port for a namespace of Docker Hub.
    if !text.contains(['.', ':']) && text != "localhost" {
        return Err(format!(
            "Docker would take `{text}` for a part of the image's name: add the port, `{text}:443`"
        ));
    }
    Ok(text.to_owned())
}

/// Whether a text is a lower-case host name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        && is_host_name(text)
}

/// Whether a text is a host name or an IPv4 address, without a port.
pub fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (1..=253).contains(&text.len()) && text.split('.').all(is_label)
}

/// An address and port to listen on.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    let port_only = text.strip_prefix(':').unwrap_or(text);
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => {
            Err(format!("`{text}` is another port at each start: name one, such as `127.0.0.1:9000`"))
        }
        Ok(address) => Ok(address),
        Err(_) if text.starts_with("localhost:") => Err(format!(
            "`{text}` is a name: write the address, `{}`",
            text.replace("localhost", "127.0.0.1")
        )),
        Err(_) if port_only.parse::<u16>().is_ok() => {
            Err(format!("`{text}` has no address: write `127.0.0.1:{port_only}`"))
        }
        Err(_) => Err(format!(
            "`{text}` is not an address to listen on: write `ADDRESS:PORT`, such as `127.0.0.1:9000`"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn base_urls_end_in_one_slash() {
        for (written, meant) in [
            ("https://api.github.com", "https://api.github.com/"),
            ("https://api.github.com/", "https://api.github.com/"),
            ("https://git.example/api/v3", "https://git.example/api/v3/"),
            ("http://127.0.0.1:4000/api/v3/", "http://127.0.0.1:4000/api/v3/"),
        ] {
            assert_eq!(base_url(written).unwrap().as_str(), meant);
        }
    }

    #[test]
    fn urls_with_credentials_are_refused_without_being_shown() {
        for text in ["https://me:hunter2@example.org", "https://hunter2@[bad", "hunter2@example.org"] {
            let refusals =
                [base_url(text).unwrap_err(), registry(text).unwrap_err(), engine(text).unwrap_err()];
            assert!(!refusals.concat().contains("hunter2"), "{refusals:?}");
        }
    }

    #[test]
    fn other_schemes_and_no_scheme_are_refused() {
        assert!(base_url("ftp://example.org").unwrap_err().contains("`ftp:`"));
        assert!(base_url("example.org").unwrap_err().contains("write `https://example.org`"));
        assert!(base_url("localhost:3000").is_err());
        assert!(base_url("https://").is_err());
        assert!(base_url("https://example.org/?a").is_err());
    }

    #[test]
    fn only_plain_http_to_another_machine_is_exposed() {
        let exposed = |text| is_exposed(&base_url(text).unwrap());
        assert!(exposed("http://git.example"));
        assert!(exposed("http://192.168.1.2:3000"));
        assert!(!exposed("https://git.example"));
        assert!(!exposed("http://localhost:3000"));
        assert!(!exposed("http://127.1.2.3"));
        assert!(!exposed("http://[::1]:80"));
    }

    #[test]
    fn an_engine_is_a_socket_or_a_port() {
        assert_eq!(engine("unix:///run/docker.sock"), Ok(Engine::Unix("/run/docker.sock".to_owned())));
        assert_eq!(engine("tcp://127.0.0.1:2375"), Ok(Engine::Tcp("127.0.0.1".to_owned())));
        for text in [
            "/var/run/docker.sock",
            "unix://docker.sock",
            "unix:///",
            "tcp://pi",
            "tcp://pi:0",
            "http://pi:2375",
            "ssh://pi",
            "tcp://pi:2375/v1",
            "docker",
            "",
        ] {
            assert!(engine(text).is_err(), "{text}");
        }
        assert_eq!(
            engine("/run/docker.sock").unwrap_err(),
            "`/run/docker.sock` has no scheme: write `unix:///run/docker.sock`"
        );
    }

    #[test]
    fn a_registry_is_what_leads_an_image_name() {
        for text in [
            "docker.io",
            "ghcr.io",
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "pi:5000",
            "[::1]:5000",
            "[::1]",
        ] {
            assert_eq!(registry(text), Ok(text.to_owned()));
        }
        for text in [
            "https://docker.io",
            "pi",
            "pi:",
            "pi:0",
            "pi:70000",
            "ghcr.io/me",
            "Docker.io",
            "index.docker.io",
            "",
            "a b:1",
        ] {
            assert!(registry(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_listening_address_has_both_parts() {
        assert!(listen("127.0.0.1:9000").is_ok());
        assert!(listen("[::1]:9000").is_ok());
        assert_eq!(listen(":9000").unwrap_err(), "`:9000` has no address: write `127.0.0.1:9000`");
        assert_eq!(listen("9000").unwrap_err(), "`9000` has no address: write `127.0.0.1:9000`");
        assert_eq!(
            listen("localhost:9000").unwrap_err(),
            "`localhost:9000` is a name: write the address, `127.0.0.1:9000`"
        );
        assert!(listen("127.0.0.1:0").is_err());
        assert!(listen("127.0.0.1").is_err());
    }
}
