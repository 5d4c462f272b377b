//! What a script in a container writes, passed on until the script has ended.

use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use futures_util::Stream;
use futures_util::StreamExt;

use crate::clients::docker::Output;

/// How long the last output may take to arrive when the container has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// What the init says if the image has no shell.
const NO_SHELL: &[u8] = b"exec sh failed: No such file or directory";

type Pieces = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

/// What a script writes, on its way to the run log.
pub(super) struct Transcript<'a> {
    pieces: Pieces,
    out: Output<'a>,
    has_no_shell: bool,
}

impl<'a> Transcript<'a> {
    /// What comes from an attached container, to `out`.
    pub(super) fn new(pieces: Pieces, out: Output<'a>) -> Self {
        Self { pieces, out, has_no_shell: false }
    }

    /// Whether its init has said that there is no shell.
    pub(super) const fn has_no_shell(&self) -> bool {
        self.has_no_shell
    }

    /// Passes the output on until the script has ended, or `ending` is an error.
    pub(super) async fn follow<T, E>(&mut self, ending: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let mut ending = std::pin::pin!(ending);
        let first = tokio::select! {
            ended = &mut ending => Some(ended),
            () = self.pass_on() => None,
        };
        match first {
            Some(Ok(ended)) => {
                // What a process that was left behind still writes is not waited for.
                drop(tokio::time::timeout(LAST_WORDS, self.pass_on()).await);
                Ok(ended)
            }
            Some(Err(error)) => Err(error),
            None => {
                if let Ok(ended) = tokio::time::timeout(LAST_WORDS, &mut ending).await {
                    return ended;
                }
                // A script may close its output; a broken connection looks the same.
                (self.out)(b"\ndocker: the output ended before the script; what it still writes is lost\n");
                ending.await
            }
        }
    }

    async fn pass_on(&mut self) {
        while let Some(Ok(piece)) = self.pieces.next().await {
            let bytes = piece.into_bytes();
            self.has_no_shell |= bytes.windows(NO_SHELL.len()).any(|words| words == NO_SHELL);
            (self.out)(&bytes);
        }
    }
}
