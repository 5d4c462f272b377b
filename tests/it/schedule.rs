//! The timetable: schedules become events, and a stopped timetable sends none.

use std::time::Duration;

use homeport::clients::clock::Clock;
use homeport::config::duration::Schedule;
use homeport::event::Event;
use homeport::schedule::Timetable;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

async fn next(inbox: &mut UnboundedReceiver<Event>) -> Option<Event> {
    timeout(LONG, inbox.recv()).await.expect("an event within its time")
}

#[tokio::test]
async fn a_duration_fires_at_once_and_then_again_and_again() {
    let (events, mut inbox) = unbounded_channel();
    let mut timetable = Timetable::new(Clock::real(), events);
    timetable.add(&Schedule::Every(Duration::from_millis(5)), || Event::MailDue).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(next(&mut inbox).await, Some(Event::MailDue)));
    }
    timetable.stop().await;
    while inbox.try_recv().is_ok() {}
    assert!(next(&mut inbox).await.is_none(), "a stopped timetable holds on to its way to send");
}

#[tokio::test]
async fn a_cron_expression_of_every_second_fires_and_ends_with_its_timetable() {
    let (events, mut inbox) = unbounded_channel();
    let mut timetable = Timetable::new(Clock::real(), events);
    let every_second: Schedule = serde_json::from_str("\"* * * * * *\"").unwrap();
    assert!(matches!(every_second, Schedule::Cron(_)), "{every_second:?}");
    timetable.add(&every_second, || Event::ConfigChanged).await.unwrap();
    assert!(matches!(next(&mut inbox).await, Some(Event::ConfigChanged)));
    assert!(matches!(next(&mut inbox).await, Some(Event::ConfigChanged)));
    timetable.stop().await;
    while inbox.try_recv().is_ok() {}
    assert!(next(&mut inbox).await.is_none(), "a stopped timetable holds on to its way to send");
}
