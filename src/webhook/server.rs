//! Connections: so many at a time, each for one request and only for so long. axum's own `serve` has neither
//! limit, hence hyper's connection is driven here. Knows nothing of what is asked.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use slog::Logger;
use slog::debug;
use slog::warn;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::webhook::Limits;

/// How long no connection is accepted after accepting one failed, which mostly means too many open files.
const PAUSE_AFTER_A_FAILURE: Duration = Duration::from_secs(1);

/// Serves connections until `shutdown` is done, then lets answers under way end.
pub async fn serve_connections(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
    log: &Logger,
) {
    let mut shutdown = pin!(shutdown);
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut shutdown => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, _address)) => {
                let connection = serve_one(stream, router.clone(), limits.connection_life, log.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(problem) => {
                warn!(log, "webhook: accept a connection: {problem}");
                if timeout(PAUSE_AFTER_A_FAILURE, &mut shutdown).await.is_ok() {
                    break;
                }
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let all_done = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.farewell, all_done).await.is_err() {
        debug!(log, "webhook: connections were still open at the end");
    }
}

async fn serve_one(stream: TcpStream, router: Router, life: Duration, log: Logger) {
    let connection = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(life, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(problem)) => debug!(log, "webhook: connection broke off: {problem}"),
        Err(_) => debug!(log, "webhook: connection cut, it took too long"),
    }
}
