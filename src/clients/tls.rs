//! TLS as every HTTP client speaks it: rustls with ring, and the certificate authorities of this machine (or of
//! the file that `SSL_CERT_FILE` names). They are most of what an idle client holds, so they are read once and
//! shared. Takes nothing; gives rustls's settings, to the neighbouring files only. Must not read anything again:
//! whoever wants the authorities of now opens a new one.

use anyhow::Context;
use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt;

/// What all HTTP clients of a configuration share. Clones share the authorities.
#[derive(Debug, Clone)]
pub struct Tls {
    config: ClientConfig,
}

impl Tls {
    /// Reads the authorities.
    ///
    /// # Errors
    /// If this machine has none.
    pub fn open() -> anyhow::Result<Self> {
        provide();
        let mut config = ClientConfig::with_platform_verifier().context(
            "prepare TLS (if this machine has no certificates, install the package ca-certificates)",
        )?;
        // One question at a time to each server is all that is asked: a second protocol would only cost memory.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config })
    }

    pub(super) fn config(&self) -> ClientConfig {
        self.config.clone()
    }
}

/// Rustls panics without a provider where several are compiled in. One that is already there is kept.
pub(super) fn provide() {
    rustls::crypto::ring::default_provider().install_default().ok();
}
