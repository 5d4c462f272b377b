//! The thread on which every simulated service runs, with a runtime of its own, so that a test may block
//! without starving the services it talks to. It starts tasks and ends them all when dropped.

use std::future::Future;
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The running thread.
pub struct Simulators {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Simulators {
    /// Starts the thread.
    pub fn start() -> Self {
        let runtime =
            Builder::new_current_thread().enable_all().build().expect("build the simulators' runtime");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("simulators".to_owned())
            .spawn(move || {
                runtime.block_on(async { stopped.await.ok() });
                runtime.shutdown_background();
            })
            .expect("start the simulators' thread");
        Self { handle, stop: Some(stop), thread: Some(thread) }
    }

    /// Runs a task there until it ends or the world does.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    /// Runs a task there and waits for its result.
    pub async fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        self.handle.spawn(task).await.expect("a simulator's task panicked")
    }
}

impl Drop for Simulators {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
