//! The form of a mail: the parts of a [`Letter`] laid out as text and as HTML. Escapes everything; knows nothing
//! of runs.

use crate::mail_text::Mail;
use crate::mail_text::phrase;

/// The longest subject in characters. Mail programs show less; this keeps a header from growing without end.
pub const LONGEST_SUBJECT: usize = 200;
/// The longest sentence, for reasons that quote whole error pages.
const LONGEST_SENTENCE: usize = 2000;
/// How many lines of output a mail shows; the log has them all.
const MOST_LINES: usize = 40;
/// The longest line of output.
const LONGEST_LINE: usize = 400;

/// The parts of a mail.
#[derive(Debug, Default)]
pub struct Letter {
    /// The subject.
    pub subject: String,
    /// The mood.
    pub tone: Tone,
    /// What happened, in a sentence or two.
    pub lead: String,
    /// What must be known to read the lead rightly.
    pub notes: Vec<String>,
    /// Why it happened.
    pub cause: Option<String>,
    /// The last lines of output, oldest first.
    pub output: Vec<String>,
    /// What homeport does next and what the owner can do.
    pub next: Vec<String>,
    /// The facts, each with its name.
    pub facts: Vec<(&'static str, Fact)>,
}

/// The mood of a mail: a colour in HTML, and whether it is urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// Nothing to worry about.
    #[default]
    Good,
    /// Something failed and the service runs.
    Bad,
    /// The service does not run.
    Urgent,
}

/// A fact: a text, and the page it stands for if there is one.
#[derive(Debug)]
pub struct Fact {
    text: String,
    link: Option<String>,
}

impl Fact {
    /// A plain fact.
    pub fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), link: None }
    }

    /// A fact with a page about it. An address that is not of the web is dropped.
    pub fn linked(text: impl Into<String>, address: &str) -> Self {
        let is_web = address.starts_with("https://") || address.starts_with("http://");
        Self { text: text.into(), link: is_web.then(|| phrase::cut(address, LONGEST_LINE)) }
    }
}

/// A subject on one line, bounded.
pub fn subject(text: &str) -> String {
    phrase::cut(text, LONGEST_SUBJECT)
}

impl Letter {
    /// Lays the letter out.
    pub fn into_mail(mut self) -> Mail {
        let sentence = |text: &mut String| *text = phrase::cut(text, LONGEST_SENTENCE);
        sentence(&mut self.lead);
        self.notes.iter_mut().for_each(sentence);
        self.next.iter_mut().for_each(sentence);
        self.cause.iter_mut().for_each(sentence);
        self.facts.iter_mut().for_each(|(_, fact)| sentence(&mut fact.text));
        let skipped = self.output.len().saturating_sub(MOST_LINES);
        self.output =
            self.output.iter().skip(skipped).map(|line| phrase::cut_line(line, LONGEST_LINE)).collect();
        Mail {
            subject: subject(&self.subject),
            text: self.as_text(),
            html: self.as_html(),
            urgent: self.tone == Tone::Urgent,
        }
    }

    fn as_text(&self) -> String {
        let mut parts = vec![self.lead.clone()];
        parts.extend(self.notes.iter().cloned());
        parts.extend(self.cause.iter().map(|cause| format!("Why: {cause}")));
        if !self.output.is_empty() {
            let lines: Vec<String> = self.output.iter().map(|line| format!("    {line}")).collect();
            parts.push(format!("Last lines of output:\n\n{}", lines.join("\n")));
        }
        parts.extend(self.next.iter().cloned());
        let facts = self.facts.iter().map(|(name, fact)| match &fact.link {
            Some(link) => format!("{name:<9} {}\n{:<9} {link}", fact.text, ""),
            None => format!("{name:<9} {}", fact.text),
        });
        parts.push(facts.collect::<Vec<_>>().join("\n"));
        let lines = parts.join("\n\n");
        lines.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
    }

    fn as_html(&self) -> String {
        let mut body = String::new();
        let colour = match self.tone {
            Tone::Good => "#1a7f37",
            Tone::Bad => "#bc4c00",
            Tone::Urgent => "#cf222e",
        };
        let lead = escaped(&self.lead);
        push(&mut body, &format!("<p style=\"{LEAD_STYLE};border-left:4px solid {colour}\">{lead}</p>"));
        for note in &self.notes {
            push(&mut body, &note_html(note));
        }
        if let Some(cause) = &self.cause {
            push(&mut body, &format!("<p style=\"{TEXT_STYLE}\"><b>Why:</b> {}</p>", escaped(cause)));
        }
        if !self.output.is_empty() {
            let lines = escaped(&self.output.join("\n"));
            push(&mut body, &format!("<pre style=\"{OUTPUT_STYLE}\">{lines}</pre>"));
        }
        for paragraph in &self.next {
            push(&mut body, &format!("<p style=\"{TEXT_STYLE}\">{}</p>", escaped(paragraph)));
        }
        push(&mut body, "<table style=\"border-collapse:collapse;font-size:14px\">");
        for (name, fact) in &self.facts {
            let text = escaped(&fact.text);
            let text = match &fact.link {
                Some(link) => format!("<a href=\"{}\">{text}</a>", escaped(link)),
                None => text,
            };
            push(
                &mut body,
                &format!(
                    "<tr><td style=\"{NAME_STYLE}\">{name}</td><td style=\"{FACT_STYLE}\">{text}</td></tr>"
                ),
            );
        }
        push(&mut body, "</table>");
        format!("{HTML_BEGIN}{body}{HTML_END}")
    }
}

