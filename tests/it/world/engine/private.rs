//! A Docker engine of a test's own, to be killed and starved: in its own network namespace, joined to this
//! machine by one cable (a veth pair), over which it reaches the world's services and is reached itself. Nothing
//! else gets in or out. The agent of such a test has to run inside: [`PrivateEngine::enter`].

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use tempfile::TempDir;

use crate::world::claim;
use crate::world::claim::Claim;
use crate::world::leash::Leash;
use crate::world::port::ReservedPort;

const NAMESPACE_FILE: &str = "namespace";

/// The running engine.
pub struct PrivateEngine {
    folder: TempDir,
    namespace: String,
    outside: Ipv4Addr,
    inside: Ipv4Addr,
    process: Mutex<Option<Leash>>,
    _number: ReservedPort,
}

impl PrivateEngine {
    /// Starts an empty engine, in about a second.
    pub async fn start(claim: &Claim) -> Self {
        let number = ReservedPort::find();
        let [_, _, third, fourth] = (u32::from(number.number() - 20_000) * 4).to_be_bytes();
        let engine = Self {
            folder: tempfile::Builder::new()
                .prefix(&format!("{}-engine", claim.name()))
                .tempdir_in(claim::folder())
                .expect("make the engine's folder"),
            namespace: format!("hp{}", number.number()),
            outside: Ipv4Addr::new(10, 213, third, fourth + 1),
            inside: Ipv4Addr::new(10, 213, third, fourth + 2),
            process: Mutex::new(None),
            _number: number,
        };
        engine.lay_cable();
        engine.restart().await;
        engine
    }

    /// `docker.host`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    /// This machine's end of the cable, where the world's services listen.
    pub const fn outside(&self) -> IpAddr {
        IpAddr::V4(self.outside)
    }

    /// The engine's end of the cable, where published ports are reached from here.
    pub const fn inside(&self) -> IpAddr {
        IpAddr::V4(self.inside)
    }

    /// What to put before a command so that it runs inside.
    pub fn enter(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/run/netns/{}", self.namespace), "--".to_owned()]
    }

    /// Kills the engine with its containerd; the containers run on.
    pub fn kill(&self) {
        let running = self.process.lock().unwrap().take();
        if let Some(process) = running {
            process.stop("KILL");
        }
        // An engine that finds the pid of a dying containerd waits for it in vain.
        let containerd = processes_naming(&self.folder.path().join("exec/containerd/containerd.toml"));
        kill_all(&containerd);
    }

    /// Takes away what the engine's store holds below `path`, as a card may after a power cut. While it is dead.
    pub fn lose(&self, path: &str) {
        let lost = self.folder.path().join("data").join(path);
        for entry in std::fs::read_dir(&lost).expect("read the store") {
            std::fs::remove_dir_all(entry.expect("read the store").path())
                .expect("remove a part of the store");
        }
    }

    /// Stops the engine in good order, with its containers.
    pub fn stop(&self) {
        let running = self.process.lock().unwrap().take();
        if let Some(process) = running {
            process.stop("TERM");
        }
    }

    /// Kills the engine and every container in the same instant, as a power cut does.
    pub fn cut_power(&self) {
        self.kill();
        kill_containers(self.folder.path());
    }

    /// Starts the engine again on what it has on disk, and waits until it answers.
    pub async fn restart(&self) {
        self.kill();
        let folder = self.folder.path().to_str().expect("a path in UTF-8");
        // A killed engine leaves pid files behind, and takes whoever has that pid now for itself.
        for file in ["pid", "exec/containerd/containerd.pid"] {
            std::fs::remove_file(self.folder.path().join(file)).ok();
        }
        let enter = self.enter();
        let host = self.host();
        let flags = [
            format!("--data-root={folder}/data"),
            format!("--exec-root={folder}/exec"),
            format!("--pidfile={folder}/pid"),
            format!("--insecure-registry={}/32", self.outside),
            "--max-download-attempts=1".to_owned(),
        ];
        let mut argv: Vec<&str> = enter.iter().map(String::as_str).collect();
        argv.extend(["dockerd", "--host", &host]);
        argv.extend(flags.iter().map(String::as_str));
        let process = Leash::start(&argv, &self.folder.path().join("log"));
        *self.process.lock().unwrap() = Some(process);
        self.wait_answering(&host).await;
    }

    /// The engine's log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    async fn wait_answering(&self, host: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let asked =
                tokio::process::Command::new("docker").args(["--host", host, "version"]).output().await;
            if asked.is_ok_and(|output| output.status.success()) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the private engine does not answer; its log:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    fn lay_cable(&self) {
        let (ns, here, there) = (&self.namespace, cable(&self.namespace, "o"), cable(&self.namespace, "i"));
        std::fs::write(self.folder.path().join(NAMESPACE_FILE), ns).expect("note the namespace's name");
        let (outside, inside) = (format!("{}/30", self.outside), format!("{}/30", self.inside));
        ip(&["netns", "add", ns]);
        ip(&["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", ns]);
        ip(&["address", "add", &outside, "dev", &here]);
        ip(&["link", "set", &here, "up"]);
        ip(&["-n", ns, "address", "add", &inside, "dev", &there]);
        ip(&["-n", ns, "link", "set", "lo", "up"]);
        ip(&["-n", ns, "link", "set", &there, "up"]);
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        self.cut_power();
        tear_down(self.folder.path());
    }
}

/// Ends whatever of an engine that had this folder is left: processes, mounts, cable and namespace.
pub fn tear_down(folder: &Path) {
    let Ok(namespace) = std::fs::read_to_string(folder.join(NAMESPACE_FILE)) else { return };
    kill_containers(folder);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let ours: Vec<&str> = points.filter(|point| Path::new(point).starts_with(folder)).collect();
    for point in ours.iter().rev() {
        Command::new("umount").args(["-l", point]).output().ok();
    }
    Command::new("ip").args(["link", "delete", &cable(&namespace, "o")]).output().ok();
    Command::new("ip").args(["netns", "delete", &namespace]).output().ok();
}

fn cable(namespace: &str, end: &str) -> String {
    format!("{namespace}{end}")
}

/// Kills what runs below the engine, which is dead itself: containerd, the shims, and what they hold.
fn kill_containers(folder: &Path) {
    let shims = processes_naming(folder);
    let contained: Vec<u32> = shims.iter().flat_map(|pid| descendants(*pid)).collect();
    kill_all(&[shims, contained].concat());
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("run ip, of iproute2");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The processes whose command line names this folder: containerd and the containers' shims.
fn processes_naming(folder: &Path) -> Vec<u32> {
    let folder = folder.to_string_lossy().into_owned();
    let names = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|raw| String::from_utf8_lossy(&raw).contains(&folder))
    };
    all_processes().into_iter().filter(names).collect()
}

/// Kills the processes and waits until none is left.
fn kill_all(pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    Command::new("kill").arg("-KILL").args(pids.iter().map(ToString::to_string)).output().ok();
    let is_alive = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    };
    while pids.iter().any(is_alive) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn descendants(pid: u32) -> Vec<u32> {
    let children = all_processes().into_iter().filter(|child| parent(*child) == Some(pid));
    children.flat_map(|child| std::iter::once(child).chain(descendants(child))).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn all_processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("list processes");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}
