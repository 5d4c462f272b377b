//! A real engine and real registries for the tests of the Docker client. Everything a test makes carries the
//! test's own unique project name and is removed when the bed is dropped, also by a failing test.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use homeport::ci::context::Context;
use homeport::clients::docker::BuildContext;
use homeport::clients::docker::BuildError;
use homeport::clients::docker::BuildRequest;
use homeport::clients::docker::Builder;
use homeport::clients::docker::Docker;
use homeport::clients::docker::ImageReference;
use homeport::config::settings::ContainerSpec;
use homeport::config::settings::Login;
use homeport::config::settings::Proof;
use homeport::model::ContainerName;
use homeport::model::LABEL_PROJECT;
use homeport::model::LABEL_ROLE;
use homeport::model::ProjectName;
use homeport::model::ROLE_IMAGE;
use homeport::model::ROLE_SERVICE;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

/// What no call of a test may take.
pub const LIMIT: Duration = Duration::from_secs(120);
/// A service that says when it is up and stops when it is asked to.
pub const SERVICE: &str =
    r#"CMD ["/bin/sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done"]"#;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// One test's share of the engine.
pub struct Bed {
    pub docker: Docker,
    pub project: ProjectName,
    image_labels: BTreeMap<String, String>,
    files: TempDir,
    log: Mutex<Vec<u8>>,
}

impl Bed {
    pub fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let project = format!("it-{}-{number}", std::process::id());
        let files = tempfile::tempdir().unwrap();
        fs::copy("/bin/busybox", files.path().join("busybox")).unwrap();
        Self {
            docker: Docker::connect("unix:///var/run/docker.sock").unwrap(),
            image_labels: labels_of(&project, ROLE_IMAGE),
            project: project.parse().unwrap(),
            files,
            log: Mutex::default(),
        }
    }

    /// The folder that [`Bed::try_build`] sends.
    pub fn files(&self) -> &Path {
        self.files.path()
    }

    /// Everything that was written to the output so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    /// An output that [`Bed::output`] shows.
    pub fn out(&self) -> impl Fn(&[u8]) + Send + Sync {
        |bytes: &[u8]| self.log.lock().unwrap().extend_from_slice(bytes)
    }

    /// A name that no other test has.
    pub fn name(&self, suffix: &str) -> ContainerName {
        format!("{}{suffix}", self.project).parse().unwrap()
    }

    /// A reference that no other test has, in a registry.
    pub fn image_in(&self, registry: &str, tag: &str) -> ImageReference {
        ImageReference::tagged(
            registry,
            &format!("me/{}", self.project).parse().unwrap(),
            &tag.parse().unwrap(),
        )
    }

    pub fn labels(&self, role: &str) -> BTreeMap<String, String> {
        labels_of(self.project.as_str(), role)
    }

    /// Builds an image with a shell and these further lines.
    pub async fn image(&self, lines: &str) -> String {
        let dockerfile = format!(
            "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n{lines}\n"
        );
        self.try_build(Builder::BuildKit, &dockerfile, LIMIT).await.unwrap()
    }

    pub async fn try_build(
        &self,
        builder: Builder,
        dockerfile: &str,
        timeout: Duration,
    ) -> Result<String, BuildError> {
        self.try_build_with(builder, dockerfile, &[], timeout).await
    }

    /// Builds an image with secrets: their ids and values.
    pub async fn try_build_with(
        &self,
        builder: Builder,
        dockerfile: &str,
        secrets: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<String, BuildError> {
        // The label keeps this test from another's cache, and leads to what a failed classic build leaves behind.
        let labelled = format!("FROM scratch\nLABEL {LABEL_PROJECT}={}\n", self.project);
        let dockerfile = dockerfile.replacen("FROM scratch\n", &labelled, 1);
        fs::write(self.files().join("Dockerfile"), dockerfile).unwrap();
        let context = Context::for_build(self.files(), ".", "Dockerfile").await.unwrap();
        let args = BTreeMap::from([("WORD".to_owned(), "from an arg".to_owned())]);
        let request = BuildRequest {
            names: &[self.image_in("docker.io", "built")],
            args: &args,
            secrets: &secrets.iter().map(|&(id, value)| (id.to_owned(), value.into())).collect(),
            timeout,
            ..self.request(Arc::new(context))
        };
        self.docker.build_with(builder, request, &self.out()).await
    }

    /// A build with nothing special about it.
    pub fn request(&self, context: Arc<dyn BuildContext>) -> BuildRequest<'_> {
        BuildRequest { tree: self.project.as_str(), labels: &self.image_labels, ..plain_request(context) }
    }

    /// The specification of a service with nothing special about it.
    pub fn spec(&self) -> ContainerSpec {
        ContainerSpec {
            labels: BTreeMap::new(),
            name: self.name(""),
            ports: Vec::new(),
            env: BTreeMap::new(),
            volumes: Vec::new(),
            network: None,
            stop_grace: Duration::from_secs(5),
            proof: Proof::default(),
        }
    }

    /// A running service of this image.
    pub async fn started(&self, image: &str, suffix: &str) -> homeport::model::ContainerId {
        let labels = self.labels(ROLE_SERVICE);
        let id = self.docker.create(&self.name(suffix), &self.spec(), image, &labels).await.unwrap();
        self.docker.start(&id).await.unwrap();
        id
    }
}

