//! What a container wrote.
//!
//! Takes an id, gives its last lines. It does not follow, and keeps no more than was asked for.

use std::collections::VecDeque;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;

use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::model::ContainerId;

/// How much of one line is kept, in bytes: a service that writes without line ends must not fill the memory.
const LONGEST_LINE: usize = 16 * 1024;

impl Docker {
    /// The last lines that a container wrote to its output and error streams, oldest first, without line ends.
    ///
    /// # Errors
    /// `NotFound`; `Refused` if its log driver cannot be read.
    pub async fn logs_tail(&self, id: &ContainerId, lines: usize) -> Result<Vec<String>, DockerError> {
        let what = format!("read the log of container {id}");
        let attempt = self.attempt(&what);
        let api = self.asking(&attempt, self.patience)?;
        let options =
            LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&lines.to_string()).build();
        let mut tail = Tail { most: lines, lines: VecDeque::new(), open: [Vec::new(), Vec::new()] };
        self.drain(&attempt, self.patience, self.patience, api.logs(id.as_str(), Some(options)), |piece| {
            tail.take(&piece)
        })
        .await?;
        Ok(tail.finish())
    }
}

/// The last lines of two streams that are mixed in pieces.
struct Tail {
    most: usize,
    lines: VecDeque<String>,
    open: [Vec<u8>; 2],
}

impl Tail {
    fn take(&mut self, piece: &LogOutput) {
        let is_error = matches!(piece, LogOutput::StdErr { .. });
        for part in piece.as_ref().split_inclusive(|byte| *byte == b'\n') {
            let [plain, error] = &mut self.open;
            let open = if is_error { error } else { plain };
            let space = LONGEST_LINE.saturating_sub(open.len());
            open.extend(part.iter().take(space));
            if part.ends_with(b"\n") {
                let line = std::mem::take(open);
                self.push(&line);
            }
        }
    }

    fn push(&mut self, line: &[u8]) {
        if self.lines.len() == self.most {
            self.lines.pop_front();
        }
        let text = String::from_utf8_lossy(line);
        self.lines.push_back(text.trim_end_matches(['\r', '\n']).to_owned());
    }

    fn finish(mut self) -> Vec<String> {
        for line in std::mem::take(&mut self.open) {
            if !line.is_empty() {
                self.push(&line);
            }
        }
        self.lines.into()
    }
}
