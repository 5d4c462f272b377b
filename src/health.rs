//! Whether a new container has shown that it works.
//!
//! Takes what one look after another showed of it and how long it has been up; gives Waiting, Proven or
//! Failed with the reason. Must not look, wait or read a clock itself: the proving stage does, and stops at
//! the first verdict other than Waiting.

pub mod illness;

use std::fmt;
use std::time::Duration;

use chrono::DateTime;
use chrono::Utc;

use crate::config::settings::ProveSettings;
use crate::model::Container;
use crate::model::HealthStatus;
use crate::model::Life;

/// What decides whether a container works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judge {
    /// GET of this path answers 2xx or 3xx.
    Http(String),
    /// The image's own HEALTHCHECK says healthy.
    HealthCheck,
    /// The container accepts a TCP connection on this port of its own.
    Tcp(u16),
    /// It runs; nothing else can be asked.
    Uptime,
}

/// The strictest judge at hand: the configured path, else the image's HEALTHCHECK, else a published TCP port
/// (the container's side of it), else uptime alone.
pub fn judge(http: Option<&str>, has_healthcheck: bool, tcp_port: Option<u16>) -> Judge {
    match (http, tcp_port) {
        (Some(path), _) => Judge::Http(path.to_owned()),
        (None, _) if has_healthcheck => Judge::HealthCheck,
        (None, Some(port)) => Judge::Tcp(port),
        (None, None) => Judge::Uptime,
    }
}

/// What a probe got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// An HTTP answer with this status.
    Answered(u16),
    /// A TCP connection.
    Connected,
    /// No answer, and why.
    Failed(String),
    /// Nothing was asked: the judge needs no probe, or the container does not run.
    NotProbed,
}

/// What one look at the container showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// What it is doing.
    pub life: Life,
    /// How often Docker has restarted it.
    pub restarts: u64,
    /// What its HEALTHCHECK says.
    pub health: Option<HealthStatus>,
    /// What the probe got.
    pub probe: Probe,
}

impl Sample {
    /// The sample of a look at Docker and a probe.
    pub const fn of(container: &Container, probe: Probe) -> Self {
        Self { life: container.life, restarts: container.restarts, health: container.health, probe }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.life)?;
        match self.health {
            Some(HealthStatus::Starting) => f.write_str(", HEALTHCHECK: starting")?,
            Some(HealthStatus::Healthy) => f.write_str(", HEALTHCHECK: healthy")?,
            Some(HealthStatus::Unhealthy) => f.write_str(", HEALTHCHECK: unhealthy")?,
            None => {}
        }
        match &self.probe {
            Probe::Answered(status) => write!(f, ", answers {status}"),
            Probe::Connected => f.write_str(", accepts connections"),
            Probe::Failed(why) => write!(f, ", no answer: {why}"),
            Probe::NotProbed => Ok(()),
        }
    }
}

/// What follows from the samples so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Look again.
    Waiting,
    /// It works.
    Proven,
    /// It does not; why, in words for the log and the mail.
    Failed(String),
}

/// Watches one container from its start until it is proven or failed.
#[derive(Debug)]
pub struct ProvingWatch {
    judge: Judge,
    timeout: Duration,
    min_uptime: Duration,
    needed: u32,
    good_in_a_row: u32,
    /// Of the first sample; the same container may have been restarted in an earlier life.
    restarts: Option<u64>,
    running_since: Option<DateTime<Utc>>,
    /// When, on the watch's own scale, the present uptime began.
    up_from: Duration,
}

impl ProvingWatch {
    /// A watch that begins now. Less than one good sample is never enough.
    pub fn new(limits: &ProveSettings, judge: Judge) -> Self {
        Self {
            judge,
            timeout: limits.timeout,
            min_uptime: limits.min_uptime,
            needed: limits.good_samples.max(1),
            good_in_a_row: 0,
            restarts: None,
            running_since: None,
            up_from: Duration::ZERO,
        }
    }

