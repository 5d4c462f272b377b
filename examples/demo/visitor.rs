//! A visitor of the service who asks for its page every 5 ms, each time over a new connection and without waiting
//! for answers still to come, and remembers when there was one. It has a thread of its own, so that nothing of the
//! story delays it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;

const PACE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_millis(200);
/// Requests under way at the same time: one that hangs delays no other, and the port is not flooded.
const MOST: usize = 8;

/// When pages came, oldest first.
type Served = Arc<Mutex<Vec<Instant>>>;

/// The visitor on its way. Dropped, it goes home.
pub struct Visitor {
    served: Served,
    way: Option<DropGuard>,
    thread: Option<JoinHandle<()>>,
}

impl Visitor {
    /// Visits this port of this machine from now on.
    pub fn send(port: u16) -> Self {
        let (way, served) = (CancellationToken::new(), Served::default());
        let (over, pages) = (way.clone(), Arc::clone(&served));
        let visit = move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("build a runtime");
            runtime.block_on(over.run_until_cancelled(ask_again_and_again(port, pages)));
        };
        Self { served, way: Some(way.drop_guard()), thread: Some(std::thread::spawn(visit)) }
    }

    /// The longest time without a page since that moment.
    pub fn longest_wait_since(&self, moment: Instant) -> Duration {
        let served = self.served.lock().unwrap();
        let before = served.partition_point(|page| *page < moment).saturating_sub(1);
        let waits = served[before..].windows(2).map(|pair| pair[1] - pair[0]);
        waits.max().unwrap_or_default()
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.way.take();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

async fn ask_again_and_again(port: u16, served: Served) {
    let mut pace = tokio::time::interval(PACE);
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        pace.tick().await;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let served = Arc::clone(&served);
        tokio::spawn(async move {
            let _place = place;
            let answer = tokio::time::timeout(PATIENCE, ask(port)).await;
            if answer.is_ok_and(|page| page.is_ok_and(|page| page.contains(" 200 "))) {
                served.lock().unwrap().push(Instant::now());
            }
        });
    }
}

async fn ask(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: shop\r\n\r\n").await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    Ok(page)
}
