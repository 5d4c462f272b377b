//! A visitor of a published port, every 5 ms, with a new connection each time and without waiting for the answers
//! that are still to come. It has a thread of its own, so that nothing else of the bench delays it.

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
use tokio_util::sync::CancellationToken;

const PACE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(2);
/// The niceness of its thread.
const HASTE: i32 = -15;

/// The visitor on its way. Dropped, it goes home.
pub struct Visitor {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

/// What a visitor sees of a swap.
#[derive(Debug, Clone, Copy)]
pub struct Swap {
    /// From the last answer of the old one to the first of the new one.
    pub gap: Duration,
    /// From the order to stop the old one, which may go on answering until it is killed.
    pub since_stop: Duration,
}

impl Swap {
    /// A swap in which the old one was asked to stop then.
    pub fn seen(visitor: &Visitor, asked: Instant, (old, new): (&str, &str)) -> Self {
        let first = visitor.first_after(new, asked).expect("the visitor has seen the new page");
        Self { gap: visitor.gap(old, new), since_stop: first.saturating_duration_since(asked) }
    }
}

/// A page that came, when it was there in full, and how long it took.
#[derive(Clone)]
struct Answer {
    at: Instant,
    took: Duration,
    page: String,
}

impl Visitor {
    /// Visits this port of this machine from now on.
    pub fn send(port: u16) -> Self {
        let (stop, answers) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
        let (stopped, found) = (stop.clone(), Arc::clone(&answers));
        let visit = move || {
            // What it waits for is to be the service, not its own turn on a busy machine; who may not have it so, waits.
            rustix::process::setpriority_process(None, HASTE).ok();
            let runtime = Builder::new_current_thread().enable_all().build().expect("build a runtime");
            runtime.block_on(stopped.run_until_cancelled(walk(port, found)));
        };
        let thread = std::thread::Builder::new().name("visitor".to_owned()).spawn(visit);
        Self { stop, thread: Some(thread.expect("start the visitor's thread")), answers }
    }

    /// Waits until a page with this text was seen.
    pub async fn wait_for(&self, text: &str, limit: Duration) {
        let end = Instant::now() + limit;
        while !self.answers.lock().unwrap().iter().any(|answer| answer.page.contains(text)) {
            assert!(Instant::now() < end, "the visitor waited {limit:?} in vain for {text:?}");
            tokio::time::sleep(PACE).await;
        }
    }

    /// The time from the last page with the old text to the first with the new one.
    pub fn gap(&self, old: &str, new: &str) -> Duration {
        let answers = self.answers.lock().unwrap().clone();
        let times = |text: &str| {
            let with: Vec<_> = answers.iter().filter(|a| a.page.contains(text)).map(|a| a.at).collect();
            with
        };
        let last = times(old).into_iter().max().expect("the visitor has seen the old page");
        let first = times(new).into_iter().min().expect("the visitor has seen the new page");
        first.saturating_duration_since(last)
    }

    /// How long the answers took that came between these times.
    pub fn took(&self, from: Instant, to: Instant) -> Vec<Duration> {
        let answers = self.answers.lock().unwrap();
        answers.iter().filter(|answer| (from..to).contains(&answer.at)).map(|answer| answer.took).collect()
    }

    /// When the first page with this text came after that time.
    pub fn first_after(&self, text: &str, then: Instant) -> Option<Instant> {
        let answers = self.answers.lock().unwrap();
        answers.iter().filter(|a| a.at > then && a.page.contains(text)).map(|a| a.at).min()
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

async fn walk(port: u16, answers: Arc<Mutex<Vec<Answer>>>) {
    let mut pace = tokio::time::interval(PACE);
    loop {
        pace.tick().await;
        let answers = Arc::clone(&answers);
        tokio::spawn(async move {
            let asked = Instant::now();
            if let Ok(Ok(page)) = tokio::time::timeout(PATIENCE, ask(port)).await
                && page.starts_with("HTTP/1.")
                && page.contains(" 200 ")
            {
                answers.lock().unwrap().push(Answer { at: Instant::now(), took: asked.elapsed(), page });
            }
        });
    }
}

async fn ask(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    Ok(page)
}
