//! How long the service takes from its start to `READY=1`, as systemd sees it.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use crate::figures::Figures;
use crate::table::Row;
use crate::table::Table;
use crate::world::World;

const DEADLINE: Duration = Duration::from_secs(20);
const MOST: u64 = 100;

/// The times of some starts.
pub struct Ready(Figures);

/// Starts the service so many times, one after the other.
pub fn measure(binary: &Path, world: &World, starts: usize) -> Ready {
    world.agent.write_config();
    let address = world.folder().join("bench.socket");
    let socket = UnixDatagram::bind(&address).expect("bind a notify socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("limit the waiting");
    let start = |_| {
        let mut command = Command::new(binary);
        command.arg("--config").arg(world.agent.config_file()).arg("run");
        command.env("NOTIFY_SOCKET", &address).stdin(Stdio::null()).stderr(Stdio::null());
        if Path::new(crate::SYSTEM_CERTIFICATES).exists() {
            command.env("SSL_CERT_FILE", crate::SYSTEM_CERTIFICATES);
        }
        let began = Instant::now();
        let started = Started(command.spawn().expect("start homeport"));
        wait_for(&socket, "READY=1");
        let took = began.elapsed();
        started.stop();
        wait_for(&socket, "STOPPING=1");
        took
    };
    Ready(Figures::of((0..starts).map(start).collect()))
}

impl Ready {
    /// Adds its row.
    pub fn report(&self, table: &mut Table) {
        let row = Row::of("from exec to READY=1, median (least to most)", self.0.to_string());
        table.add(row.aim_at_most(format!("{MOST} ms"), self.0.median().round() as u64, MOST));
    }
}

/// A service that ends with the bench.
struct Started(Child);

impl Started {
    fn stop(mut self) {
        let sent = Command::new("kill").args(["-s", "TERM", &self.0.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot stop homeport");
        assert!(self.0.wait().is_ok_and(|status| status.success()), "homeport did not end well");
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Both fail when it has ended, which is what is wanted.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn wait_for(socket: &UnixDatagram, notice: &str) {
    let mut raw = [0; 4096];
    loop {
        let length = socket.recv(&mut raw).unwrap_or_else(|_| panic!("homeport does not say {notice}"));
        if String::from_utf8_lossy(&raw[..length]).lines().any(|line| line == notice) {
            return;
        }
    }
}
