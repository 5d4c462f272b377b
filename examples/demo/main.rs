//! `./scripts/demo`: four commits of a tiny web app in the life of the real agent, told as they happen. Docker, the
//! registry, git and the mail server are real; GitHub and Docker Hub's tags API are simulated on this machine.
//!
//! Takes nothing; prints the story to stdout. Ends with 0 only if everything it told was so, and removes what it
//! made: after the last line, after a failure, and on SIGINT, SIGTERM or SIGHUP. It knows homeport as its owner
//! does, by the binary alone, which lies one folder up from this program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod app;
mod remains;
mod scene;
mod story;
mod tell;
mod visitor;
#[path = "../../tests/it/world/mod.rs"]
mod world;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Instant;

use futures_util::FutureExt;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::remains::Remains;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut signals = Signals::listen();
    let began = Instant::now();
    let remains = Remains::of_this_demo();
    let ending = tokio::select! {
        biased;
        code = signals.next() => Ending::Interrupted(code),
        told = AssertUnwindSafe(story::tell()).catch_unwind() => match told {
            Ok(()) => Ending::Told,
            Err(_) => Ending::Failed,
        },
    };
    // The story is gone, told or not, and the world with it.
    match ending {
        Ending::Told => tell::heading("The end"),
        Ending::Failed => tell::line("\nThe demo failed, see above."),
        Ending::Interrupted(_) => tell::line("\nInterrupted: cleaning up."),
    }
    let left = remains.remove();
    left.iter().for_each(|thing| tell::line(&format!("left behind: {thing}")));
    if left.is_empty() {
        tell::line("Nothing is left behind: no container, image, process or file of this demo.");
    }
    match ending {
        Ending::Interrupted(code) => code,
        Ending::Told if left.is_empty() => {
            tell::line(&format!("Every step was as told. It took {} s.", began.elapsed().as_secs()));
            ExitCode::SUCCESS
        }
        Ending::Told | Ending::Failed => ExitCode::FAILURE,
    }
}

/// How the story ended.
enum Ending {
    Told,
    /// Something was not as told; the panic has said what.
    Failed,
    /// By a signal that asks for this exit code.
    Interrupted(ExitCode),
}

/// What may end the demo before its time. Once listened to, they no longer end the process by themselves.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Self {
        let listen = |kind| signal(kind).expect("listen to a signal");
        Self {
            interrupt: listen(SignalKind::interrupt()),
            terminate: listen(SignalKind::terminate()),
            hangup: listen(SignalKind::hangup()),
        }
    }

    /// The exit code that the next of them asks for.
    async fn next(&mut self) -> ExitCode {
        tokio::select! {
            _ = self.interrupt.recv() => ExitCode::from(130),
            _ = self.terminate.recv() => ExitCode::from(143),
            _ = self.hangup.recv() => ExitCode::from(129),
        }
    }
}
