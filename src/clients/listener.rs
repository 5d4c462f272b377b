//! Which program of this machine listens on a port, by what the kernel shows in `/proc` (proc(5)). It opens no
//! socket itself. Another user's program is shown by its user alone, unless the agent may look into it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use crate::config::settings::PortMapping;
use crate::config::settings::Protocol;

/// The state of a listening TCP socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";
/// The state of a UDP socket that is bound and not connected.
const BOUND: &str = "07";

/// Who listens on a port, in words; `None` if nobody does, or the kernel does not say.
pub fn listener_on(port: &PortMapping) -> Option<String> {
    let (tables, state) = match port.protocol {
        Protocol::Tcp => (["/proc/net/tcp", "/proc/net/tcp6"], LISTENING),
        Protocol::Udp => (["/proc/net/udp", "/proc/net/udp6"], BOUND),
    };
    let texts = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
    let socket = texts.into_iter().find_map(|text| socket_on(&text, port, state))?;
    Some(match program_of(socket.inode) {
        Some((pid, name)) => format!("the program `{name}` (process {pid})"),
        None => format!("a program of user {}", socket.user),
    })
}

struct Socket {
    user: u32,
    inode: u64,
}

/// The first socket of a table that is in the way of this port.
fn socket_on(table: &str, port: &PortMapping, state: &str) -> Option<Socket> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, number) = fields.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(number, 16) == Ok(port.host)
            && fields.get(3) == Some(&state)
            && is_in_the_way(address, port);
        let (user, inode) = (fields.get(7)?.parse().ok()?, fields.get(9)?.parse().ok()?);
        is_it.then_some(Socket { user, inode })
    })
}

/// Two sockets bound to different IPv4 addresses of this machine do not meet.
fn is_in_the_way(bound: &str, port: &PortMapping) -> bool {
    // The kernel prints an IPv4 address as one number in the machine's byte order.
    let bound = (bound.len() == 8).then(|| u32::from_str_radix(bound, 16).ok()).flatten();
    let bound = bound.map(|number| Ipv4Addr::from(number.to_ne_bytes())).filter(|ip| !ip.is_unspecified());
    match (bound, port.address) {
        (Some(bound), Some(wanted)) => wanted.is_unspecified() || wanted == bound,
        (_, _) => true,
    }
}

/// The process that holds a socket, and what it is called.
fn program_of(inode: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let numbered = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut holders = numbered.filter(|pid| holds(*pid, &wanted));
    let pid = holders.next()?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some((pid, name.trim().to_owned()))
}

fn holds(pid: u32, wanted: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files
        .filter_map(Result::ok)
        .any(|file| fs::read_link(file.path()).is_ok_and(|target| target == Path::new(wanted)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::net::TcpListener;
    use std::time::Duration;
    use std::time::Instant;

    use super::*;

    fn tcp(host: u16) -> PortMapping {
        PortMapping { address: None, host, container: 80, protocol: Protocol::Tcp }
    }

    #[test]
    fn the_program_that_listens_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let holder = listener_on(&tcp(port)).unwrap();
        assert!(holder.contains(&format!("(process {})", std::process::id())), "{holder}");
        drop(listener);
        // What another test starts has it too, until it runs its own program.
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Some(holder) = listener_on(&tcp(port)) {
            assert!(Instant::now() < deadline, "{holder}");
        }
    }

    #[test]
    fn a_connection_is_no_listener() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     0: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 77 1\n\
                     1: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 78 1\n";
        assert!(socket_on(table, &tcp(8080), LISTENING).is_none());
        let socket = socket_on(table, &tcp(8081), LISTENING).unwrap();
        assert_eq!((socket.user, socket.inode), (1001, 78));
    }

    #[test]
    fn another_address_is_not_in_the_way() {
        let at = |address: &str| PortMapping { address: address.parse().ok(), ..tcp(8080) };
        assert!(!is_in_the_way("0100007F", &at("192.168.1.2")));
        assert!(is_in_the_way("0100007F", &at("127.0.0.1")));
        assert!(is_in_the_way("00000000", &at("192.168.1.2")));
        assert!(is_in_the_way("0100007F", &tcp(8080)));
    }
}
