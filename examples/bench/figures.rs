//! Durations of one kind, and what is said of them: median, least, most. Pure.

use std::time::Duration;

/// At least one duration.
pub struct Figures {
    sorted: Vec<Duration>,
}

impl Figures {
    /// Figures of these durations.
    pub fn of(mut durations: Vec<Duration>) -> Self {
        assert!(!durations.is_empty(), "nothing was measured");
        durations.sort();
        Self { sorted: durations }
    }

    /// What 99 of 100 do not exceed, in milliseconds.
    pub fn p99(&self) -> f64 {
        ms(self.sorted[(self.sorted.len() * 99).div_ceil(100) - 1])
    }

    /// The middle one, in milliseconds.
    pub fn median(&self) -> f64 {
        let middle = self.sorted.len() / 2;
        if self.sorted.len() % 2 == 1 {
            ms(self.sorted[middle])
        } else {
            (ms(self.sorted[middle - 1]) + ms(self.sorted[middle])) / 2.0
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (least, most) = (self.sorted[0], self.sorted[self.sorted.len() - 1]);
        write!(f, "{:.0} ms ({:.0} to {:.0})", self.median(), ms(least), ms(most))
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
