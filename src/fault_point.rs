//! Every effect has a name here: what the process does to Docker, to the database, to a folder, to a mail
//! server. Takes the name where the effect begins and where it has ended; gives nothing, and costs nothing.
//!
//! With the cargo feature `fault-points`, which only the tests switch on, the process can be ended exactly at
//! such a point, and an effect without a name ends it with a message. So `tests/it/kill_matrix` kills the agent
//! at each point that a run shows, and a new effect cannot be forgotten. It is the only test switch in the
//! product. What a log file is given line by line has no name: nothing is ever concluded from it.
//!
//! | variable | meaning |
//! |---|---|
//! | `HOMEPORT_FAULT_TRACE=FILE` | a line for each point that is passed, such as `docker.rename#2 after` |
//! | `HOMEPORT_FAULT_AT=POINT` | the point at which it ends, spelled as a line of the trace |
//! | `HOMEPORT_FAULT_ACT=kill` or `stop` | how: SIGKILL, or SIGSTOP for a test that wants to do more first |

/// An effect that is under way; it has ended when this is dropped. Who holds one may change something.
#[must_use = "an effect lasts as long as this value"]
#[derive(Debug)]
pub struct Effect {
    #[cfg(feature = "fault-points")]
    point: Option<armed::Point>,
}

impl Effect {
    /// Begins an effect on `what`, such as `docker`, by the act `act`, such as `rename`.
    #[cfg(not(feature = "fault-points"))]
    #[inline]
    pub const fn begin(_what: &'static str, _act: &str) -> Self {
        Self {}
    }

    /// Begins an effect on `what`, such as `docker`, by the act `act`, such as `rename`.
    #[cfg(feature = "fault-points")]
    pub fn begin(what: &'static str, act: &str) -> Self {
        Self { point: armed::Point::pass_first(what, act) }
    }

    /// Ends it before the scope does.
    #[inline]
    pub fn end(self) {}
}

#[cfg(feature = "fault-points")]
impl Drop for Effect {
    fn drop(&mut self) {
        if let Some(point) = &self.point {
            point.pass_last();
        }
    }
}

/// Whether effects are watched: whether it is worth finding out what [`forgotten`] would be told.
pub const fn is_watched() -> bool {
    cfg!(feature = "fault-points")
}

/// Ends the process, with a message: it does `what` outside of any [`Effect`], or as one that changes nothing.
pub fn forgotten(what: &str) {
    if is_watched() {
        eprintln!("homeport: {what}, without a fault point: it has to be an `Effect`, so that it is tested");
        std::process::abort();
    }
}

#[cfg(feature = "fault-points")]
mod armed {
    use std::collections::HashMap;
    use std::fs::File;
    use std::io::Write as _;
    use std::sync::Mutex;
    use std::sync::OnceLock;
    use std::sync::PoisonError;

    use rustix::process::Signal;

    /// The number of an effect among those of its name in this process.
    #[derive(Debug)]
    pub(super) struct Point {
        name: String,
    }

    struct Plan {
        trace: Option<File>,
        at: Option<String>,
        signal: Signal,
        passed: Mutex<HashMap<String, u32>>,
    }

    impl Point {
        pub(super) fn pass_first(what: &str, act: &str) -> Option<Self> {
            let plan = plan()?;
            let act = format!("{what}.{act}");
            let number = {
                let mut passed = plan.passed.lock().unwrap_or_else(PoisonError::into_inner);
                let number = passed.entry(act.clone()).or_default();
                *number += 1;
                *number
            };
            let point = Self { name: format!("{act}#{number}") };
            plan.pass(&format!("{} before", point.name));
            Some(point)
        }

        pub(super) fn pass_last(&self) {
            if let Some(plan) = plan() {
                plan.pass(&format!("{} after", self.name));
            }
        }
    }

    impl Plan {
        fn pass(&self, point: &str) {
            if let Some(mut trace) = self.trace.as_ref()
                && let Err(error) = trace.write_all(format!("{point}\n").as_bytes())
            {
                eprintln!("homeport: cannot write the trace of fault points: {error}");
            }
            if self.at.as_deref() == Some(point) {
                // The point is not left even if another thread is the first to see the signal.
                rustix::process::kill_process(rustix::process::getpid(), self.signal).ok();
                loop {
                    std::thread::park();
                }
            }
        }
    }

    /// What the environment asked for when the first point was passed; `None` if nothing.
    fn plan() -> Option<&'static Plan> {
        static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
        let read = || {
            let trace = std::env::var_os("HOMEPORT_FAULT_TRACE")
                .and_then(|path| File::options().append(true).create(true).open(path).ok());
            let at = std::env::var("HOMEPORT_FAULT_AT").ok();
            let is_stop = std::env::var("HOMEPORT_FAULT_ACT").is_ok_and(|act| act == "stop");
            let signal = if is_stop { Signal::STOP } else { Signal::KILL };
            (trace.is_some() || at.is_some()).then(|| Plan { trace, at, signal, passed: Mutex::default() })
        };
        PLAN.get_or_init(read).as_ref()
    }
}