    /// Takes in one look. `elapsed` is the time since the container was started.
    pub fn observe(&mut self, sample: &Sample, elapsed: Duration) -> Verdict {
        if let Some(why) = self.end_of(sample) {
            return Verdict::Failed(why);
        }
        self.note_start(sample.life, elapsed);
        let complaint = self.judge.complaint(sample);
        self.good_in_a_row = if complaint.is_none() { self.good_in_a_row.saturating_add(1) } else { 0 };
        let uptime = elapsed.saturating_sub(self.up_from);
        if self.good_in_a_row >= self.needed && uptime >= self.min_uptime {
            return Verdict::Proven;
        }
        if elapsed < self.timeout {
            return Verdict::Waiting;
        }
        let last_seen = complaint.unwrap_or_else(|| self.shortfall(uptime));
        Verdict::Failed(format!("not proven within {:?}: {last_seen}", self.timeout))
    }

    /// What no further sample can make good.
    fn end_of(&mut self, sample: &Sample) -> Option<String> {
        let at_first = *self.restarts.get_or_insert(sample.restarts);
        match sample.life {
            Life::Exited { out_of_memory: true, .. } => {
                Some("the container was killed for want of memory".to_owned())
            }
            Life::Exited { code, .. } => Some(format!("the container exited with code {code}")),
            Life::Restarting => Some("the container ended and Docker is restarting it".to_owned()),
            Life::Dead => Some("the container is dead".to_owned()),
            Life::Running { .. } | Life::Created | Life::Paused if sample.restarts != at_first => {
                Some("the container ended and Docker restarted it".to_owned())
            }
            Life::Running { .. } | Life::Created | Life::Paused => match (&self.judge, sample.health) {
                (Judge::HealthCheck, Some(HealthStatus::Unhealthy)) => {
                    Some("the image's HEALTHCHECK says unhealthy".to_owned())
                }
                (Judge::HealthCheck | Judge::Http(_) | Judge::Tcp(_) | Judge::Uptime, _) => None,
            },
        }
    }

    /// A restart by a person is no failure of the image, but the proof begins again.
    fn note_start(&mut self, life: Life, elapsed: Duration) {
        let Life::Running { since } = life else { return };
        if self.running_since.is_some_and(|before| before != since) {
            self.good_in_a_row = 0;
            self.up_from = elapsed;
        }
        self.running_since = Some(since);
    }

    fn shortfall(&self, uptime: Duration) -> String {
        let Self { good_in_a_row, needed, min_uptime, .. } = self;
        if good_in_a_row < needed {
            format!("{good_in_a_row} of {needed} good samples in a row ({})", self.judge)
        } else {
            format!("up for {uptime:?} of the {min_uptime:?} that `min_uptime` asks for")
        }
    }
}

