//! A certificate for the world's mail server and the authority that signed it, made by openssl.

use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// Where the parts of it stand.
pub struct Certificate {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Makes one for `localhost` and this address.
    pub fn make(address: IpAddr, folder: &Path) -> Self {
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let extensions = folder.join("extensions");
        std::fs::write(
            &extensions,
            format!("subjectAltName=DNS:localhost,IP:{address}\nbasicConstraints=CA:FALSE\n"),
        )
        .expect("write the certificate's extensions");
        let authority = ["req", "-x509", "-days", "30", "-subj", "/CN=Authority of a simulated world"];
        let files = ["-keyout", "ca.key", "-out", "ca.pem", "-addext", "keyUsage=critical,keyCertSign"];
        openssl(folder, &[&authority[..], &curve[..], &files[..]].concat());
        let request = ["req", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"];
        openssl(folder, &[&request[..], &curve[..]].concat());
        let sign =
            ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
        let signed = ["-days", "30", "-extfile", "extensions", "-out", "server.pem"];
        openssl(folder, &[&sign[..], &signed[..]].concat());
        Self {
            authority: folder.join("ca.pem"),
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
        }
    }

    /// The authority's certificate.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// The server's certificate.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// The server's key.
    pub fn key(&self) -> &Path {
        &self.key
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().expect("run openssl");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
