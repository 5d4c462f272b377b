//! What of this machine's files tests on the host may use: the rules, as values. Pure.
//!
//! The kernel knows only what is allowed, and allows it with all that lies below. So a folder that has something
//! hidden below it is not allowed itself, but each of its entries is.

use std::path::Path;
use std::path::PathBuf;

/// Folders of people, whose keys and mails are no business of a test.
const HOMES: &[&str] = &["/home", "/root"];
/// Folders that belong to nobody, where programs put what is temporary.
const SHARED: &[&str] = &["/tmp", "/var/tmp"];
/// Devices that are no part of the machine.
const DEVICES: &[&str] = &[
    "/dev/full",
    "/dev/null",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/random",
    "/dev/shm",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
];

/// What may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reach {
    /// Read and run, with all below.
    pub(super) readable: Vec<PathBuf>,
    /// Changed too, with all below.
    pub(super) writable: Vec<PathBuf>,
}

impl Reach {
    /// The system to read, `own` and the temporary folders to change, and nothing of `hidden`. `path` is where
    /// programs are looked for; `entries` are those of a folder, without symbolic links: what they lead to is allowed
    /// or hidden where it is.
    pub(super) fn new(
        own: &[PathBuf],
        hidden: &[PathBuf],
        path: &[PathBuf],
        entries: &dyn Fn(&Path) -> Vec<PathBuf>,
    ) -> Self {
        let beside_the_system = HOMES.iter().chain(SHARED).chain(&["/dev"]).map(PathBuf::from);
        let not_readable: Vec<PathBuf> = hidden.iter().cloned().chain(beside_the_system).collect();
        let mut readable = Vec::new();
        spare(Path::new("/"), &not_readable, entries, &mut readable);
        for folder in path.iter().filter(|folder| HOMES.iter().any(|home| folder.starts_with(home))) {
            spare(folder, hidden, entries, &mut readable);
        }
        let mut writable = own.to_vec();
        for folder in SHARED {
            spare(Path::new(folder), hidden, entries, &mut writable);
        }
        writable.extend(DEVICES.iter().map(PathBuf::from));
        Self { readable, writable }
    }
}

/// Adds `path` to `open`, or those of its entries that are neither hidden nor have something hidden below them.
fn spare(path: &Path, hidden: &[PathBuf], entries: &dyn Fn(&Path) -> Vec<PathBuf>, open: &mut Vec<PathBuf>) {
    if hidden.iter().any(|other| path.starts_with(other)) {
        return;
    }
    if hidden.iter().any(|other| other.starts_with(path)) {
        for entry in entries(path) {
            spare(&entry, hidden, entries, open);
        }
    } else {
        open.push(path.to_owned());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const ENTRIES: &[(&str, &[&str])] = &[
        ("/", &["/dev", "/etc", "/home", "/proc", "/root", "/run", "/tmp", "/usr", "/var"]),
        ("/etc", &["/etc/homeport", "/etc/passwd", "/etc/ssl"]),
        ("/home", &["/home/pi"]),
        ("/run", &["/run/credentials", "/run/docker.sock", "/run/lock"]),
        ("/run/credentials", &["/run/credentials/homeport.service", "/run/credentials/other.service"]),
        ("/tmp", &["/tmp/mine", "/tmp/yours"]),
        ("/var", &["/var/cache", "/var/lib", "/var/log", "/var/tmp"]),
        ("/var/lib", &["/var/lib/dpkg", "/var/lib/homeport"]),
        ("/var/log", &["/var/log/homeport", "/var/log/syslog"]),
    ];

    fn paths(texts: &[&str]) -> Vec<PathBuf> {
        texts.iter().map(PathBuf::from).collect()
    }

    fn reach(hidden: &[&str], path: &[&str]) -> Reach {
        let entries = |folder: &Path| {
            let found = ENTRIES.iter().find(|(name, _)| Path::new(name) == folder);
            found.map(|(_, entries)| paths(entries)).unwrap_or_default()
        };
        Reach::new(&paths(&["/var/lib/homeport/trees/web-1-test"]), &paths(hidden), &paths(path), &entries)
    }

    #[test]
    fn the_system_can_be_read_around_what_is_hidden() {
        let hidden = [
            "/var/lib/homeport",
            "/var/log/homeport",
            "/etc/homeport",
            "/run/credentials/homeport.service",
            "/run/docker.sock",
        ];
        let wanted = [
            "/etc/passwd",
            "/etc/ssl",
            "/proc",
            "/run/credentials/other.service",
            "/run/lock",
            "/usr",
            "/var/cache",
            "/var/lib/dpkg",
            "/var/log/syslog",
        ];
        let reach = reach(&hidden, &["/usr/bin"]);
        assert_eq!(reach.readable, paths(&wanted));
        assert_eq!(reach.writable[..3], paths(&["/var/lib/homeport/trees/web-1-test", "/tmp", "/var/tmp"]));
        assert!(!reach.writable.contains(&PathBuf::from("/dev")), "the disks are there");
    }

    #[test]
    fn what_hides_nothing_is_one_rule() {
        let reach = reach(&[], &[]);
        assert_eq!(
            reach.readable,
            paths(&["/etc", "/proc", "/run", "/usr", "/var/cache", "/var/lib", "/var/log"])
        );
    }

    #[test]
    fn state_in_a_temporary_folder_is_hidden_there_too() {
        let reach = reach(&["/tmp/mine"], &[]);
        assert!(reach.writable.contains(&PathBuf::from("/tmp/yours")));
        assert!(!reach.writable.contains(&PathBuf::from("/tmp")));
        assert!(!reach.writable.contains(&PathBuf::from("/tmp/mine")));
    }

    #[test]
    fn of_a_home_only_the_programs_are_open_and_those_not_when_they_are_hidden() {
        let path = ["/home/pi/.cargo/bin", "/home/pi/homeport/bin"];
        let reach = reach(&["/home/pi/homeport"], &path);
        let of_homes: Vec<_> = reach.readable.iter().filter(|path| path.starts_with("/home")).collect();
        assert_eq!(of_homes, [Path::new("/home/pi/.cargo/bin")]);
    }

    #[test]
    fn where_the_whole_machine_is_hidden_nothing_but_the_own_folders_is_left() {
        let reach = reach(&["/"], &["/home/pi/bin"]);
        assert_eq!(reach.readable, paths(&[]));
        assert_eq!(reach.writable[0], Path::new("/var/lib/homeport/trees/web-1-test"));
        assert!(reach.writable[1..].iter().all(|path| path.starts_with("/dev")));
    }
}
