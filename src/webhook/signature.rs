//! Whether a body was signed with the shared secret, by GitHub's rule: `X-Hub-Signature-256` holds
//! `sha256=` and the HMAC-SHA256 of the raw body in lower-case hexadecimal.
//!
//! Takes bytes, gives a verdict; compares in constant time. Must not parse the body.

use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use sha2::Sha256;

/// What a signature says of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// The body is as the holder of the secret sent it.
    Genuine,
    /// Another secret, another body, or not a signature at all.
    Wrong,
}

/// Judges `header`, the value of `X-Hub-Signature-256`, over the body as it came from the wire.
///
/// Upper-case digits are refused: GitHub never sends them, so whoever does is not GitHub.
pub fn verify(secret: &SecretString, body: &[u8], header: &str) -> Signature {
    let Some(claimed) = header.strip_prefix("sha256=").and_then(digest_of) else {
        return Signature::Wrong;
    };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
        return Signature::Wrong;
    };
    mac.update(body);
    match mac.verify_slice(&claimed) {
        Ok(()) => Signature::Genuine,
        Err(_) => Signature::Wrong,
    }
}

/// The 32 bytes behind 64 lower-case hexadecimal digits.
fn digest_of(hex: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = hex.bytes().map(digit).collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    (hex.len() == 64).then_some(bytes)?.try_into().ok()
}

const fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::Signature;
    use super::verify;

    /// The example of GitHub's own documentation.
    const SECRET: &str = "It's a Secret to Everybody";
    const HELLO: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn judge(secret: &str, body: &str, header: &str) -> Signature {
        verify(&secret.into(), body.as_bytes(), header)
    }

    #[test]
    fn the_documented_example_is_genuine() {
        assert_eq!(judge(SECRET, "Hello, World!", HELLO), Signature::Genuine);
    }

    #[test]
    fn another_secret_or_another_body_is_wrong() {
        assert_eq!(judge("Its a Secret", "Hello, World!", HELLO), Signature::Wrong);
        assert_eq!(judge(SECRET, "Hello, World?", HELLO), Signature::Wrong);
        assert_eq!(judge("", "Hello, World!", HELLO), Signature::Wrong);
    }

    #[test]
    fn what_is_not_sixty_four_lower_case_digits_behind_the_prefix_is_wrong() {
        let bare = HELLO.strip_prefix("sha256=").unwrap();
        let upper = format!("sha256={}", bare.to_uppercase());
        let long = format!("{HELLO}00");
        let odd = &HELLO[..HELLO.len() - 1];
        let short = &HELLO[..HELLO.len() - 2];
        let multibyte = format!("sha256={}", "é".repeat(32));
        for header in [
            "",
            "sha256=",
            "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59",
            bare,
            &upper,
            &long,
            odd,
            short,
            &multibyte,
        ] {
            assert_eq!(judge(SECRET, "Hello, World!", header), Signature::Wrong, "{header}");
        }
    }
}
