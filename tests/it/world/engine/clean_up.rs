//! Removes what a world has left in an engine: what carries the world's prefix, and nothing else. It blocks, since
//! it runs in drops, and complains about nothing, since others may be removing the same.

use std::process::Command;

/// Removes every container, network, volume and image whose name, labels or image carry the prefix.
pub fn remove_all(host: &str, prefix: &str) {
    let docker = Docker { host, prefix };
    docker.remove(&["rm", "-f", "-v"], &["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{json .}}"]);
    docker.remove(&["network", "rm"], &["network", "ls", "--format", "{{.Name}}"]);
    docker.remove(&["volume", "rm"], &["volume", "ls", "--format", "{{.Name}}"]);
    docker.remove(&["rmi", "-f"], &["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    docker.remove_nameless_images();
}

struct Docker<'a> {
    host: &'a str,
    prefix: &'a str,
}

impl Docker<'_> {
    /// Removes the first words of those lines of a listing that carry the prefix.
    fn remove(&self, how: &[&str], listing: &[&str]) {
        let listed = self.run(listing);
        let ours = listed.lines().filter(|line| line.contains(self.prefix));
        let names: Vec<&str> = ours.filter_map(|line| line.split(' ').next()).collect();
        if !names.is_empty() {
            self.run(&[how, &names].concat());
        }
    }

    /// Builds leave images behind whose name went to a newer one: their labels tell whose they are.
    fn remove_nameless_images(&self) {
        let listed = self.run(&["images", "--quiet", "--no-trunc", "--filter", "dangling=true"]);
        let ids: Vec<&str> = listed.lines().collect();
        if !ids.is_empty() {
            let labels = "{{.Id}} {{json .Config.Labels}} {{json .RepoDigests}}";
            self.remove(&["rmi", "-f"], &[&["image", "inspect", "--format", labels], &ids[..]].concat());
        }
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("docker").args(["--host", self.host]).args(arguments).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }
}
