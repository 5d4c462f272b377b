//! What a deploy key is: the private half of an SSH key, of several lines, that opens without a passphrase. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

/// How what is inside OpenSSH's own format begins.
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// The first and the last line, without what kind of key stands between.
const BEGIN: &str = "-----BEGIN ";
const END: &str = "PRIVATE KEY-----";
const HOW_TO_MAKE: &str = "`ssh-keygen -t ed25519 -N '' -f deploy-key`";

/// The key as ssh wants it, or what it is instead; never quotes it.
pub fn checked(text: &str, place: &str) -> Result<SecretString, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(format!("{place} is empty"));
    }
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        return Err(format!(
            "{place} holds the public half of a key, which GitHub wants: the private one is in the file without `.pub`"
        ));
    }
    if !text.starts_with(BEGIN) || !text.ends_with(END) || !text.contains('\n') {
        return Err(format!(
            "{place} holds no private key of SSH, which has several lines: make one, {HOW_TO_MAKE}"
        ));
    }
    if needs_passphrase(text) {
        return Err(format!(
            "{place} holds a key with a passphrase, which nobody is there to type: make one without, {HOW_TO_MAKE}"
        ));
    }
    // ssh does not read a last line without its end.
    let mut key = Zeroizing::new(String::with_capacity(text.len() + 1));
    for line in text.lines() {
        key.push_str(line);
        key.push('\n');
    }
    Ok(SecretString::from(key.as_str()))
}

fn needs_passphrase(text: &str) -> bool {
    if text.contains("ENCRYPTED") {
        return true;
    }
    let mut body = Zeroizing::new(String::with_capacity(text.len()));
    text.lines().filter(|line| !line.starts_with('-')).for_each(|line| body.push_str(line.trim()));
    let Ok(inside) = STANDARD.decode(body.as_bytes()).map(Zeroizing::new) else { return false };
    // After the magic comes the name of the cipher, its length first.
    let cipher = inside.strip_prefix(MAGIC).and_then(|rest| rest.get(4..8));
    cipher.is_some_and(|name| name != b"none")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use secrecy::ExposeSecret as _;

    use super::*;

    fn openssh(cipher: &str) -> String {
        let length = u32::try_from(cipher.len()).unwrap().to_be_bytes();
        let inside = [MAGIC, &length, cipher.as_bytes(), b"the rest of a key"].concat();
        format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\r\n{}\r\n-----END OPENSSH PRIVATE KEY-----",
            STANDARD.encode(inside)
        )
    }

    #[test]
    fn a_key_ends_with_a_line_break_and_has_no_others_than_ssh_knows() {
        let key = checked(&openssh("none"), "the file").unwrap();
        let key = key.expose_secret();
        assert!(key.ends_with("KEY-----\n") && !key.contains('\r'), "{key}");
    }

    #[test]
    fn whatever_is_no_open_private_key_is_named() {
        let legacy =
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nx\n-----END RSA PRIVATE KEY-----";
        for (text, words) in [
            ("", "is empty"),
            ("ssh-ed25519 AAAA me@pi", "the public half"),
            ("hunter2", "no private key of SSH"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\ncut", "no private key of SSH"),
            (&openssh("aes256-ctr"), "a key with a passphrase"),
            (legacy, "a key with a passphrase"),
        ] {
            let said = checked(text, "the file").unwrap_err();
            assert!(said.contains(words) && !said.contains("hunter2"), "{said}");
        }
    }
}