fn labels_of(project: &str, role: &str) -> BTreeMap<String, String> {
    let pairs = [(LABEL_PROJECT, project), (LABEL_ROLE, role)];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// A build with nothing special about it, whose image nobody will clear away.
pub fn plain_request(context: Arc<dyn BuildContext>) -> BuildRequest<'static> {
    static NOTHING: BTreeMap<String, String> = BTreeMap::new();
    static NO_SECRETS: BTreeMap<String, SecretString> = BTreeMap::new();
    BuildRequest {
        context,
        tree: "homeport/it",
        dockerfile: "Dockerfile",
        names: &[],
        args: &NOTHING,
        target: None,
        platform: None,
        labels: &NOTHING,
        secrets: &NO_SECRETS,
        login: None,
        cgroup_parent: None,
        has_network: true,
        timeout: LIMIT,
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let label = format!("label={LABEL_PROJECT}={}", self.project);
        remove(&["ps", "-aq", "--filter", &label], &["rm", "-f", "-v"]);
        for filter in
            [label, format!("reference=*/*/{}", self.project), format!("reference=*/{}", self.project)]
        {
            remove(&["images", "-q", "--filter", &filter], &["rmi", "-f"]);
        }
    }
}

/// Removes what a listing of this test's own things shows.
fn remove(list: &[&str], remove: &[&str]) {
    let found = Command::new("docker").args(list).output().unwrap();
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    if !found.trim().is_empty() {
        let ids = found.split_whitespace();
        drop(
            Command::new("docker")
                .args(remove)
                .args(ids)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status(),
        );
    }
}

/// A registry of one's own.
pub struct Registry {
    pub address: String,
    child: Child,
    _files: TempDir,
}

impl Registry {
    /// One that anybody may use.
    pub fn open() -> Self {
        Self::start(|_| String::new())
    }

    /// One that knows one user.
    pub fn with_user(user: &str, password: &str) -> Self {
        Self::start(|files| {
            let users = files.join("users");
            let made = Command::new("htpasswd").arg("-Bbn").args([user, password]).output().unwrap();
            fs::write(&users, made.stdout).unwrap();
            format!("auth:\n  htpasswd:\n    realm: it\n    path: {}\n", users.display())
        })
    }

    fn start(auth: impl Fn(&Path) -> String) -> Self {
        let files = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let config = files.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n{}",
            files.path().join("data").display(),
            auth(files.path())
        );
        fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the registry answers", || TcpStream::connect(&address).is_ok());
        Self { address, child, _files: files }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn login(username: &str, password: &str) -> Login {
    Login { username: username.to_owned(), password: password.to_owned().into() }
}

/// Polls for an effect.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Polls for an effect that is asked for asynchronously.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a process with this argument runs anywhere on the machine, in a container or not.
pub fn is_running(argument: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("cmdline"));
    processes
        .filter_map(|path: PathBuf| fs::read(path).ok())
        .any(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
}

/// A way to the engine that can be cut and be made mute.
pub struct Line {
    pub host: String,
    is_mute: Arc<AtomicBool>,
    /// A connection lasts until its sender is dropped.
    connections: Arc<Mutex<Vec<oneshot::Sender<()>>>>,
    _files: TempDir,
}

impl Line {
    pub fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let connections: Arc<Mutex<Vec<oneshot::Sender<()>>>> = Arc::default();
        let is_mute = Arc::new(AtomicBool::new(false));
        let (opened, muted) = (Arc::clone(&connections), Arc::clone(&is_mute));
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (until_cut, cut) = oneshot::channel::<()>();
                opened.lock().unwrap().push(until_cut);
                let muted = Arc::clone(&muted);
                tokio::spawn(async move {
                    if muted.load(Ordering::Relaxed) {
                        return drop(cut.await);
                    }
                    let mut far = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut => {}
                    }
                });
            }
        });
        Self { host: format!("unix://{}", path.display()), is_mute, connections, _files: files }
    }

    /// Cuts what is connected now; new connections work.
    pub fn cut(&self) {
        self.open().clear();
    }

    /// Cuts the connection that was opened before all others that still are.
    pub fn cut_oldest(&self) {
        self.open().remove(0);
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.open().len()
    }

    fn open(&self) -> MutexGuard<'_, Vec<oneshot::Sender<()>>> {
        let mut connections = self.connections.lock().unwrap();
        connections.retain(|connection| !connection.is_closed());
        connections
    }

    /// From now on connections are accepted, and nothing is ever answered.
    pub fn mute(&self) {
        self.is_mute.store(true, Ordering::Relaxed);
    }
}
