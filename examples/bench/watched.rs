//! One pass of the agent, its memory watched from the start to the end.

use std::time::Duration;
use std::time::Instant;

use crate::process;
use crate::world::World;

const DEADLINE: Duration = Duration::from_secs(1800);
/// Between two looks at its memory.
const PACE: Duration = Duration::from_millis(20);

/// What one pass took.
pub struct Watched {
    /// From its start to its end.
    pub took: Duration,
    /// The most memory it held: its own pages, and its share of those it has in common with others.
    pub most_memory: u64,
}

/// `homeport once`, which must succeed.
pub async fn once(world: &World) -> Watched {
    let (mut most_memory, began) = (0, Instant::now());
    let agent = world.agent.spawn(&["once"]).await;
    while agent.is_running() {
        assert!(began.elapsed() < DEADLINE, "homeport has not ended after {DEADLINE:?}\n{}", agent.stderr());
        most_memory = most_memory.max(process::memory_of_any(agent.pid()).map_or(0, |memory| memory.pss));
        tokio::time::sleep(PACE).await;
    }
    let took = began.elapsed();
    assert!(agent.wait_end().await.success(), "homeport has failed\n{}", agent.stderr());
    Watched { took, most_memory }
}
