//! The journal: what the agent says on stderr as it goes. Formatted by slog-term, handed to a thread of
//! its own by slog-async, cleaned and redacted last of all, so that no caller can forget to.
//!
//! Under systemd a line carries its priority in place of a time, which the journal adds itself; on a
//! terminal it is coloured. Messages wait rather than get lost when stderr is slow.

use std::io;
use std::io::IsTerminal as _;
use std::io::Write;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;

use slog::Drain as _;
use slog::Level;
use slog::OwnedKVList;
use slog::Record;
use slog_async::OverflowStrategy;
use slog_term::Decorator;
use slog_term::FullFormat;
use slog_term::RecordDecorator;

use crate::logging::Now;
use crate::logging::clean::one_line;
use crate::logging::redact::Redactor;
use crate::logging::stamp;

/// How many messages wait for a slow reader before the agent does. Their places take memory, filled or not.
const WAITING_MESSAGES: usize = 128;

/// For whom the lines are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A file or a pipe: time and level in front.
    Plain,
    /// A person: as `Plain`, with colours.
    Terminal,
    /// systemd's journal: `<3>` and so on in front, see `sd-daemon(3)`; no time.
    Journal,
}

/// The root logger and what belongs to it. Its drop writes what is still on the way.
pub struct Root {
    /// The logger that all others are made from.
    pub logger: slog::Logger,
    redactor: Arc<RwLock<Redactor>>,
    _flush: slog_async::AsyncGuard,
}

impl Style {
    /// What this process's stderr asks for. `NO_COLOR` is honoured.
    pub fn of_stderr() -> Self {
        if std::env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stderr(&stream)) {
            Self::Journal
        } else if io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) {
            Self::Terminal
        } else {
            Self::Plain
        }
    }
}

/// Whether `JOURNAL_STREAM`, `DEVICE:INODE`, is this process's stderr: a child whose stderr was sent
/// elsewhere inherits the variable all the same.
fn is_stderr(journal_stream: &str) -> bool {
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|stderr| journal_stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}

impl Root {
    /// Logs to stderr what is at least as grave as `least`.
    pub fn to_stderr(least: Level, now: Now) -> Self {
        Self::new(io::stderr(), Style::of_stderr(), least, now)
    }

    /// As [`Self::to_stderr`], to a writer and in a style of the caller's choice.
    pub fn new(writer: impl Write + Send + 'static, style: Style, least: Level, now: Now) -> Self {
        let redactor = Arc::new(RwLock::new(Redactor::default()));
        let decorator =
            LineDecorator { writer: Mutex::new(writer), style, now, redactor: Arc::clone(&redactor) };
        let format = FullFormat::new(decorator)
            .use_original_order()
            .use_custom_header_print(move |_, line, record, _| print_header(style, line, record))
            .build();
        let (drain, flush) = slog_async::Async::new(format.ignore_res())
            .chan_size(WAITING_MESSAGES)
            .overflow_strategy(OverflowStrategy::Block)
            .thread_name("journal".to_owned())
            .build_with_guard();
        let drain = slog::LevelFilter::new(drain, least).ignore_res();
        Self { logger: slog::Logger::root(drain, slog::o!()), redactor, _flush: flush }
    }

    /// Masks other secrets from now on: those of the configuration that was just read.
    pub fn redact_with(&self, redactor: Redactor) {
        *self.redactor.write().unwrap_or_else(PoisonError::into_inner) = redactor;
    }
}

fn print_header(style: Style, line: &mut dyn RecordDecorator, record: &Record) -> io::Result<bool> {
    let is_routine = record.level() == Level::Info && style == Style::Journal;
    if !is_routine {
        line.start_level()?;
        write!(line, "{}", record.level().as_short_str())?;
        line.start_whitespace()?;
        write!(line, " ")?;
    }
    line.start_msg()?;
    write!(line, "{}", record.msg())?;
    Ok(true)
}

/// Lets slog-term make a line in memory, then cleans, redacts and writes it at once.
struct LineDecorator<W> {
    writer: Mutex<W>,
    style: Style,
    now: Now,
    redactor: Arc<RwLock<Redactor>>,
}

