//! What a story expects. Each waits for its effect as long as a slow machine may need, then fails with the
//! place in the test that expected it; the world's journal follows by itself.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;
use std::time::Instant;

use crate::world::World;
use crate::world::mail::Mail;
use crate::world::mail::MailMode;
use crate::world::requests::RequestLog;

const DEADLINE: Duration = Duration::from_secs(30);

impl World {
    /// The service's page holds this text, now or soon.
    #[track_caller]
    pub fn expect_serving(&self, text: &str) -> impl Future<Output = ()> {
        let (at, text) = (Location::caller(), text.to_owned());
        async move {
            if let Err(last) = self.engine.wait_until_serving(self.port(), &text, DEADLINE).await {
                panic!("{at}: port {} does not serve {text:?}: {last}", self.port());
            }
        }
    }

    /// Nothing answers at the service's port.
    #[track_caller]
    pub fn expect_not_serving(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            if let Ok(answer) = self.engine.http_get(self.port(), "/").await {
                panic!("{at}: port {} answers {answer:?}", self.port());
            }
        }
    }

    /// The project's container runs the image with this digest.
    #[track_caller]
    pub fn expect_running(&self, digest: &str) -> impl Future<Output = ()> {
        self.expect_container(self.project(), "running", digest)
    }

    /// There is a container of this name in this state (`running`, `exited` …), made from this digest.
    #[track_caller]
    pub fn expect_container(&self, name: &str, state: &str, digest: &str) -> impl Future<Output = ()> {
        let (at, name, state, digest) =
            (Location::caller(), name.to_owned(), state.to_owned(), digest.to_owned());
        async move {
            let found = eventually(async || {
                let inspected = self.engine.inspect(&name).await.ok_or("there is none")?;
                let now = inspected["State"]["Status"].as_str().unwrap_or_default().to_owned();
                let digests = self.engine.digests_of(&name).await;
                let is_right = now == state && digests.contains(&digest);
                if is_right { Ok(()) } else { Err(format!("it is {now}, of {digests:?}")) }
            });
            if let Err(last) = found.await {
                panic!("{at}: no container {name} is {state} with {digest}: {last}");
            }
        }
    }

    /// Of this world's containers there are the project's own, and at most its previous one and a proxy of the test's.
    #[track_caller]
    pub fn expect_no_leftovers(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        let [previous, proxy] = ["previous", "proxy"].map(|part| format!("{}.{part}", self.project()));
        let known = [self.project().to_owned(), previous, proxy];
        async move {
            let found = eventually(async || {
                let all = self.engine.containers().await;
                let left: Vec<_> =
                    all.into_iter().filter(|container| !known.contains(&container.name)).collect();
                if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
            });
            if let Err(last) = found.await {
                panic!("{at}: containers are left over: {last}");
            }
        }
    }

    /// A mail with this in its subject has come or comes soon; it is read then.
    #[track_caller]
    pub fn expect_mail(&self, subject_part: &str) -> impl Future<Output = Mail> {
        let (at, part) = (Location::caller(), subject_part.to_owned());
        async move {
            let found = self.mail.wait_for_mail(|mail| mail.subject.contains(&part), DEADLINE).await;
            found.unwrap_or_else(|| {
                let subjects: Vec<String> = self.mail.unread().into_iter().map(|mail| mail.subject).collect();
                panic!("{at}: no mail's subject holds {part:?}; unread: {subjects:?}")
            })
        }
    }

    /// Every mail that was delivered has been read by the test.
    #[track_caller]
    pub fn expect_no_unread_mail(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let unread: Vec<String> = self.mail.unread().into_iter().map(|mail| mail.subject).collect();
            assert!(unread.is_empty(), "{at}: mails that nobody expected: {unread:?}");
        }
    }

    /// These are the image's tags in the registry, in any order.
    #[track_caller]
    pub fn expect_tags(&self, tags: &[&str]) -> impl Future<Output = ()> {
        let at = Location::caller();
        let mut wanted: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        wanted.sort();
        async move {
            let image = self.image();
            let found = eventually(async || {
                let tags = self.registry.tags(&image).await;
                if tags == wanted { Ok(()) } else { Err(format!("{tags:?}")) }
            });
            if let Err(last) = found.await {
                panic!("{at}: the tags of {image} are not {wanted:?} but {last}");
            }
        }
    }

    /// The last commit status of this commit is this one.
    #[track_caller]
    pub fn expect_status(&self, sha: &str, state: &str) -> impl Future<Output = ()> {
        let (at, sha, state) = (Location::caller(), sha.to_owned(), state.to_owned());
        async move {
            let found = eventually(async || {
                let all = self.github.statuses();
                let last = all.into_iter().rfind(|status| status.sha == sha).map(|status| status.state);
                if last.as_ref() == Some(&state) { Ok(()) } else { Err(format!("{last:?}")) }
            });
            if let Err(last) = found.await {
                panic!("{at}: the status of {sha} is not {state} but {last}");
            }
        }
    }

    /// GitHub has been asked once more than now with this method for a path that contains this.
    pub async fn wait_for_next_poll(&self, method: &str, path_part: &str) {
        wait_for_next(self.github.requests(), method, path_part).await;
    }

    /// Docker Hub has been asked once more than now for the tags.
    pub async fn wait_for_next_hub_poll(&self) {
        wait_for_next(self.hub.requests(), "GET", "/tags").await;
    }
}

async fn wait_for_next(requests: &RequestLog, method: &str, path_part: &str) {
    let before = requests.count(method, path_part);
    let asked = eventually(async || {
        let now = requests.count(method, path_part);
        if now > before { Ok(()) } else { Err(format!("still {now}")) }
    });
    if let Err(last) = asked.await {
        panic!("nobody asked again for {method} {path_part}: {last}");
    }
}

/// What a mail or a log says, whatever its lines are broken at.
pub fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Tries until it is so; the last failure if it never is.
pub async fn eventually<E: Into<String>>(
    mut attempt: impl AsyncFnMut() -> Result<(), E>,
) -> Result<(), String> {
    let end = Instant::now() + DEADLINE;
    loop {
        match attempt().await {
            Ok(()) => return Ok(()),
            Err(last) if Instant::now() >= end => return Err(last.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
