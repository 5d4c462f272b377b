//! A context as a tar stream of constant memory: chunks in a fixed order.
//!
//! The reading happens on a thread of its own, which ends when the stream is dropped.

use std::io;
use std::io::Write;

use bytes::Bytes;
use bytes::BytesMut;
use tokio::sync::mpsc;

use crate::clients::docker::BuildContext;
use crate::clients::docker::Entry;
use crate::clients::docker::EntryKind;
use crate::clients::docker::Selection;
use crate::clients::docker::TarStream;
use crate::clients::docker::Visitor;
use crate::clients::docker::nobody_listens;
use crate::clients::docker::read_on_a_thread;

/// What a chunk of the stream holds, or a little more. Two of them wait at most.
const CHUNK: usize = 64 * 1024;

/// Starts reading.
pub(super) fn tar_stream(context: impl BuildContext + 'static) -> TarStream {
    let (sender, receiver) = mpsc::channel(2);
    let mut chunks = Chunks { sender: sender.clone(), pending: BytesMut::new() };
    let started = read_on_a_thread(move || {
        if let Err(error) = write_tar(&context, &mut chunks) {
            // If the receiver is gone nobody wants to know.
            drop(chunks.sender.blocking_send(Err(error)));
        }
    });
    if let Err(error) = started {
        // The stream is empty yet, so there is room.
        drop(sender.try_send(Err(error)));
    }
    drop(sender);
    let chunks = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    Box::pin(chunks)
}

fn write_tar(context: &dyn BuildContext, chunks: &mut Chunks) -> io::Result<()> {
    let mut archive = Archive { context, tar: tar::Builder::new(&mut *chunks) };
    context.walk(&Selection::default(), &mut archive)?;
    archive.tar.finish()?;
    drop(archive);
    chunks.flush()
}

struct Archive<'a> {
    context: &'a dyn BuildContext,
    tar: tar::Builder<&'a mut Chunks>,
}

impl Visitor for Archive<'_> {
    fn is_heard(&self) -> bool {
        !self.tar.get_ref().sender.is_closed()
    }

    fn visit(&mut self, entry: Entry) -> io::Result<()> {
        let mut header = header(&entry);
        match entry.kind {
            EntryKind::Folder => self.tar.append_data(&mut header, entry.path, io::empty()),
            EntryKind::Link(target) => self.tar.append_link(&mut header, entry.path, target),
            EntryKind::File(size) => {
                header.set_size(size);
                let file = self.context.open(&entry.path, size)?;
                self.tar.append_data(&mut header, entry.path, file)
            }
        }
    }
}

/// Everything belongs to root.
fn header(entry: &Entry) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(match entry.kind {
        EntryKind::Folder => tar::EntryType::Directory,
        EntryKind::File(_) => tar::EntryType::Regular,
        EntryKind::Link(_) => tar::EntryType::Symlink,
    });
    header.set_mode(entry.mode);
    header.set_mtime(entry.modified.as_secs());
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

/// The writing end: gathers what the tar writer hands over in small pieces into chunks.
struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    pending: BytesMut,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let chunk = self.pending.split().freeze();
        self.sender.blocking_send(Ok(chunk)).map_err(|_| nobody_listens())
    }
}
