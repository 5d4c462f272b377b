//! The tiny web app that the sample repository holds, in its good and its broken versions: the files of a commit
//! as plain values. Everything runs on the offline base image, busybox's httpd on port 8080.

/// The base image of every sample image and test container; built by the engine's part of the world.
pub const BASE_IMAGE: &str = "hp-base:1";

/// The port the app listens on inside its container.
pub const APP_PORT: u16 = 8080;

const GOOD_TEST: &str = "#!/bin/sh\nset -e\ntest -d app\necho all tests passed\n";
const HTTPD: &str = r#"["httpd", "-f", "-p", "8080", "-h", "/app"]"#;

/// One version of the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum App {
    /// Serves the text at `/`.
    Page(String),
    /// As [`Self::Page`], but its tests fail.
    FailingTest(String),
    /// Its Dockerfile fails with code 7 in its second step.
    BuildError,
    /// Says `cannot read the settings` and exits with code 3.
    ExitsAtOnce,
    /// Serves for so many milliseconds, then exits with code 4, and again after each restart.
    CrashesAfter(u32),
    /// Runs and listens nowhere.
    NeverAnswers,
    /// Listens only after so many milliseconds, then serves the text.
    StartsSlowly(u32, String),
    /// Answers every request with 500.
    Answers500,
    /// Serves, but its HEALTHCHECK says no.
    Unhealthy,
    /// Serves the text, and its HEALTHCHECK says yes, until `/sick` exists in the container.
    Healthy(String),
    /// Serves the text and ignores SIGTERM, with an init in front of it or not.
    IgnoresSigterm(String),
    /// Serves the text, unless its environment has `BROKEN`: then it says so and exits with code 5.
    ExitsIfTold(String),
}

impl App {
    /// The whole of the repository's files, path and content.
    pub fn files(&self) -> Vec<(String, String)> {
        let page = match self {
            Self::Page(text)
            | Self::FailingTest(text)
            | Self::StartsSlowly(_, text)
            | Self::Healthy(text)
            | Self::IgnoresSigterm(text)
            | Self::ExitsIfTold(text) => text.clone(),
            Self::BuildError
            | Self::ExitsAtOnce
            | Self::CrashesAfter(_)
            | Self::NeverAnswers
            | Self::Answers500
            | Self::Unhealthy => format!("{self:?}"),
        };
        let served = if *self == Self::Answers500 {
            // httpd turns to this script when there is no index.html.
            let answer =
                r"printf 'Status: 500 Internal Server Error\r\nContent-Type: text/plain\r\n\r\nbroken'";
            ("app/cgi-bin/index.cgi".to_owned(), format!("#!/bin/sh\n{answer}\n"))
        } else {
            ("app/index.html".to_owned(), format!("{page}\n"))
        };
        vec![
            served,
            ("Dockerfile".to_owned(), self.dockerfile()),
            ("test.sh".to_owned(), self.test()),
            ("README.md".to_owned(), "A sample.\n".to_owned()),
        ]
    }

    /// What a commit of it says.
    pub fn message(&self) -> String {
        match self {
            Self::Page(text) => format!("Say {text}"),
            Self::FailingTest(_)
            | Self::BuildError
            | Self::ExitsAtOnce
            | Self::CrashesAfter(_)
            | Self::NeverAnswers
            | Self::StartsSlowly(..)
            | Self::Answers500
            | Self::Unhealthy
            | Self::Healthy(_)
            | Self::IgnoresSigterm(_)
            | Self::ExitsIfTold(_) => format!("Change the app to {self:?}"),
        }
    }

    fn dockerfile(&self) -> String {
        let in_shell = |script: &str| format!("CMD [\"sh\", \"-c\", \"{script}\"]");
        let check = |test: &str| {
            format!(
                "HEALTHCHECK --interval=200ms --timeout=2s --retries=2 CMD [\"sh\", \"-c\", \"{test}\"]\nCMD {HTTPD}"
            )
        };
        let start = match self {
            Self::Page(_) | Self::FailingTest(_) | Self::Answers500 => format!("CMD {HTTPD}"),
            Self::BuildError => "RUN [\"sh\", \"-c\", \"echo no such package >&2; exit 7\"]".to_owned(),
            Self::ExitsAtOnce => in_shell("echo cannot read the settings >&2; exit 3"),
            Self::CrashesAfter(ms) => {
                in_shell(&format!("httpd -p 8080 -h /app; usleep {ms}000; echo out of luck >&2; exit 4"))
            }
            Self::NeverAnswers => "CMD [\"sleep\", \"1000000\"]".to_owned(),
            Self::StartsSlowly(ms, _) => in_shell(&format!("usleep {ms}000; exec httpd -f -p 8080 -h /app")),
            Self::Unhealthy => check("echo I feel sick; exit 1"),
            Self::Healthy(_) => check("test ! -e /sick && wget -q -O /dev/null http://127.0.0.1:8080/"),
            Self::IgnoresSigterm(_) => in_shell("trap '' TERM; exec httpd -f -p 8080 -h /app"),
            Self::ExitsIfTold(_) => in_shell(
                "[ -z $BROKEN ] || { echo told to break >&2; exit 5; }; exec httpd -f -p 8080 -h /app",
            ),
        };
        format!("FROM {BASE_IMAGE}\nCOPY app /app\nEXPOSE {APP_PORT}\n{start}\n")
    }

    fn test(&self) -> String {
        match self {
            Self::FailingTest(_) => "#!/bin/sh\necho 'expected 2, got 3' >&2\nexit 1\n".to_owned(),
            Self::Page(_)
            | Self::BuildError
            | Self::ExitsAtOnce
            | Self::CrashesAfter(_)
            | Self::NeverAnswers
            | Self::StartsSlowly(..)
            | Self::Answers500
            | Self::Unhealthy
            | Self::Healthy(_)
            | Self::IgnoresSigterm(_)
            | Self::ExitsIfTold(_) => GOOD_TEST.to_owned(),
        }
    }
}
