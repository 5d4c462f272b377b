//! Which deliveries were already acted on: a bounded memory of `X-GitHub-Delivery`, which GitHub keeps when
//! it sends a delivery again. Pure. A delivery whose handling failed is not remembered, so that it may be
//! repeated.

use std::collections::VecDeque;

/// How many deliveries are remembered: far more than GitHub sends within the minutes in which repeats matter.
const REMEMBERED: usize = 256;
/// The longest id that is remembered; GitHub's have 36 characters.
const LONGEST_ID: usize = 64;

/// The ids of the last deliveries that were acted on.
#[derive(Debug, Default)]
pub struct Seen(VecDeque<String>);

impl Seen {
    /// Whether the delivery was acted on.
    pub fn contains(&self, id: &str) -> bool {
        self.0.iter().any(|seen| seen == id)
    }

    /// Remembers a delivery and forgets the oldest if there are too many. Ids that cannot be GitHub's are
    /// not kept, so that nobody fills the memory with them.
    pub fn remember(&mut self, id: &str) {
        if id.is_empty() || id.len() > LONGEST_ID || self.contains(id) {
            return;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(id.to_owned());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::REMEMBERED;
    use super::Seen;

    #[test]
    fn the_oldest_of_too_many_is_forgotten() {
        let mut seen = Seen::default();
        for number in 0..=REMEMBERED {
            seen.remember(&number.to_string());
            seen.remember(&number.to_string());
        }
        assert!(!seen.contains("0"));
        assert!(seen.contains("1"));
        assert!(seen.contains(&REMEMBERED.to_string()));
        assert_eq!(seen.0.len(), REMEMBERED);
    }

    #[test]
    fn what_cannot_be_an_id_is_not_kept() {
        let mut seen = Seen::default();
        seen.remember("");
        seen.remember(&"x".repeat(1000));
        assert!(!seen.contains(""));
        assert!(seen.0.is_empty());
    }
}
