//! The control socket: how the owner's commands reach a running agent. `POST /orders` with an [`Ordered`] in JSON →
//! one [`Reply`](crate::model::Reply) a line, the first at once, the rest as the runs end that it started.
//!
//! It is a file of the state folder that its user and group may open, and nobody else: who can open it may give
//! orders. The server only hands orders on to the agent's loop; it knows nothing of what they mean. A client that
//! says nothing, or says too much, is cut off and holds up nobody else.
//!
//! [`ask`] is the other end.

pub mod ask;
mod server;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::bail;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use crate::event::Answers;
use crate::fault_point::Effect;
use crate::model::Ordered;

/// The longest path of a socket, by unix(7): 108 bytes with the zero behind it.
const LONGEST_PATH: usize = 107;
/// Reading and writing, which is what it takes to connect, for the user and the group.
const SOCKET_MODE: u32 = 0o660;
/// The folder in which the socket is made, before it has its mode.
const PRIVATE: u32 = 0o700;

/// The open socket.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    server: JoinHandle<()>,
}

impl Control {
    /// Opens the socket in the state folder, in the place of one that a killed agent left, and hands every order to
    /// `take`, which must return at once.
    ///
    /// # Errors
    /// The path is too long for a socket, or the folder cannot be written.
    pub fn open<T>(state_dir: &Path, take: T, journal: slog::Logger) -> anyhow::Result<Self>
    where
        T: Fn(Ordered, Answers) -> anyhow::Result<()> + Clone + Send + Sync + 'static,
    {
        let path = path(state_dir);
        let listener = bind(state_dir, &path)?;
        let server = tokio::spawn(server::serve(listener, take, journal));
        Ok(Self { path, server })
    }

    /// Closes it: who waits for an answer sees the end.
    pub async fn close(self) {
        self.server.abort();
        // That it was aborted is what was wanted.
        self.server.await.ok();
        let _effect = Effect::begin("control", "close");
        fs::remove_file(&self.path).ok();
    }
}

/// Where the socket of a state folder is.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

/// A socket may be opened from the moment it is bound, so it is bound where nobody else may go, and moved into its
/// place when it has its mode.
fn bind(state_dir: &Path, path: &Path) -> anyhow::Result<UnixListener> {
    let folder = state_dir.join("control.d");
    let draft = folder.join("s");
    check_length(path.as_os_str())?;
    let _effect = Effect::begin("control", "open");
    let opened = || -> io::Result<UnixListener> {
        match fs::DirBuilder::new().mode(PRIVATE).create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::set_permissions(&folder, fs::Permissions::from_mode(PRIVATE))?;
            }
            made => made?,
        }
        match fs::remove_file(&draft) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        let listener = UnixListener::bind(&draft)?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(SOCKET_MODE))?;
        fs::rename(&draft, path)?;
        fs::remove_dir(&folder)?;
        Ok(listener)
    };
    opened()
        .with_context(|| format!("open the control socket {}: may this user write there?", path.display()))
}

fn check_length(path: &OsStr) -> anyhow::Result<()> {
    let length = path.as_bytes().len();
    if length > LONGEST_PATH {
        bail!(
            "the path of the control socket, {}, has {length} bytes, and a socket's may have {LONGEST_PATH}: choose \
             a shorter `state_dir`",
            path.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_path_that_is_too_long_for_a_socket_is_refused_with_the_way_out() {
        let refusal = check_length(OsStr::new(&"x".repeat(108))).unwrap_err().to_string();
        assert!(
            refusal.ends_with("has 108 bytes, and a socket's may have 107: choose a shorter `state_dir`")
        );
        check_length(OsStr::new(&"x".repeat(107))).unwrap();
    }

    #[test]
    fn the_draft_is_not_longer_than_the_socket() {
        let state = Path::new("/s");
        assert!(state.join("control.d/s").as_os_str().len() <= path(state).as_os_str().len());
    }
}
