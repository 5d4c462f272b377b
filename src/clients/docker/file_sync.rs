//! How BuildKit gets the files of a build (`moby.filesync.v1.FileSync`, and the protocol of fsutil below it).
//!
//! Over the build's session the engine asks for a folder. It is told of each entry in turn (`Stat`), the first being
//! number 0; it asks for the content of those it does not have from an earlier build (`Request`), gets it in pieces of
//! which the last is empty (`Data`), and says when it is done (`Finished`). One thread reads and answers; it ends when
//! the engine no longer listens. However large the tree is, little more than its names is held in memory.
//!
//! The messages are our own, though bollard has them too: names of files are bytes, not always UTF-8. Engines up to
//! Docker 27 take them so; later ones refuse a name that is not.

use std::ffi::OsStr;
use std::future::Ready;
use std::future::ready;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::Stream;
use http::Request as HttpRequest;
use http::Response as HttpResponse;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use prost::Enumeration;
use prost::Message;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tonic::Request;
use tonic::Response;
use tonic::Status;
use tonic::Streaming;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::Grpc;
use tonic::server::StreamingService;
use tonic_prost::ProstCodec;

use crate::clients::docker::BuildContext;
use crate::clients::docker::Entry;
use crate::clients::docker::EntryKind;
use crate::clients::docker::Selection;
use crate::clients::docker::Visitor;
use crate::clients::docker::build::Unread;
use crate::clients::docker::build_context::nobody_listens;
use crate::clients::docker::build_context::read_on_a_thread;

/// The name of the service.
pub(super) const SERVICE_NAME: &str = "moby.filesync.v1.FileSync";
/// The folders by the names under which the engine asks for them: that of the Dockerfile is the same one.
const FOLDERS: [&str; 2] = ["context", "dockerfile"];
/// How much of a file one message holds; the engine's own client sends as much.
const PIECE: usize = 32 * 1024;
/// How many of its questions are answered at once: builds ask two. A builder that a stranger's `# syntax` line names can
/// ask as it likes, and each answer takes a thread.
const MOST_ANSWERS: usize = 4;
/// How many messages wait for the engine at most.
const QUEUE: usize = 8;
/// A folder and a link among Go's file modes.
const FOLDER: u32 = 1 << 31;
const LINK: u32 = 1 << 27;

/// A message in either direction.
#[derive(Clone, PartialEq, Message)]
struct Packet {
    #[prost(enumeration = "Kind", tag = "1")]
    kind: i32,
    #[prost(message, optional, tag = "2")]
    stat: Option<Stat>,
    #[prost(uint32, tag = "3")]
    id: u32,
    #[prost(bytes = "bytes", tag = "4")]
    data: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
enum Kind {
    /// An entry; without one, there are no more.
    Stat = 0,
    Request = 1,
    Data = 2,
    Finished = 3,
    Error = 4,
}

#[derive(Clone, PartialEq, Message)]
struct Stat {
    #[prost(bytes = "vec", tag = "1")]
    path: Vec<u8>,
    /// As Go has them.
    #[prost(uint32, tag = "2")]
    mode: u32,
    #[prost(int64, tag = "5")]
    size: i64,
    /// In nanoseconds.
    #[prost(int64, tag = "6")]
    modified: i64,
    #[prost(bytes = "vec", tag = "7")]
    link: Vec<u8>,
}

/// The files of one build.
#[derive(Clone)]
pub(super) struct Files {
    context: Arc<dyn BuildContext>,
    unread: Unread,
    answers: Arc<Semaphore>,
}

impl Files {
    /// Those of `context`. Why they could not be read is left in `unread`.
    pub(super) fn of(context: Arc<dyn BuildContext>, unread: Unread) -> Self {
        Self { context, unread, answers: Arc::new(Semaphore::new(MOST_ANSWERS)) }
    }

    /// Answers one request of the engine's.
    pub(super) async fn answer(self, request: HttpRequest<Incoming>) -> HttpResponse<Body> {
        Grpc::new(ProstCodec::<Packet, Packet>::default()).streaming(self, request).await
    }
}

impl StreamingService<Packet> for Files {
    type Response = Packet;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Packet>>) -> Self::Future {
        let folder = request.metadata().get("dir-name").and_then(|name| name.to_str().ok());
        if !folder.is_some_and(|name| FOLDERS.contains(&name)) {
            return ready(Err(Status::not_found("this build has no such folder")));
        }
        let Ok(permit) = Arc::clone(&self.answers).try_acquire_owned() else {
            return ready(Err(Status::resource_exhausted("this build asks for too many folders at once")));
        };
        let wanted = selection(request.metadata());
        let (sender, receiver) = mpsc::channel(QUEUE);
        let sending = Sending {
            context: Arc::clone(&self.context),
            requests: request.into_inner(),
            packets: sender,
            runtime: Handle::current(),
            announced: Announced::default(),
        };
        let unread = self.unread.clone();
        let started = read_on_a_thread(move || {
            sending.run(&wanted, &unread);
            drop(permit);
        });
        if let Err(error) = started {
            return ready(Err(Status::resource_exhausted(format!("start a thread: {error}"))));
        }
        let packets = futures_util::stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|packet| (packet, receiver))
        });
        ready(Ok(Response::new(Box::pin(packets))))
    }
}

