//! A real `sshd` in front of git repositories, with host and user keys of its own. It runs nothing but what a git server
//! runs for a deploy key, and remembers what it was asked.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use crate::git_server::run;

/// The server; ends when dropped.
pub struct SshServer {
    pub url: Url,
    folder: TempDir,
    _serving: AbortOnDropHandle<()>,
}

impl SshServer {
    /// Serves the repositories below `root`. Contents of LFS files are at this HTTP server, with this login.
    pub async fn start(root: &Path, lfs: &Url, login: &str) -> Self {
        // sshd wants this folder, which its service makes.
        fs::create_dir_all("/run/sshd").unwrap();
        let folder = TempDir::new().unwrap();
        let here = folder.path();
        for key in ["host", "other-host", "deploy", "stranger"] {
            run(here, &["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key]);
        }
        let lfs = lfs.as_str().trim_end_matches('/');
        let script = format!(
            "#!/bin/sh\necho \"$SSH_ORIGINAL_COMMAND\" >> {here}/asked\nset -f\nset -- $SSH_ORIGINAL_COMMAND\n\
             path=$(echo \"$2\" | tr -d \"'\")\n\
             [ -d {root}/$path ] || {{ echo 'ERROR: Repository not found.' >&2; exit 1; }}\n\
             case $1 in\n\
             git-upload-pack) exec git upload-pack {root}/$path ;;\n\
             git-lfs-authenticate) echo '{{\"href\": \"{lfs}'$path'/info/lfs\", \"header\": {{\"Authorization\": \"Basic {login}\"}}}}' ;;\n\
             *) echo \"Invalid command: $1\" >&2; exit 1 ;;\nesac\n",
            here = here.display(),
            root = root.display()
        );
        fs::write(here.join("draft"), script).unwrap();
        run(here, &["install", "-m755", "draft", "forced"]);
        let public = fs::read_to_string(here.join("deploy.pub")).unwrap();
        let entry = format!("restrict,command=\"{}/forced\" {public}", here.display());
        fs::write(here.join("authorized_keys"), entry).unwrap();
        let config = format!(
            "HostKey {0}/host\nAuthorizedKeysFile {0}/authorized_keys\nStrictModes no\nUsePAM no\nPidFile none\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nAcceptEnv GIT_PROTOCOL\n",
            here.display()
        );
        fs::write(here.join("config"), config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let user = run(here, &["id", "-un"]);
        let url = format!("ssh://{}@{}/", user.trim(), listener.local_addr().unwrap());
        let config = here.join("config");
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let stream = stream.into_std().unwrap();
                stream.set_nonblocking(false).unwrap();
                let (input, output) = (OwnedFd::from(stream.try_clone().unwrap()), OwnedFd::from(stream));
                let mut sshd = tokio::process::Command::new("/usr/sbin/sshd");
                sshd.arg("-i").arg("-e").arg("-f").arg(&config).stdin(input).stdout(output);
                let mut sshd = sshd.stderr(std::process::Stdio::null()).spawn().unwrap();
                tokio::spawn(async move { sshd.wait().await });
            }
        });
        Self { url: Url::parse(&url).unwrap(), folder, _serving: AbortOnDropHandle::new(serving) }
    }

    /// The private half of a key: `deploy` opens the repositories, `stranger` does not.
    pub fn key(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// A public half, without what follows it.
    pub fn public_key(&self, name: &str) -> String {
        let text = fs::read_to_string(self.folder.path().join(format!("{name}.pub"))).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// A line of known hosts, with this key.
    pub fn known_host(&self, key: &str) -> String {
        let port = self.url.port().unwrap();
        format!("[127.0.0.1]:{port} {}\n", self.public_key(key))
    }

    /// What it was asked to run since the last look.
    pub fn take_asked(&self) -> Vec<String> {
        let file = self.folder.path().join("asked");
        let asked = fs::read_to_string(&file).unwrap_or_default();
        fs::remove_file(file).ok();
        asked.lines().map(str::to_owned).collect()
    }
}

/// Fails if a text is in a file below this folder.
pub fn expect_nowhere_below(folder: &Path, secret: &str) {
    let found = Command::new("grep").args(["-rF", "--", secret]).arg(folder).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the secret is in files");
}
