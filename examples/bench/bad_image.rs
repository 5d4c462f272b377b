//! An image that exits at once: how soon after its exit the agent has noticed, and how soon the version before
//! answers again. The exit is the engine's own time of it.

use std::time::Duration;

use chrono::DateTime;
use chrono::Utc;

use crate::figures::Figures;
use crate::moment;
use crate::table::Row;
use crate::table::Table;
use crate::visitor::Visitor;
use crate::world::World;
use crate::world::app::App;
use crate::world::assertions::eventually;

const DEADLINE: Duration = Duration::from_secs(60);
const MOST_TO_NOTICE: u64 = 500;
const MOST_TO_ANSWER: u64 = 1500;
/// What [`App::CrashesAfter`] exits with.
const EXIT_CODE: &str = "4";

/// What was measured.
pub struct BadImages {
    noticed: Figures,
    answers: Figures,
}

/// Publishes so many images that exit within milliseconds, one after the other. `page` serves.
pub async fn measure(world: &World, images: u32, first_tag: u32, page: &str) -> BadImages {
    let running = world.agent.spawn_run().await;
    running.wait_ready().await;
    let (mut noticed, mut answers) = (Vec::new(), Vec::new());
    for number in 1..=images {
        let tag = (first_tag + number).to_string();
        let began = Utc::now();
        let visitor = Visitor::send(world.port());
        visitor.wait_for(page, DEADLINE).await;
        // Each must be another image, or it would be known to be bad.
        world.publish(&tag, &App::CrashesAfter(number)).await;
        let is_over = eventually(async || match running.stderr().matches("run ended: rolled back").count() {
            ended if ended == number as usize => Ok(()),
            ended => Err(format!("only {ended} images are rolled back")),
        });
        is_over.await.expect("the image is rolled back");
        let exit = exit_after(world, began).await;
        let run = world.runs().await.last().expect("the run is listed").number;
        let log = world.log_of(run).await;
        let line = moment::of_line(&log, " failed: ").expect("the run log says that it failed");
        noticed.push(moment::between(exit, line));
        let exit = moment::as_instant(exit);
        let again = visitor.first_after(page, exit).expect("what was proven before the run ended answers");
        answers.push(again.saturating_duration_since(exit));
    }
    assert!(running.terminate().await.success(), "the agent did not end well:\n{}", running.stderr());
    BadImages { noticed: Figures::of(noticed), answers: Figures::of(answers) }
}

/// When the engine saw the sample's own exit.
async fn exit_after(world: &World, began: DateTime<Utc>) -> DateTime<Utc> {
    let (since, until) = (began.to_rfc3339(), Utc::now().to_rfc3339());
    let arguments = ["events", "--since", &since, "--until", &until, "--filter", "event=die", "--format"];
    let format = "{{.TimeNano}} {{.Actor.Attributes.exitCode}} {{.Actor.Attributes.name}}";
    let told = world.engine.docker(&[&arguments[..], &[format]].concat()).await.expect("ask for events");
    let exit = told.lines().find_map(|line| {
        let [nanos, code, name] = line.split_whitespace().collect::<Vec<_>>()[..] else { return None };
        (code == EXIT_CODE && name.starts_with(world.prefix())).then(|| nanos.parse().ok()).flatten()
    });
    DateTime::from_timestamp_nanos(exit.expect("the engine has seen the exit"))
}

impl BadImages {
    /// Adds its rows.
    pub fn report(&self, table: &mut Table) {
        for (measure, figures, most) in [
            ("from an image's exit to its being noticed", &self.noticed, MOST_TO_NOTICE),
            ("from an image's exit to an answer of the version before", &self.answers, MOST_TO_ANSWER),
        ] {
            let row = Row::of(measure, figures.to_string());
            table.add(row.aim_at_most(format!("{most} ms"), figures.median().round() as u64, most));
        }
    }
}