/// What the engine asks for. It also sends the lines of the ignore file, which the context knows: that it does tells
/// the files of the image from those that the builder reads itself.
fn selection(metadata: &MetadataMap) -> Selection {
    let mut paths = Vec::new();
    for key in ["followpaths", "include-patterns"] {
        let is_encoded = metadata.get(format!("{key}-encoded")).is_some_and(|value| value == "1");
        for value in metadata.get_all(key) {
            let Ok(text) = str::from_utf8(value.as_encoded_bytes()) else {
                // It can be given more than it asks for.
                return Selection { paths: None, is_for_image: metadata.contains_key("exclude-patterns") };
            };
            paths.push(if is_encoded { decoded(text) } else { text.to_owned() });
        }
    }
    let paths = Some(paths).filter(|paths| !paths.is_empty());
    Selection { paths, is_for_image: metadata.contains_key("exclude-patterns") }
}

/// Go's `url.QueryUnescape`.
fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// One answer, on a thread of its own.
struct Sending {
    context: Arc<dyn BuildContext>,
    requests: Streaming<Packet>,
    packets: mpsc::Sender<Result<Packet, Status>>,
    runtime: Handle,
    announced: Announced,
}

impl Sending {
    fn run(mut self, wanted: &Selection, unread: &Unread) {
        match self.send_tree(wanted) {
            // The engine tells the build itself of what it could not do.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let text = error.to_string();
                unread.because(text.clone());
                self.send(Packet { data: text.into(), ..Packet::of(Kind::Error) }).ok();
            }
            Ok(()) | Err(_) => {}
        }
    }

    fn send_tree(&mut self, wanted: &Selection) -> io::Result<()> {
        let context = Arc::clone(&self.context);
        context.walk(wanted, self)?;
        self.send(Packet::of(Kind::Stat))?;
        loop {
            let packet = self.runtime.block_on(self.requests.message());
            if !self.take(packet)? {
                return self.send(Packet::of(Kind::Finished));
            }
        }
    }

    /// Does what the engine says; `false` once it has all it wants.
    fn take(&self, packet: Result<Option<Packet>, Status>) -> io::Result<bool> {
        let Ok(Some(packet)) = packet else { return Err(nobody_listens()) };
        match packet.kind() {
            Kind::Request => self.send_file(packet.id).map(|()| true),
            Kind::Finished => Ok(false),
            Kind::Stat | Kind::Data | Kind::Error => Err(nobody_listens()),
        }
    }

    fn send_file(&self, id: u32) -> io::Result<()> {
        let (path, size) = self.announced.file(id).ok_or_else(|| {
            io::Error::other(format!("the engine asks for file {id}, of which there is none"))
        })?;
        let mut file = self.context.open(path, size)?;
        loop {
            let mut piece = BytesMut::zeroed(PIECE);
            let length = file.read(&mut piece)?;
            piece.truncate(length);
            self.send(Packet { id, data: piece.freeze(), ..Packet::of(Kind::Data) })?;
            if length == 0 {
                return Ok(());
            }
        }
    }

    fn send(&self, packet: Packet) -> io::Result<()> {
        self.packets.blocking_send(Ok(packet)).map_err(|_| nobody_listens())
    }
}

impl Visitor for Sending {
    fn is_heard(&self) -> bool {
        !self.packets.is_closed()
    }

    fn visit(&mut self, entry: Entry) -> io::Result<()> {
        self.announced.add(&entry);
        self.send(Packet { stat: Some(Stat::of(entry)), ..Packet::of(Kind::Stat) })?;
        // What the engine already asks for goes to it now, so that it has to do while the rest is looked through.
        while let Some(packet) = self.requests.message().now_or_never() {
            if !self.take(packet)? {
                return Err(nobody_listens());
            }
        }
        Ok(())
    }
}

impl Packet {
    fn of(kind: Kind) -> Self {
        Self { kind: kind.into(), ..Self::default() }
    }
}

impl Stat {
    fn of(entry: Entry) -> Self {
        let (kind, size, link) = match entry.kind {
            EntryKind::Folder => (FOLDER, 0, Vec::new()),
            EntryKind::File(size) => (0, size, Vec::new()),
            EntryKind::Link(target) => (LINK, 0, target.into_os_string().into_vec()),
        };
        Self {
            path: entry.path.into_os_string().into_vec(),
            mode: kind | entry.mode,
            size: size.try_into().unwrap_or(i64::MAX),
            modified: entry.modified.as_nanos().try_into().unwrap_or(i64::MAX),
            link,
        }
    }
}

/// What the engine was told of, by number. A stranger's tree may have hundreds of thousands of files: their names lie
/// in one piece.
#[derive(Default)]
struct Announced {
    names: Vec<u8>,
    /// Where each name ends, and how long the file is.
    entries: Vec<(usize, Option<u64>)>,
}

impl Announced {
    fn add(&mut self, entry: &Entry) {
        let size = match entry.kind {
            EntryKind::File(size) => Some(size),
            EntryKind::Folder | EntryKind::Link(_) => None,
        };
        if size.is_some() {
            self.names.extend_from_slice(entry.path.as_os_str().as_bytes());
        }
        self.entries.push((self.names.len(), size));
    }

    fn file(&self, id: u32) -> Option<(&Path, u64)> {
        let index = usize::try_from(id).ok()?;
        let &(end, size) = self.entries.get(index)?;
        let begin =
            index.checked_sub(1).and_then(|before| self.entries.get(before)).map_or(0, |&(end, _)| end);
        let name = self.names.get(begin..end)?;
        Some((Path::new(OsStr::from_bytes(name)), size?))
    }
}
