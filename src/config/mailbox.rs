//! The grammar of mail addresses as they stand in a configuration. Narrower than RFC 5322, so that what passes
//! here passes every mail library: no quoted local parts, no comments, no lists. Pure.

/// Refuses what is not `name@domain` or `Name <name@domain>`.
pub fn check(text: &str) -> Result<(), String> {
    let wanted =
        || format!("`{text}` is not a mail address: write `name@example.org` or `Name <name@example.org>`");
    if text.contains([',', ';']) {
        return Err(format!("`{text}` looks like several addresses: write each as a string of its own"));
    }
    if text.chars().any(char::is_control) {
        return Err("a mail address has no line breaks or other control characters".to_owned());
    }
    let address = match text.split_once('<') {
        None => text,
        Some((name, rest)) => {
            let address = rest.strip_suffix('>').ok_or_else(wanted)?;
            if !is_display_name(name.trim_end()) {
                return Err(wanted());
            }
            address
        }
    };
    match address.rsplit_once('@') {
        Some((local, domain)) if is_local_part(local) && is_domain(domain) => Ok(()),
        _ => Err(wanted()),
    }
}

fn is_display_name(name: &str) -> bool {
    let inner = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(name);
    // Unquoted, a dot or parenthesis would be syntax; quoted, a quote or backslash would be.
    let is_plain = |c: char| c.is_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(c);
    let is_quotable = |c: char| is_plain(c) || ".()[]:@".contains(c);
    let is_quoted = inner.len() != name.len();
    inner.chars().all(|c| if is_quoted { is_quotable(c) } else { is_plain(c) })
}

/// A dot-atom of at most 64 bytes (RFC 5321, 4.5.3.1.1).
fn is_local_part(local: &str) -> bool {
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c))
    };
    local.len() <= 64 && local.split('.').all(is_atom)
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.len() <= 253 && domain.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn usual_addresses_are_accepted() {
        for text in [
            "me@example.org",
            "me.and+tag@mail.example.org",
            "root@localhost",
            "homeport <homeport@example.org>",
            "Zoë Müller <zoe@example.org>",
            "\"home.port (Pi)\" <homeport@example.org>",
            "<me@example.org>",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_a_mail_library_would_refuse_is_refused() {
        for text in [
            "",
            "me",
            "me@",
            "@example.org",
            "me@@example.org",
            "me @example.org",
            "me@exa mple.org",
            "me@-a.org",
            "me@example..org",
            ".me@example.org",
            "me.@example.org",
            "me@example.org>",
            "Me <me@example.org",
            "Me me@example.org",
            "a.b <me@example.org>",
            "me@example.org\r\nBcc: x@y.z",
            "Me\n <me@example.org>",
            "a@b.c, d@e.f",
            "a@b.c; d@e.f",
            "mé@example.org",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