impl<W: Write> Decorator for LineDecorator<W> {
    fn with_record<F>(&self, record: &Record, _values: &OwnedKVList, print: F) -> io::Result<()>
    where
        F: FnOnce(&mut dyn RecordDecorator) -> io::Result<()>,
    {
        let start = match self.style {
            Style::Journal => format!("<{}>", priority(record.level())),
            Style::Plain | Style::Terminal => format!("{} ", stamp((self.now)())),
        };
        let mut line =
            Line { text: start, level: record.level(), is_coloured: self.style == Style::Terminal };
        print(&mut line)?;
        let redactor = self.redactor.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut text = redactor.redact(line.text.trim_end()).into_owned();
        text.push('\n');
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(text.as_bytes())?;
        writer.flush()
    }
}

/// One line in the making.
struct Line {
    text: String,
    level: Level,
    is_coloured: bool,
}

impl Line {
    fn colour(&mut self, code: &str) {
        if self.is_coloured {
            self.text.push_str("\x1b[");
            self.text.push_str(code);
            self.text.push('m');
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.push_str(&one_line(&String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RecordDecorator for Line {
    fn reset(&mut self) -> io::Result<()> {
        self.colour("0");
        Ok(())
    }

    fn start_level(&mut self) -> io::Result<()> {
        self.colour(level_colour(self.level));
        Ok(())
    }

    fn start_key(&mut self) -> io::Result<()> {
        self.colour("2");
        Ok(())
    }
}

const fn level_colour(level: Level) -> &'static str {
    match level {
        Level::Critical | Level::Error => "31",
        Level::Warning => "33",
        Level::Info => "32",
        Level::Debug | Level::Trace => "36",
    }
}

/// The level as `syslog(3)` counts.
const fn priority(level: Level) -> u8 {
    match level {
        Level::Critical => 2,
        Level::Error => 3,
        Level::Warning => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::io;
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::Mutex;

    use secrecy::SecretString;
    use slog::Level;

    use super::Root;
    use super::Style;
    use crate::logging::redact::Redactor;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(style: Style, say: impl FnOnce(&slog::Logger)) -> String {
        let memory = Memory::default();
        let now = Arc::new(|| "2026-11-23T06:15:00.123Z".parse().unwrap());
        let root = Root::new(memory.clone(), style, Level::Info, now);
        root.redact_with(Redactor::new([&SecretString::from("hunter22")], []));
        say(&root.logger);
        drop(root);
        String::from_utf8(memory.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_plain_line_has_time_level_message_and_keys() {
        let text = logged(Style::Plain, |log| {
            let log = log.new(slog::o!("project" => "hello"));
            slog::warn!(log, "push failed"; "run" => 42);
        });
        assert_eq!(text, "2026-11-23T06:15:00.123Z WARN push failed, project: hello, run: 42\n");
    }

    #[test]
    fn the_journal_gets_a_priority_and_no_time() {
        let text = logged(Style::Journal, |log| {
            slog::info!(log, "pushed");
            slog::error!(log, "down");
            slog::debug!(log, "unsaid");
        });
        assert_eq!(text, "<6>pushed\n<3>ERRO down\n");
    }

    #[test]
    fn only_a_terminal_gets_colours() {
        let text = logged(Style::Terminal, |log| slog::info!(log, "pushed"));
        assert!(text.contains("\x1b[32mINFO"), "{text:?}");
    }

    #[test]
    fn secrets_and_line_breaks_do_not_get_through() {
        let text = logged(Style::Journal, |log| {
            slog::info!(log, "hunter22\n<0>forged\x1b[2J"; "url" => "https://me:hunter22@host");
        });
        assert_eq!(text, "<6>[redacted] <0>forged[2J, url: https://me:[redacted]@host\n");
    }

    #[test]
    fn what_was_said_before_the_end_is_written_at_the_end() {
        let text = logged(Style::Plain, |log| (0..5000).for_each(|n| slog::info!(log, "{n}")));
        assert_eq!(text.lines().count(), 5000);
    }
}
