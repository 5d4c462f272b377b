//! Resolving whom the agent writes to and who may nudge it: mail, the webhook, the heartbeat. See [`resolve`].
//!
//! [`resolve`]: crate::config::resolve

use crate::config::Email;
use crate::config::Heartbeat;
use crate::config::Smtp;
use crate::config::SmtpSecurity;
use crate::config::Webhook;
use crate::config::address;
use crate::config::mailbox;
use crate::config::path::JsonPath;
use crate::config::problem::Problems;
use crate::config::resolve;
use crate::config::resolve::Scope;
use crate::config::secret::Shape;
use crate::config::settings::EmailSettings;
use crate::config::settings::HeartbeatSettings;
use crate::config::settings::WebhookSettings;

/// Mail. The outer `None` is a refusal.
pub fn email(
    written: Option<Email>,
    scope: &Scope<'_>,
    problems: &mut Problems<'_>,
) -> Option<Option<EmailSettings>> {
    let path = JsonPath::root().key("email");
    let Some(written) = written else {
        problems.warn(&path, "left out: nobody is told by mail when a run fails");
        return Some(None);
    };
    let from =
        required(written.from, &path.key("from"), "the sender, such as `homeport@example.org`", problems);
    if let Some(from) = &from {
        problems.keep(&path.key("from"), mailbox::check(from));
    }
    let to_path = path.key("to");
    let to = required(written.to, &to_path, "the recipients, such as `[\"me@example.org\"]`", problems);
    if to.as_ref().is_some_and(Vec::is_empty) {
        problems.refuse(&to_path, "at least one recipient is needed, such as `[\"me@example.org\"]`");
    }
    for (index, recipient) in to.iter().flatten().enumerate() {
        problems.keep(&to_path.index(index), mailbox::check(recipient));
    }
    let smtp = required(
        written.smtp,
        &path.key("smtp"),
        "the mail server, such as `{\"host\": \"smtp.example.org\"}`",
        problems,
    )?;
    server(smtp, (from, to), &path.key("smtp"), scope, problems).map(Some)
}

fn server(
    smtp: Smtp,
    (from, to): (Option<String>, Option<Vec<String>>),
    path: &JsonPath,
    scope: &Scope<'_>,
    problems: &mut Problems<'_>,
) -> Option<EmailSettings> {
    let host = required(
        smtp.host,
        &path.key("host"),
        "the mail server's name, such as `smtp.example.org`",
        problems,
    );
    let host = host.and_then(|host| problems.keep(&path.key("host"), smtp_host(host)));
    if smtp.port == Some(0) {
        problems.refuse(&path.key("port"), "a port is a number from 1 to 65535");
    }
    let is_exposed = smtp.security == SmtpSecurity::None
        && smtp.password.is_some()
        && host.as_ref().is_some_and(|host| !address::is_this_machine(host));
    if is_exposed {
        problems.warn(
            &path.key("security"),
            "with `none` the password travels in the clear: use `starttls` or `tls`",
        );
    }
    let login = resolve::login((smtp.username, smtp.password), "password", path, scope.reader, problems);
    Some(EmailSettings {
        from: from?,
        to: to?,
        host: host?,
        port: smtp.port.unwrap_or(standard_port(smtp.security)),
        security: smtp.security,
        login: login?,
    })
}

const fn standard_port(security: SmtpSecurity) -> u16 {
    match security {
        SmtpSecurity::Starttls => 587,
        SmtpSecurity::Tls => 465,
        SmtpSecurity::None => 25,
    }
}

fn smtp_host(host: String) -> Result<String, String> {
    address::refuse_credentials(&host)?;
    if let Some((_, rest)) = host.split_once("://") {
        return Err(format!("a mail server is named without a scheme: write `{rest}`"));
    }
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    match host.rsplit_once(':') {
        Some((name, port)) if !is_address => {
            Err(format!("the port has a key of its own: write `\"host\": \"{name}\", \"port\": {port}`"))
        }
        _ if is_address || address::is_host_name(&host) => Ok(host),
        _ => Err(format!("`{host}` is not the name or address of a server, such as `smtp.example.org`")),
    }
}

/// The webhook. The outer `None` is a refusal.
pub fn webhook(
    written: Option<Webhook>,
    scope: &Scope<'_>,
    problems: &mut Problems<'_>,
) -> Option<Option<WebhookSettings>> {
    let path = JsonPath::root().key("webhook");
    let Some(written) = written else { return Some(None) };
    let listen = problems.keep(&path.key("listen"), address::listen(&written.listen));
    if listen.is_some_and(|address| !address.ip().is_loopback()) {
        problems.warn(
            &path.key("listen"),
            "other machines can reach this address: only a reverse proxy with TLS in front of it should have to",
        );
    }
    let source = required(
        written.secret,
        &path.key("secret"),
        "the secret that GitHub signs deliveries with, such as `{\"file\": \"webhook-secret\"}`",
        problems,
    )?;
    let secret = resolve::secret(&source, Shape::Line, &path.key("secret"), scope.reader, problems);
    Some(Some(WebhookSettings { listen: listen?, secret: secret? }))
}

/// The heartbeat. The outer `None` is a refusal.
pub fn heartbeat(
    written: Option<Heartbeat>,
    problems: &mut Problems<'_>,
) -> Option<Option<HeartbeatSettings>> {
    let path = JsonPath::root().key("heartbeat");
    let Some(written) = written else { return Some(None) };
    let url = required(
        written.url,
        &path.key("url"),
        "the address to ask, such as `https://hc-ping.com/UUID`",
        problems,
    );
    let url = url.and_then(|text| problems.keep(&path.key("url"), address::web_url(&text)));
    if written.every.get().is_zero() {
        problems.refuse(&path.key("every"), "some time must lie between two heartbeats, such as `5m`");
    }
    Some(Some(HeartbeatSettings { url: url?, every: written.every.get() }))
}

/// The value of a key that must be given.
fn required<T>(value: Option<T>, path: &JsonPath, what: &str, problems: &mut Problems<'_>) -> Option<T> {
    if value.is_none() {
        problems.refuse(path, format!("missing: {what}"));
    }
    value
}