const HTML_BEGIN: &str = "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"></head>\n\
    <body style=\"margin:0;padding:12px;font-family:sans-serif;font-size:15px;line-height:1.45\">\n\
    <div style=\"max-width:640px\">\n";
const HTML_END: &str = "</div>\n</body></html>\n";
const LEAD_STYLE: &str = "margin:0 0 12px;padding:8px 12px;font-size:17px";
const TEXT_STYLE: &str = "margin:0 0 12px";
const OUTPUT_STYLE: &str = "margin:0 0 12px;padding:10px;background:#f6f8fa;color:#1f2328;font-size:12px;\
    white-space:pre-wrap;overflow-wrap:anywhere";
const NAME_STYLE: &str = "padding:2px 12px 2px 0;vertical-align:top;opacity:0.7";
const FACT_STYLE: &str = "padding:2px 0;overflow-wrap:anywhere";

/// The same HTML with a note above everything else.
pub fn with_note_on_top(html: &str, note: &str) -> String {
    let rest = html.strip_prefix(HTML_BEGIN).unwrap_or(html);
    format!("{HTML_BEGIN}{}\n{rest}", note_html(note))
}

fn note_html(note: &str) -> String {
    format!("<p style=\"{TEXT_STYLE}\"><i>{}</i></p>", escaped(note))
}

fn push(body: &mut String, line: &str) {
    body.push_str(line);
    body.push('\n');
}

/// Text that is safe between tags and within a quoted attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::Fact;
    use super::Letter;
    use super::Tone;

    #[test]
    fn the_page_says_what_the_text_says() {
        let letter = Letter {
            subject: "[hello] tests failed".to_owned(),
            tone: Tone::Bad,
            lead: "Tests failed; 41 keeps running.".to_owned(),
            notes: vec!["This happened before.".to_owned()],
            cause: Some("exit code 1 & \"more\"".to_owned()),
            output: vec!["if a < b:".to_owned(), "    it's".to_owned()],
            next: vec!["homeport waits.".to_owned()],
            facts: vec![
                ("Commit", Fact::linked("1a2b3c4", "https://github.com/me/hello/commit/1a2b3c4?a=1&b=\"2\"")),
                ("Host", Fact::of("raspberrypi")),
            ],
        };
        let mail = letter.into_mail();
        insta::assert_snapshot!(mail.text, @r#"
        Tests failed; 41 keeps running.

        This happened before.

        Why: exit code 1 & "more"

        Last lines of output:

            if a < b:
                it's

        homeport waits.

        Commit    1a2b3c4
                  https://github.com/me/hello/commit/1a2b3c4?a=1&b="2"
        Host      raspberrypi
        "#);
        insta::assert_snapshot!(mail.html, @r#"
        <!DOCTYPE html>
        <html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"></head>
        <body style="margin:0;padding:12px;font-family:sans-serif;font-size:15px;line-height:1.45">
        <div style="max-width:640px">
        <p style="margin:0 0 12px;padding:8px 12px;font-size:17px;border-left:4px solid #bc4c00">Tests failed; 41 keeps running.</p>
        <p style="margin:0 0 12px"><i>This happened before.</i></p>
        <p style="margin:0 0 12px"><b>Why:</b> exit code 1 &amp; &quot;more&quot;</p>
        <pre style="margin:0 0 12px;padding:10px;background:#f6f8fa;color:#1f2328;font-size:12px;white-space:pre-wrap;overflow-wrap:anywhere">if a &lt; b:
            it&#39;s</pre>
        <p style="margin:0 0 12px">homeport waits.</p>
        <table style="border-collapse:collapse;font-size:14px">
        <tr><td style="padding:2px 12px 2px 0;vertical-align:top;opacity:0.7">Commit</td><td style="padding:2px 0;overflow-wrap:anywhere"><a href="https://github.com/me/hello/commit/1a2b3c4?a=1&amp;b=&quot;2&quot;">1a2b3c4</a></td></tr>
        <tr><td style="padding:2px 12px 2px 0;vertical-align:top;opacity:0.7">Host</td><td style="padding:2px 0;overflow-wrap:anywhere">raspberrypi</td></tr>
        </table>
        </div>
        </body></html>
        "#);
    }

    #[test]
    fn of_much_output_the_end_is_shown() {
        let output = (1..=100).map(|number| format!("line {number}")).collect();
        let mail = Letter { output, ..Letter::default() }.into_mail();
        assert!(mail.text.contains("    line 61\n") && mail.text.contains("    line 100\n"));
        assert!(!mail.text.contains("line 60"));
    }
}
