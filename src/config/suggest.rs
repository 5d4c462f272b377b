//! What the owner probably meant by a word that is not known. Pure.

use crate::config::schema;

/// How unlike two words may be to be taken for one another: this many letters wrong, swapped, missing or too many
/// per three letters of the word.
const LETTERS_PER_SLIP: usize = 3;

/// What to say about a key that is not known where it stands.
pub fn unknown_key(key: &str, known: &[&'static str]) -> String {
    if let Some(meant) = closest(key, known) {
        return format!("unknown key `{key}`: did you mean `{meant}`?");
    }
    let elsewhere: Vec<String> = schema::key_paths()
        .into_iter()
        .filter(|path| path.rsplit('.').next() == Some(key))
        .map(|path| format!("`{path}`"))
        .collect();
    if elsewhere.is_empty() {
        format!("unknown key `{key}`: {} may stand here", list(known, "and"))
    } else {
        format!("unknown key `{key}` here: it belongs to {}", elsewhere.join(" or "))
    }
}

/// What to say about a word that is not among those allowed.
pub fn unknown_word(word: &str, known: &[&'static str]) -> String {
    match closest(word, known) {
        Some(meant) => format!("`{word}` is not {}: did you mean `{meant}`?", one_of(known)),
        None => format!("`{word}` is not {}", one_of(known)),
    }
}

/// The allowed words in a sentence: `"one of `a`, `b` or `c`"`.
pub fn one_of(known: &[&'static str]) -> String {
    format!("{}{}", if known.len() > 1 { "one of " } else { "" }, list(known, "or"))
}

/// The word of `known` that `word` is a slip of the pen for, if there is one.
pub fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace('-', "_");
    let slips = |known: &str| strsim::damerau_levenshtein(&plain(word), &plain(known));
    let nearest = known.iter().copied().min_by_key(|known| slips(known))?;
    let tolerated = (word.chars().count() / LETTERS_PER_SLIP).clamp(1, 3);
    (slips(nearest) <= tolerated && nearest.len() > slips(nearest)).then_some(nearest)
}

fn list(words: &[&'static str], last: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((one, [])) => one.clone(),
        Some((end, before)) => format!("{} {last} {end}", before.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        assert_eq!(closest("repositroy", &["name", "repository"]), Some("repository"));
        assert_eq!(closest("Repository", &["name", "repository"]), Some("repository"));
        assert_eq!(closest("docker-hub", &["docker", "docker_hub"]), Some("docker_hub"));
        assert_eq!(closest("prot", &["ports", "port"]), Some("port"));
        assert_eq!(closest("x", &["in", "to"]), None);
        assert_eq!(closest("cpu", &["env", "image"]), None);
    }

    #[test]
    fn a_key_that_belongs_elsewhere_is_sent_there() {
        let message = unknown_key("keep_images", &["name", "repository"]);
        assert_eq!(message, "unknown key `keep_images` here: it belongs to `projects[].deploy.keep_images`");
    }
}
