//! The build of a tree of 1 GB: how long from the first file to the image, beside `docker build` of the same tree, and
//! how much memory the agent holds. Of random bytes, so that nothing can be saved by packing; each tree is another,
//! also from one bench to the next, so that neither finds anything of it in a cache.

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use crate::docker_client::DockerClient;
use crate::figures::Figures;
use crate::moment;
use crate::table::Row;
use crate::table::Table;
use crate::table::megabytes;
use crate::watched;
use crate::world::World;
use crate::world::app::BASE_IMAGE;
use crate::world::repository::git;
use crate::world::repository::scrubbed_git;

const FILE: usize = 1_000_000;
const FOLDERS: usize = 100;
const MOST_MEMORY: u64 = 16_000_000;
/// The step in which the engine gets the files.
const SENDING: &str = " [internal] load build context";

/// What was measured.
pub struct LargeContexts {
    size: usize,
    homeport: Builds,
    docker: Builds,
    most_memory: u64,
}

/// Builds of one kind: until the engine has all files where a build finds them, and in all.
#[derive(Default)]
struct Builds {
    sent: Vec<Duration>,
    built: Vec<Duration>,
}

/// So many trees of so many megabytes.
pub async fn measure(world: &World, files: usize, rounds: u64) -> LargeContexts {
    world.agent.unset("/email");
    world.only_build();
    let docker = DockerClient::find(world).await;
    let (mut by_homeport, mut by_docker, mut most_memory) = (Builds::default(), Builds::default(), 0);
    for round in 1..=rounds {
        commit(world, files, round).expect("write a large commit");
        let pass = watched::once(world).await;
        most_memory = pass.most_memory.max(most_memory);
        by_homeport.add(built_in(world).await);
        by_docker.add(build_by_docker(world, &docker).await);
    }
    LargeContexts { size: files * FILE, homeport: by_homeport, docker: by_docker, most_memory }
}

impl Builds {
    fn add(&mut self, (sent, built): (Duration, Duration)) {
        self.sent.push(sent);
        self.built.push(built);
    }
}

/// From the first line of the newest run's build to the end of its unpacking, and to the last line.
async fn built_in(world: &World) -> (Duration, Duration) {
    let run = world.runs().await.last().expect("the run is listed").number;
    let log = world.log_of(run).await;
    let at = |text: &str| moment::of_line(&log, text).expect("the run log has the build");
    let began = at(" building Dockerfile ");
    let sent = at(&format!("| {} DONE ", step(&log, SENDING)));
    (moment::between(began, sent), moment::between(began, at(" built sha256:")))
}

/// `#4`, of the step that is called so in the output of BuildKit.
fn step<'a>(log: &'a str, name: &str) -> &'a str {
    let line = log.lines().find_map(|line| line.strip_suffix(name)).expect("the build has this step");
    line.rsplit(' ').next().unwrap_or(line)
}

async fn build_by_docker(world: &World, docker: &DockerClient) -> (Duration, Duration) {
    let tree = lay_out(world).await;
    let context = tree.to_str().expect("a path in UTF-8");
    let tag = format!("{}-large:1", world.prefix());
    let began = Instant::now();
    let log = docker.run(&["build", "--progress=plain", "--no-cache", "--tag", &tag, context]).await;
    let built = began.elapsed();
    std::fs::remove_dir_all(&tree).expect("remove the tree");
    let done = format!("{} DONE ", step(&log, SENDING));
    let sent = log.lines().find_map(|line| line.strip_prefix(&done)?.trim_end_matches('s').parse().ok());
    (Duration::from_secs_f64(sent.expect("the build says how long that took")), built)
}

/// The tree as files, such as the agent's checkout makes it.
async fn lay_out(world: &World) -> PathBuf {
    let tree = world.folder().join("tree");
    let folder = tree.to_str().expect("a path in UTF-8");
    git(
        world.folder(),
        &["clone", "--quiet", "--depth=1", &format!("file://{}", world.repo.directory().display()), folder],
    )
    .await
    .expect("clone the repository");
    std::fs::remove_dir_all(tree.join(".git")).expect("remove the clone's own files");
    tree
}

fn commit(world: &World, files: usize, round: u64) -> io::Result<()> {
    let mut git = scrubbed_git()
        .arg("-C")
        .arg(world.repo.directory())
        // Random bytes get no smaller by trying.
        .args([
            "-c",
            "core.compression=0",
            "-c",
            "pack.compression=0",
            "fast-import",
            "--quiet",
            "--force",
            "--done",
        ])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut stream = BufWriter::new(git.stdin.take().expect("stdin is piped"));
    write_commit(&mut stream, files, round)?;
    drop(stream);
    assert!(git.wait()?.success(), "git refused a large commit");
    Ok(())
}

fn write_commit(stream: &mut impl Write, files: usize, round: u64) -> io::Result<()> {
    let image = format!(
        "FROM {BASE_IMAGE} AS all\nCOPY . /tree\nRUN [\"sh\", \"-c\", \"du -s /tree > /size\"]\nFROM {BASE_IMAGE}\nCOPY --from=all /size /size\n"
    );
    writeln!(
        stream,
        "commit refs/heads/main\ncommitter Mona <mona@example.org> {} +0000",
        1_790_000_000 + round
    )?;
    writeln!(stream, "data 4\nGrow\ndeleteall")?;
    for (path, text) in [("Dockerfile", image.as_str()), ("test.sh", "#!/bin/sh\n")] {
        writeln!(stream, "M 100755 inline {path}\ndata {}\n{text}", text.len())?;
    }
    let mut noise = Noise(RandomState::new().hash_one(round) | 1);
    let mut content = vec![0; FILE];
    for file in 0..files {
        noise.fill(&mut content);
        writeln!(stream, "M 100644 inline {}/{file}\ndata {FILE}", file % FOLDERS)?;
        stream.write_all(&content)?;
        writeln!(stream)?;
    }
    writeln!(stream, "done")
}

/// Random bytes enough for a file that cannot be packed (xorshift64*).
struct Noise(u64);

impl Noise {
    fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
            piece.copy_from_slice(&word[..piece.len()]);
        }
    }
}

impl LargeContexts {
    /// Adds its rows.
    pub fn report(&self, table: &mut Table) {
        let size = megabytes(self.size as u64);
        for (what, homeport, docker) in [
            (format!("until the engine has a tree of {size}"), &self.homeport.sent, &self.docker.sent),
            ("the whole build of that tree".to_owned(), &self.homeport.built, &self.docker.built),
        ] {
            let [homeport, docker] = [homeport, docker].map(|all| Figures::of(all.clone()));
            table.add(Row::of(format!("{what}, by homeport"), homeport.to_string()));
            table.add(Row::of("the same by docker build", docker.to_string()));
            let ratio = homeport.median() / docker.median();
            table.add(Row::of("homeport / docker build", format!("{ratio:.2}")).ratio_at_most(ratio, 1.0));
        }
        let row = Row::of("most memory of the agent in it, PSS", megabytes(self.most_memory));
        table.add(row.aim_at_most(megabytes(MOST_MEMORY), self.most_memory, MOST_MEMORY));
    }
}
