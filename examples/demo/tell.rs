//! How the story looks on paper: headings, what programs said, mails. In colour on a terminal only.

use std::io::IsTerminal;
use std::io::Write;

use crate::world::mail::Mail;

const WIDTH: usize = 118;
const MAIL_LINES: usize = 11;

/// One line of the teller's own words. A reader who has gone is no reason to end without cleaning up.
pub fn line(text: &str) {
    writeln!(std::io::stdout(), "{text}").ok();
}

/// The beginning of a chapter.
pub fn heading(text: &str) {
    line(&format!("\n{}", painted(BOLD, &format!("== {text}"))));
}

/// A command as a person would type it.
pub fn command(text: &str) {
    line(&format!("\n{}", painted(BOLD, &format!("$ {text}"))));
}

/// What a program said, or what stands in a file.
pub fn quote(text: &str) {
    for quoted in text.lines() {
        line(&format!("  {} {}", painted(DIM, "|"), cut(quoted)));
    }
}

/// A line of homeport's journal, if it is about a run, a mail or trouble: with the time of day, and the run in front.
pub fn journal(text: &str) {
    let mut words = text.splitn(3, ' ');
    let (Some(moment), Some(level), Some(message)) = (words.next(), words.next(), words.next()) else {
        return;
    };
    let time = moment.get(11..23).unwrap_or(moment);
    let (message, run) = match message.rsplit_once(", run: ") {
        Some((message, rest)) => (message, format!("run {} ", rest.split(',').next().unwrap_or_default())),
        None => (message, String::new()),
    };
    let is_trouble = level != "INFO";
    if is_trouble || !run.is_empty() || message.starts_with("mail sent") || message.starts_with("homeport ") {
        let style = if is_trouble { YELLOW } else { CYAN };
        line(&format!("  {} {}", painted(style, time), cut(&format!("{run}{message}"))));
    }
}

/// What a commit changes, as git prints it.
pub fn patch(text: &str) {
    for changed in text.lines() {
        let style = match changed.as_bytes() {
            [b'+', b'+', ..] | [b'-', b'-', ..] => DIM,
            [b'+', ..] => GREEN,
            [b'-', ..] => RED,
            _ => PLAIN,
        };
        line(&format!("  {} {}", painted(DIM, "|"), painted(style, &cut(changed))));
    }
}

/// A mail as it lies in the inbox.
pub fn mail(mail: &Mail) {
    line(&format!("  {} To: {}", painted(YELLOW, "mail"), mail.to.join(", ")));
    line(&format!("  {} Subject: {}", painted(YELLOW, "mail"), painted(BOLD, &mail.subject)));
    for text in mail.text.lines().filter(|text| !text.is_empty()).take(MAIL_LINES) {
        line(&format!("  {} {}", painted(YELLOW, "mail"), cut(text)));
    }
    for (name, content) in &mail.attachments {
        line(&format!("  {} attached: {name}, {} bytes", painted(YELLOW, "mail"), content.len()));
    }
}

const PLAIN: &str = "";
const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

fn painted(style: &str, text: &str) -> String {
    let is_wanted = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if is_wanted && !style.is_empty() { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= WIDTH {
        return text.to_owned();
    }
    text.chars().take(WIDTH - 1).chain(['…']).collect()
}