impl Judge {
    /// What is wrong with a sample; `None` if it is good.
    pub fn complaint(&self, sample: &Sample) -> Option<String> {
        if !matches!(sample.life, Life::Running { .. }) {
            return Some(format!("the container is not running ({})", sample.life));
        }
        match self {
            Self::Uptime => None,
            Self::HealthCheck => match sample.health {
                Some(HealthStatus::Healthy) => None,
                Some(HealthStatus::Starting) => Some("the image's HEALTHCHECK has not passed yet".to_owned()),
                Some(HealthStatus::Unhealthy) => Some("the image's HEALTHCHECK says unhealthy".to_owned()),
                None => Some("the image's HEALTHCHECK says nothing".to_owned()),
            },
            Self::Http(path) => match &sample.probe {
                Probe::Answered(200..=399) => None,
                Probe::Answered(status) => Some(format!("GET {path} answered {status}")),
                Probe::Failed(why) => Some(format!("GET {path} got no answer: {why}")),
                Probe::Connected | Probe::NotProbed => Some(format!("GET {path} was not asked")),
            },
            Self::Tcp(port) => match &sample.probe {
                Probe::Connected | Probe::Answered(_) => None,
                Probe::Failed(why) => Some(format!("nothing listens on port {port}: {why}")),
                Probe::NotProbed => Some(format!("port {port} was not asked")),
            },
        }
    }
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(path) => write!(f, "GET {path} answers 2xx or 3xx"),
            Self::HealthCheck => f.write_str("the image's HEALTHCHECK says healthy"),
            Self::Tcp(port) => write!(f, "port {port} accepts a connection"),
            Self::Uptime => f.write_str("the container keeps running"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::time::Duration;

    use chrono::DateTime;

    use super::Judge;
    use super::Probe;
    use super::ProvingWatch;
    use super::Sample;
    use super::Verdict;
    use super::judge;
    use crate::config::settings::ProveSettings;
    use crate::model::HealthStatus;
    use crate::model::Life;

    /// Three good samples in a row, five seconds of uptime, twenty seconds in all.
    fn watch(judge: Judge) -> ProvingWatch {
        let limits = ProveSettings {
            timeout: Duration::from_secs(20),
            good_samples: 3,
            interval: Duration::from_secs(1),
            min_uptime: Duration::from_secs(5),
        };
        ProvingWatch::new(&limits, judge)
    }

    fn http() -> Judge {
        Judge::Http("/".to_owned())
    }

    fn started_at(second: i64) -> Life {
        Life::Running { since: DateTime::from_timestamp(second, 0).unwrap() }
    }

    fn running(probe: Probe) -> Sample {
        Sample { life: started_at(0), restarts: 0, health: None, probe }
    }

    fn with_health(health: HealthStatus) -> Sample {
        Sample { health: Some(health), ..running(Probe::NotProbed) }
    }

    fn with_life(life: Life) -> Sample {
        Sample { life, ..running(Probe::NotProbed) }
    }

    fn refused() -> Probe {
        Probe::Failed("connection refused".to_owned())
    }

    /// The verdicts of one sample per second, from second 1 on, up to the first that is final.
    fn judged(mut watch: ProvingWatch, samples: &[Sample]) -> Verdict {
        for (second, sample) in (1..).zip(samples) {
            match watch.observe(sample, Duration::from_secs(second)) {
                Verdict::Waiting => {}
                verdict @ (Verdict::Proven | Verdict::Failed(_)) => return verdict,
            }
        }
        Verdict::Waiting
    }

    fn failure(verdict: Verdict) -> String {
        match verdict {
            Verdict::Failed(why) => why,
            verdict @ (Verdict::Waiting | Verdict::Proven) => panic!("{verdict:?}"),
        }
    }

    fn good() -> Sample {
        running(Probe::Answered(200))
    }

    #[test]
    fn the_strictest_judge_at_hand_decides() {
        assert_eq!(judge(Some("/up"), true, Some(80)), Judge::Http("/up".to_owned()));
        assert_eq!(judge(None, true, Some(80)), Judge::HealthCheck);
        assert_eq!(judge(None, false, Some(80)), Judge::Tcp(80));
        assert_eq!(judge(None, false, None), Judge::Uptime);
    }

    #[test]
    fn good_answers_prove_nothing_before_the_least_uptime() {
        assert_eq!(judged(watch(http()), &[good(), good(), good(), good()]), Verdict::Waiting);
        assert_eq!(judged(watch(http()), &[good(), good(), good(), good(), good()]), Verdict::Proven);
    }

    #[test]
    fn a_bad_answer_begins_the_row_again_and_is_not_fatal() {
        let bad = running(Probe::Answered(503));
        let samples = [good(), good(), good(), good(), bad, good(), good()];
        assert_eq!(judged(watch(http()), &samples), Verdict::Waiting);
        let samples = [samples.as_slice(), &[good()]].concat();
        assert_eq!(judged(watch(http()), &samples), Verdict::Proven);
    }

    #[test]
    fn a_redirect_is_a_good_answer_and_a_client_error_is_not() {
        let redirects = vec![running(Probe::Answered(302)); 5];
        assert_eq!(judged(watch(http()), &redirects), Verdict::Proven);
        let missing = vec![running(Probe::Answered(404)); 20];
        assert_eq!(failure(judged(watch(http()), &missing)), "not proven within 20s: GET / answered 404");
    }

    #[test]
    fn an_exit_fails_at_once_with_its_code() {
        let exited = with_life(Life::Exited { code: 3, out_of_memory: false });
        assert_eq!(failure(judged(watch(http()), &[good(), exited])), "the container exited with code 3");
        let finished = with_life(Life::Exited { code: 0, out_of_memory: false });
        assert_eq!(failure(judged(watch(Judge::Uptime), &[finished])), "the container exited with code 0");
    }

    #[test]
    fn a_kill_for_want_of_memory_is_named_as_such() {
        let killed = with_life(Life::Exited { code: 137, out_of_memory: true });
        assert_eq!(failure(judged(watch(http()), &[killed])), "the container was killed for want of memory");
    }

    #[test]
    fn a_restart_by_docker_fails_at_once_even_when_it_runs_again() {
        let again = Sample { restarts: 1, ..good() };
        let why = failure(judged(watch(http()), &[good(), again]));
        assert_eq!(why, "the container ended and Docker restarted it");
        let why = failure(judged(watch(http()), &[with_life(Life::Restarting)]));
        assert_eq!(why, "the container ended and Docker is restarting it");
    }

    #[test]
    fn restarts_of_an_earlier_life_do_not_count() {
        let old = Sample { restarts: 7, ..good() };
        assert_eq!(judged(watch(http()), &vec![old; 5]), Verdict::Proven);
    }

    #[test]
    fn a_restart_by_a_person_begins_the_proof_again() {
        let later = Sample { life: started_at(4), ..good() };
        let samples = [vec![good(); 4], vec![later.clone(); 5]].concat();
        assert_eq!(judged(watch(http()), &samples), Verdict::Waiting);
        let samples = [samples, vec![later]].concat();
        assert_eq!(judged(watch(http()), &samples), Verdict::Proven);
    }

    #[test]
    fn unhealthy_fails_at_once_only_where_the_healthcheck_is_the_judge() {
        let samples = [with_health(HealthStatus::Starting), with_health(HealthStatus::Unhealthy)];
        let why = failure(judged(watch(Judge::HealthCheck), &samples));
        assert_eq!(why, "the image's HEALTHCHECK says unhealthy");
        let answers_all_the_same = Sample { health: Some(HealthStatus::Unhealthy), ..good() };
        assert_eq!(judged(watch(http()), &vec![answers_all_the_same; 5]), Verdict::Proven);
    }

    #[test]
    fn a_slow_healthcheck_is_waited_for() {
        let starting = vec![with_health(HealthStatus::Starting); 15];
        let samples = [starting.clone(), vec![with_health(HealthStatus::Healthy); 3]].concat();
        assert_eq!(judged(watch(Judge::HealthCheck), &samples), Verdict::Proven);
        let never = [starting.clone(), starting].concat();
        assert_eq!(
            failure(judged(watch(Judge::HealthCheck), &never)),
            "not proven within 20s: the image's HEALTHCHECK has not passed yet"
        );
    }

    #[test]
    fn a_port_nobody_listens_on_is_named_when_the_time_is_up() {
        let why = failure(judged(watch(Judge::Tcp(8080)), &vec![running(refused()); 20]));
        assert_eq!(why, "not proven within 20s: nothing listens on port 8080: connection refused");
        assert_eq!(judged(watch(Judge::Tcp(8080)), &vec![running(Probe::Connected); 5]), Verdict::Proven);
    }

    #[test]
    fn without_anything_to_ask_uptime_alone_proves() {
        assert_eq!(judged(watch(Judge::Uptime), &vec![running(Probe::NotProbed); 4]), Verdict::Waiting);
        assert_eq!(judged(watch(Judge::Uptime), &vec![running(Probe::NotProbed); 5]), Verdict::Proven);
    }

    #[test]
    fn a_container_that_does_not_run_is_never_proven() {
        for life in [Life::Created, Life::Paused] {
            let why = failure(judged(watch(Judge::Uptime), &vec![with_life(life); 20]));
            assert_eq!(why, format!("not proven within 20s: the container is not running ({life})"));
        }
    }

    #[test]
    fn a_flapping_answer_is_not_proven_and_the_last_word_says_how_far_it_came() {
        let flapping: Vec<Sample> =
            (0..20).map(|n| if n % 3 == 2 { running(refused()) } else { good() }).collect();
        assert_eq!(
            failure(judged(watch(http()), &flapping)),
            "not proven within 20s: 2 of 3 good samples in a row (GET / answers 2xx or 3xx)"
        );
    }
}
