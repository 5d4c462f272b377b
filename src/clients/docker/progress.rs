//! Docker's progress messages as lines of a log.
//!
//! Takes the messages of builds, pulls and pushes, gives text. Bars and percentages are left out: a log file
//! has no cursor.

use std::collections::HashMap;
use std::collections::VecDeque;

use bollard::moby::buildkit::v1::StatusResponse;
use bollard::moby::buildkit::v1::Vertex;
use bollard::models::BuildInfo;
use bollard::models::BuildInfoAux;

use crate::clients::docker::Output;

/// How many lines of a failing step are kept to tell whose fault it was.
const TAIL: usize = 30;
/// How much of such a line.
const LONGEST_LINE: usize = 400;

/// A line about a layer or an image; `None` for one that only moves a bar.
pub(super) fn layer_line(id: &str, status: &str, is_moving: bool) -> Option<String> {
    let is_noise = matches!(status, "Waiting" | "Preparing" | "Pulling fs layer" | "Verifying Checksum");
    match (id, status) {
        (_, "") => None,
        _ if is_moving || is_noise => None,
        ("", status) => Some(format!("{status}\n")),
        (id, status) => Some(format!("{id}: {status}\n")),
    }
}

/// Turns the messages of one build into text and remembers what will be asked afterwards.
pub(super) struct BuildProgress<'a> {
    out: Output<'a>,
    steps: HashMap<String, Step>,
    shown: Option<usize>,
    is_line_open: bool,
    tail: VecDeque<String>,
    image_id: Option<String>,
}

struct Step {
    number: usize,
    name: String,
    is_ended: bool,
}

impl<'a> BuildProgress<'a> {
    pub(super) fn new(out: Output<'a>) -> Self {
        Self {
            out,
            steps: HashMap::new(),
            shown: None,
            is_line_open: false,
            tail: VecDeque::new(),
            image_id: None,
        }
    }

    /// The id of the image, once the builder named it.
    pub(super) fn image_id(&self) -> Option<&str> {
        self.image_id.as_deref()
    }

    /// The last lines that the steps wrote, oldest first.
    pub(super) fn tail(&self) -> impl Iterator<Item = &str> {
        self.tail.iter().map(String::as_str)
    }

    /// Takes one message of the classic builder's.
    pub(super) fn take(&mut self, message: BuildInfo) {
        if let Some(BuildInfoAux::Default(image)) = message.aux {
            self.image_id = image.id.or(self.image_id.take());
        }
        if let Some(text) = message.stream {
            self.write(text.as_bytes());
        }
        let is_moving = message.progress_detail.is_some_and(|p| p.current.is_some());
        let status = message.status.unwrap_or_default();
        if let Some(line) = layer_line(&message.id.unwrap_or_default(), &status, is_moving) {
            self.line(&line);
        }
    }

    /// Takes one message of BuildKit's.
    pub(super) fn take_buildkit(&mut self, status: StatusResponse) {
        for vertex in status.vertexes {
            self.take_vertex(vertex);
        }
        for log in status.logs {
            self.show(&log.vertex);
            self.write(&log.msg);
        }
        for warning in status.warnings {
            let text = String::from_utf8_lossy(&warning.short).into_owned();
            self.line(&format!("warning: {text}\n"));
        }
    }

    fn take_vertex(&mut self, vertex: Vertex) {
        if vertex.started.is_none() && !vertex.cached {
            return;
        }
        let next = self.steps.len() + 1;
        let is_new = !self.steps.contains_key(&vertex.digest);
        let step = self.steps.entry(vertex.digest.clone()).or_insert(Step {
            number: next,
            name: vertex.name.clone(),
            is_ended: false,
        });
        let number = step.number;
        let ends_now =
            vertex.completed.is_some() && !std::mem::replace(&mut step.is_ended, vertex.completed.is_some());
        if is_new {
            self.show(&vertex.digest);
        }
        if ends_now {
            let end = match (vertex.error.as_str(), vertex.cached) {
                ("", true) => "CACHED".to_owned(),
                ("", false) => format!("DONE {:.1}s", seconds(&vertex)),
                (error, _) => format!("ERROR: {error}"),
            };
            self.line(&format!("#{number} {end}\n"));
            self.shown = None;
        }
    }

    /// Names the step to which the next output belongs, unless it is the one that was named last.
    fn show(&mut self, digest: &str) {
        let Some(step) = self.steps.get(digest) else { return };
        if self.shown != Some(step.number) {
            let line = format!("#{} {}\n", step.number, step.name);
            self.shown = Some(step.number);
            self.line(&line);
        }
    }

    fn line(&mut self, line: &str) {
        if self.is_line_open {
            (self.out)(b"\n");
        }
        self.is_line_open = false;
        (self.out)(line.as_bytes());
    }

    fn write(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.is_line_open = *last != b'\n';
        (self.out)(bytes);
        for line in String::from_utf8_lossy(bytes).lines().filter(|line| !line.trim().is_empty()) {
            if self.tail.len() == TAIL {
                self.tail.pop_front();
            }
            self.tail.push_back(line.chars().take(LONGEST_LINE).collect());
        }
    }
}

/// How long a step took, by the engine's own clock.
fn seconds(vertex: &Vertex) -> f64 {
    match (&vertex.started, &vertex.completed) {
        (Some(from), Some(to)) => {
            let whole = to.seconds.saturating_sub(from.seconds);
            let rest = to.nanos.saturating_sub(from.nanos);
            #[expect(clippy::cast_precision_loss, reason = "the length of a build step fits")]
            let whole = whole as f64;
            whole + f64::from(rest) / 1e9
        }
        (None, _) | (_, None) => 0.0,
    }
}
