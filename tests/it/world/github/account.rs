//! Whose token is accepted, and what is left of the hour's requests.

use std::sync::Mutex;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

const HOUR: Duration = Duration::from_secs(3600);

/// The one account that GitHub knows.
pub struct Account(Mutex<State>);

struct State {
    token: Option<String>,
    budget: Budget,
}

/// What the rate-limit headers of an answer show.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Requests in an hour.
    pub limit: u32,
    /// How many of them are used.
    pub used: u32,
    /// When the next hour begins, in seconds of the Unix epoch.
    pub reset: u64,
}

/// What a request's credential is worth.
pub enum Access {
    /// It showed none.
    Anonymous,
    /// It showed the token.
    Token,
    /// It showed something else.
    Refused,
}

impl Account {
    /// An account with a user's budget and no token.
    pub fn new() -> Self {
        let budget = Budget { limit: 5000, used: 0, reset: now() + HOUR.as_secs() };
        Self(Mutex::new(State { token: None, budget }))
    }

    /// Accepts this token, and no other.
    pub fn accept(&self, token: &str) {
        self.0.lock().unwrap().token = Some(token.to_owned());
    }

    /// Sets the budget of this hour, which ends in so long.
    pub fn set_budget(&self, limit: u32, used: u32, reset_in: Duration) {
        self.0.lock().unwrap().budget = Budget { limit, used, reset: now() + reset_in.as_secs() };
    }

    /// The budget now; new when the hour is over.
    pub fn budget(&self) -> Budget {
        let mut state = self.0.lock().unwrap();
        if now() >= state.budget.reset {
            state.budget = Budget { limit: state.budget.limit, used: 0, reset: now() + HOUR.as_secs() };
        }
        state.budget
    }

    /// Whether the hour's requests are used up.
    pub fn is_exhausted(&self) -> bool {
        let budget = self.budget();
        budget.used >= budget.limit
    }

    /// Counts a request.
    pub fn spend(&self) {
        let budget = &mut self.0.lock().unwrap().budget;
        budget.used = budget.limit.min(budget.used + 1);
    }

    /// What this credential is worth.
    pub fn access(&self, credential: Option<&str>) -> Access {
        match (credential, &self.0.lock().unwrap().token) {
            (None, _) => Access::Anonymous,
            (Some(given), Some(wanted)) if given == wanted => Access::Token,
            (Some(_), _) => Access::Refused,
        }
    }
}

/// Seconds of the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
