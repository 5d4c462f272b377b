//! Tests that wait until the story lets them pass, so that a run can be caught in the middle.

use std::future::Future;
use std::panic::Location;

use serde_json::json;

use crate::world::World;
use crate::world::assertions::eventually;

impl World {
    /// From the next start of the agent on, each run's tests wait for [`World::let_pass`].
    pub fn gate_tests(&self) {
        let wait = "echo waiting at the gate; while test ! -e /open; do usleep 20000; done";
        self.agent.set("/projects/0/test/commands", json!([wait, "sh test.sh"]));
    }

    /// The tests of this run have come to the gate.
    #[track_caller]
    pub fn wait_at_gate(&self, run: u64) -> impl Future<Output = ()> {
        let at = Location::caller();
        let log_name = format!("_run-{run:06}.log");
        async move {
            let waits = eventually(async || {
                let log = self.agent.run_logs().into_iter().find(|(name, _)| name.ends_with(&log_name));
                let (_, log) = log.ok_or("there is no such run")?;
                if log.contains("| waiting at the gate") { Ok(()) } else { Err("its tests have not begun") }
            });
            if let Err(last) = waits.await {
                panic!("{at}: run {run} does not wait at the gate: {last}");
            }
        }
    }

    /// Waits until the tests of this run are at the gate, and opens it for them.
    #[track_caller]
    pub fn let_pass(&self, run: u64) -> impl Future<Output = ()> {
        let waits = self.wait_at_gate(run);
        let name = self.test_container(run);
        async move {
            waits.await;
            let opened = self.engine.docker(&["exec", &name, "touch", "/open"]).await;
            // Tests that pass at once may end it, and their container with it, before it says that it is done.
            if let Err(error) = opened {
                let gone = eventually(async || match self.engine.inspect(&name).await {
                    None => Ok(()),
                    Some(_) => Err(error.clone()),
                });
                gone.await.expect("open the gate");
            }
        }
    }

    fn test_container(&self, run: u64) -> String {
        format!("{}.test-{run}", self.project())
    }
}
