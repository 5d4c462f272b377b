//! What a build's session answers to questions for files as no engine asks them, but a builder may that a stranger's
//! `# syntax` line names. The engine is one of a few lines, which asks them.

use std::fs;
use std::sync::Arc;
use std::task::Context as Task;
use std::task::Poll;

use bollard::fsutil::types::Packet;
use bollard::fsutil::types::packet::PacketType;
use bollard::moby::filesync::v1::file_sync_client::FileSyncClient;
use homeport::ci::context::Context;
use homeport::clients::docker::BuildContext;
use homeport::clients::docker::Builder;
use homeport::clients::docker::Docker;
use http::Request as HttpRequest;
use http::Response as HttpResponse;
use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::task::AbortOnDropHandle;
use tonic::Code;
use tonic::Request;
use tonic::Status;
use tonic::Streaming;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::codegen::Service;

use crate::docker_bed::eventually;
use crate::docker_bed::plain_request;

/// A build under way, and the asking end of its session.
struct Asker {
    context: Arc<dyn BuildContext>,
    client: FileSyncClient<Channel>,
    _folder: TempDir,
    _interface: TcpStream,
    _tasks: [AbortOnDropHandle<()>; 2],
}

/// One question and its answer, as far as it has come.
struct Conversation {
    requests: UnboundedSender<Packet>,
    answer: Streaming<Packet>,
}

#[derive(Clone)]
struct Channel(SendRequest<Body>);

impl Service<HttpRequest<Body>> for Channel {
    type Response = HttpResponse<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(task)
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

impl Asker {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for path in ["Dockerfile", "fünf+ 1/a", "other/b"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "FROM scratch\n").unwrap();
        }
        let context: Arc<dyn BuildContext> =
            Arc::new(Context::for_build(folder.path(), ".", "Dockerfile").await.unwrap());
        let engine = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let docker = Docker::connect(&format!("tcp://{}", engine.local_addr().unwrap())).unwrap();
        let request = plain_request(Arc::clone(&context));
        let build = tokio::spawn(async move {
            docker.build_with(Builder::BuildKit, request, &|_: &[u8]| {}).await.unwrap_err();
        });
        let session = upgraded(&engine, "POST /session ").await;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(session)).await.unwrap();
        let connection = tokio::spawn(async { connection.await.unwrap_or_default() });
        let client = FileSyncClient::with_origin(Channel(sender), Uri::from_static("http://session"));
        let interface = upgraded(&engine, "POST /grpc ").await;
        let tasks = [build, connection].map(AbortOnDropHandle::new);
        Self { context, client, _folder: folder, _interface: interface, _tasks: tasks }
    }

    async fn ask(&self, folder: &str, headers: &[(&'static str, &str)]) -> Result<Conversation, Status> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let stream = futures_util::stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|packet| (packet, receiver))
        });
        let mut request = Request::new(stream);
        request.metadata_mut().insert("dir-name", folder.parse().unwrap());
        for (key, value) in headers {
            request.metadata_mut().append(*key, value.parse().unwrap());
        }
        let answer = self.client.clone().diff_copy(request).await?.into_inner();
        Ok(Conversation { requests, answer })
    }
}

/// The next connection, on which HTTP/2 follows the answer to this request.
async fn upgraded(engine: &TcpListener, request: &str) -> TcpStream {
    let (mut stream, _) = engine.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(request.as_bytes()), "{}", String::from_utf8_lossy(&head));
    let answer = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    stream.write_all(answer).await.unwrap();
    stream
}

impl Conversation {
    async fn next(&mut self) -> Packet {
        self.answer.message().await.unwrap().expect("the answer goes on")
    }

    /// The paths of all entries that are told of.
    async fn names(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(entry) = self.next().await.stat {
            names.push(entry.path);
        }
        names
    }

    fn send(&self, kind: PacketType, id: u32) {
        self.requests.send(Packet { r#type: kind.into(), id, ..Packet::default() }).unwrap();
    }
}

#[tokio::test]
async fn no_other_folder_is_given() {
    let asker = Asker::start().await;
    for folder in ["", "/", "..", "context/..", "home"] {
        let refused = asker.ask(folder, &[]).await.err().expect("it is refused");
        assert_eq!(refused.code(), Code::NotFound, "{folder}: {refused}");
    }
    for folder in ["context", "dockerfile"] {
        let mut asked = asker.ask(folder, &[]).await.unwrap();
        assert_eq!(asked.names().await, ["Dockerfile", "fünf+ 1", "fünf+ 1/a", "other", "other/b"]);
        asked.send(PacketType::PacketFin, 0);
        assert_eq!(asked.next().await.r#type(), PacketType::PacketFin);
        assert_eq!(asked.answer.message().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_path_that_is_written_as_later_engines_write_it_is_understood() {
    let asker = Asker::start().await;
    let headers = [("followpaths", "f%C3%BCnf%2B+1"), ("followpaths-encoded", "1")];
    assert_eq!(asker.ask("context", &headers).await.unwrap().names().await, ["fünf+ 1", "fünf+ 1/a"]);
    let headers = [("include-patterns", "other"), ("followpaths", "Dockerfile")];
    assert_eq!(
        asker.ask("context", &headers).await.unwrap().names().await,
        ["Dockerfile", "other", "other/b"]
    );
}

#[tokio::test]
async fn more_questions_than_are_answered_at_once_are_refused_until_one_is_done() {
    let asker = Asker::start().await;
    let idle = Arc::strong_count(&asker.context);
    let mut asked = Vec::new();
    for _ in 0..4 {
        asked.push(asker.ask("context", &[]).await.unwrap());
    }
    let refused = asker.ask("context", &[]).await.err().expect("it is refused");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");

    asked.pop();
    eventually("one is answered again", async || asker.ask("context", &[]).await.is_ok()).await;
    drop(asked);
    eventually("nobody reads the files any more", async || Arc::strong_count(&asker.context) == idle).await;
}

#[tokio::test]
async fn a_file_that_was_not_told_of_is_not_given() {
    let asker = Asker::start().await;
    // A folder, and what there is none of.
    for id in [1, 99] {
        let mut asked = asker.ask("context", &[]).await.unwrap();
        asked.names().await;
        asked.send(PacketType::PacketReq, 0);
        assert_eq!(asked.next().await.data, b"FROM scratch\n");
        assert_eq!(asked.next().await.data, b"");
        asked.send(PacketType::PacketReq, id);
        let answer = asked.next().await;
        assert_eq!(answer.r#type(), PacketType::PacketErr);
        let text = String::from_utf8(answer.data).unwrap();
        assert_eq!(text, format!("the engine asks for file {id}, of which there is none"));
        assert_eq!(asked.answer.message().await.unwrap(), None);
    }
}
