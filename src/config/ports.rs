//! The grammar of published ports, `[ADDRESS:]HOST:CONTAINER[/tcp|/udp]`, and which of them cannot be published
//! together. Pure.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv6Addr;

use crate::config::settings::PortMapping;
use crate::config::settings::Protocol;

/// Parses one published port.
pub fn port_mapping(text: &str) -> Result<PortMapping, String> {
    let wanted = || format!("`{text}` is not a published port: write `HOST:CONTAINER`, such as `8080:80`");
    let (ports, protocol) = match text.rsplit_once('/') {
        None => (text, Protocol::Tcp),
        Some((ports, "tcp")) => (ports, Protocol::Tcp),
        Some((ports, "udp")) => (ports, Protocol::Udp),
        Some((_, other)) => {
            return Err(format!("`{text}`: `{other}` is not a protocol: write `/tcp` or `/udp`"));
        }
    };
    let (rest, container) = ports.rsplit_once(':').ok_or_else(|| match port(text, ports) {
        Ok(number) => format!("`{text}` names one port: write the host's too, `{number}:{number}`"),
        Err(reason) => reason,
    })?;
    let (address, host) = match rest.rsplit_once(':') {
        None => (None, rest),
        Some((address, host)) => (Some(bind_address(text, address)?), host),
    };
    if host.is_empty() || container.is_empty() {
        return Err(wanted());
    }
    Ok(PortMapping { address, host: port(text, host)?, container: port(text, container)?, protocol })
}

fn port(text: &str, number: &str) -> Result<u16, String> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if number.split_once('-').is_some_and(|(first, last)| is_number(first) && is_number(last)) {
        return Err(format!("`{text}`: ranges are not supported: list each port by itself"));
    }
    match number.parse() {
        Ok(port) if port > 0 && is_number(number) => Ok(port),
        _ => Err(format!("`{text}`: a port is a number from 1 to 65535")),
    }
}

fn bind_address(text: &str, address: &str) -> Result<IpAddr, String> {
    if let Some(inner) = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner
            .parse::<Ipv6Addr>()
            .map(IpAddr::V6)
            .map_err(|_| format!("`{text}`: `{inner}` is not an IPv6 address"));
    }
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => Ok(IpAddr::V4(v4)),
        Ok(IpAddr::V6(v6)) => {
            Err(format!("`{text}`: an IPv6 address stands in brackets: `[{v6}]:HOST:CONTAINER`"))
        }
        Err(_) if address == "localhost" => {
            Err(format!("`{text}`: write the address, `127.0.0.1`, not a name"))
        }
        Err(_) => Err(format!("`{text}`: `{address}` is not an address such as `127.0.0.1`")),
    }
}

/// Whether two ports of the host cannot be bound at once.
pub fn clash(one: &PortMapping, other: &PortMapping) -> bool {
    let covers = |a: Option<IpAddr>, b: Option<IpAddr>| match (a, b) {
        (None, _) | (_, None) => true,
        // The unspecified IPv6 address is bound for both families.
        (Some(IpAddr::V6(v6)), _) | (_, Some(IpAddr::V6(v6))) if v6.is_unspecified() => true,
        (Some(a), Some(b)) => {
            a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
        }
    };
    one.host == other.host && one.protocol == other.protocol && covers(one.address, other.address)
}

/// Prints in the form in which it is written.
impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(v6)) => write!(f, "[{v6}]:")?,
            Some(IpAddr::V4(v4)) => write!(f, "{v4}:")?,
            None => {}
        }
        write!(f, "{}:{}", self.host, self.container)?;
        match self.protocol {
            Protocol::Tcp => Ok(()),
            Protocol::Udp => f.write_str("/udp"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn mapping(text: &str) -> PortMapping {
        port_mapping(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn every_form_of_a_port_is_read_and_printed() {
        for text in ["5000:5000", "127.0.0.1:8080:80", "[::1]:8080:80", "53:53/udp", "0.0.0.0:1:65535"] {
            assert_eq!(mapping(text).to_string(), text);
        }
        assert_eq!(mapping("80:80/tcp"), mapping("80:80"));
    }

    #[test]
    fn wrong_ports_are_refused_with_the_right_form() {
        for (text, reason) in [
            ("70000:5000", "`70000:5000`: a port is a number from 1 to 65535"),
            ("0:5000", "`0:5000`: a port is a number from 1 to 65535"),
            ("+1:5000", "`+1:5000`: a port is a number from 1 to 65535"),
            ("-1:5000", "`-1:5000`: a port is a number from 1 to 65535"),
            ("http:80", "`http:80`: a port is a number from 1 to 65535"),
            ("5000", "`5000` names one port: write the host's too, `5000:5000`"),
            (
                "8000-8010:8000-8010",
                "`8000-8010:8000-8010`: ranges are not supported: list each port by itself",
            ),
            ("8000-8010", "`8000-8010`: ranges are not supported: list each port by itself"),
            ("80:80/sctp", "`80:80/sctp`: `sctp` is not a protocol: write `/tcp` or `/udp`"),
            ("::1:80:80", "`::1:80:80`: an IPv6 address stands in brackets: `[::1]:HOST:CONTAINER`"),
            ("[::g]:80:80", "`[::g]:80:80`: `::g` is not an IPv6 address"),
            ("localhost:80:80", "`localhost:80:80`: write the address, `127.0.0.1`, not a name"),
            ("pi:80:80", "`pi:80:80`: `pi` is not an address such as `127.0.0.1`"),
            (":80", "`:80` is not a published port: write `HOST:CONTAINER`, such as `8080:80`"),
            ("80:", "`80:` is not a published port: write `HOST:CONTAINER`, such as `8080:80`"),
            ("", "``: a port is a number from 1 to 65535"),
        ] {
            assert_eq!(port_mapping(text).unwrap_err(), reason);
        }
    }

    #[test]
    fn ports_clash_on_a_shared_address_only() {
        let clashes = |one: &str, other: &str| clash(&mapping(one), &mapping(other));
        assert!(clashes("80:1", "80:2"));
        assert!(clashes("80:1", "127.0.0.1:80:2"));
        assert!(clashes("0.0.0.0:80:1", "127.0.0.1:80:2"));
        assert!(clashes("[::]:80:1", "127.0.0.1:80:2"));
        assert!(!clashes("0.0.0.0:80:1", "[::1]:80:2"));
        assert!(!clashes("127.0.0.1:80:1", "127.0.0.2:80:2"));
        assert!(!clashes("80:1", "80:2/udp"));
        assert!(!clashes("80:1", "81:1"));
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_for_a_port(text in "[0-9a-f:/.\\[\\]tcpu-]{0,24}") {
            if let Ok(mapping) = port_mapping(&text) {
                prop_assert_eq!(port_mapping(&mapping.to_string()), Ok(mapping));
            }
        }
    }
}
