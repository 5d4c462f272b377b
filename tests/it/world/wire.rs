//! The network between the agent and a simulated service: a listener whose connections can be refused, cut in
//! the middle or limited to so many bytes of upload. It knows nothing of what is spoken on them.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use axum::serve::Listener;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::world::simulators::Simulators;

const NO_LIMIT: u64 = u64::MAX;

/// The handle by which a test disturbs the network of one service.
#[derive(Clone)]
pub struct Wire {
    shared: Arc<Shared>,
}

struct Shared {
    address: SocketAddr,
    wanted_up: watch::Sender<bool>,
    is_up: watch::Sender<bool>,
    upload_limit: AtomicU64,
    alive: Mutex<CancellationToken>,
}

/// One client's connection, known to the handlers of its requests.
#[derive(Clone)]
pub struct Connection(CancellationToken);

impl Connection {
    /// Ends the connection at once, whatever was being said on it.
    pub fn cut(&self) {
        self.0.cancel();
    }
}

impl Wire {
    /// Serves a router on a port of `address` (0: any free one) until the simulators end.
    pub async fn serve(simulators: &Simulators, address: IpAddr, port: u16, router: Router) -> Self {
        simulators
            .run(async move {
                let listener = TcpListener::bind((address, port)).await.expect("bind a simulated service");
                let shared = Arc::new(Shared {
                    address: listener.local_addr().expect("read the address of a simulated service"),
                    wanted_up: watch::Sender::new(true),
                    is_up: watch::Sender::new(true),
                    upload_limit: AtomicU64::new(NO_LIMIT),
                    alive: Mutex::new(CancellationToken::new()),
                });
                let incoming = WireListener { listener: Some(listener), shared: Arc::clone(&shared) };
                let service = router.into_make_service_with_connect_info::<Connection>();
                tokio::spawn(async move { axum::serve(incoming, service).await.ok() });
                Self { shared }
            })
            .await
    }

    /// Where clients reach the service.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Cuts every connection and refuses new ones, as a host whose service is not running.
    pub async fn go_down(&self) {
        self.shared.wanted_up.send_replace(false);
        self.cut_all();
        self.settle(false).await;
    }

    /// Listens again on the same port.
    pub async fn come_back(&self) {
        self.shared.wanted_up.send_replace(true);
        self.settle(true).await;
    }

    /// Cuts every connection that sends more than `bytes`; `None` lifts the limit.
    pub fn cut_uploads_after(&self, bytes: Option<u64>) {
        self.shared.upload_limit.store(bytes.unwrap_or(NO_LIMIT), Ordering::SeqCst);
    }

    /// Cuts every connection there is; new ones are accepted.
    pub fn cut_all(&self) {
        let mut alive = self.shared.alive.lock().unwrap();
        std::mem::take(&mut *alive).cancel();
    }

    async fn settle(&self, up: bool) {
        self.shared.is_up.subscribe().wait_for(|now| *now == up).await.expect("the service has ended");
    }
}

struct WireListener {
    listener: Option<TcpListener>,
    shared: Arc<Shared>,
}

impl Listener for WireListener {
    type Io = WireStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (WireStream, SocketAddr) {
        let mut wanted = self.shared.wanted_up.subscribe();
        loop {
            let Some(listener) = &self.listener else {
                wanted.wait_for(|up| *up).await.ok();
                match TcpListener::bind(self.shared.address).await {
                    Ok(listener) => self.listener = Some(listener),
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
                continue;
            };
            self.shared.is_up.send_replace(true);
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, peer)) = accepted {
                    stream.set_nodelay(true).ok();
                    return (WireStream::new(stream, Arc::clone(&self.shared)), peer);
                },
                _ = wanted.wait_for(|up| !*up) => {
                    self.listener = None;
                    self.shared.is_up.send_replace(false);
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.shared.address)
    }
}

struct WireStream {
    stream: TcpStream,
    connection: Connection,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    received: u64,
    shared: Arc<Shared>,
}

impl WireStream {
    fn new(stream: TcpStream, shared: Arc<Shared>) -> Self {
        let token = shared.alive.lock().unwrap().child_token();
        Self {
            stream,
            connection: Connection(token.clone()),
            cut: Box::pin(token.cancelled_owned()),
            received: 0,
            shared,
        }
    }
}

impl Connected<IncomingStream<'_, WireListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, WireListener>) -> Self {
        stream.io().connection.clone()
    }
}

impl AsyncRead for WireStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.received += (buf.filled().len() - before) as u64;
        if self.received > self.shared.upload_limit.load(Ordering::SeqCst) {
            self.connection.cut();
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        polled
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.connection.0.is_cancelled() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
