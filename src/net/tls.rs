//! TLS by `rustls`: the cryptography provider of the process, and certificates from files.

use std::{fmt, path::Path, sync::Arc};

use anyhow::Context;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use crate::config::{Config, Problem, Problems, Tls};

/// Installs `ring` as the cryptography of every client and server in the process. Later calls change nothing.
pub fn install_crypto_provider() {
    let _ = ring::default_provider().install_default();
}

/// A certificate with its chain and its private key.
pub type Certificate = Arc<CertifiedKey>;

/// The certificates of the servers that use TLS.
#[derive(Debug)]
pub struct Certificates {
    /// The certificate of the HTTP server.
    pub server: Option<Certificate>,
    /// The certificate of the Envoy server.
    pub ext_proc: Option<Certificate>,
}

impl Certificates {
    /// Loads the files that the configuration names.
    ///
    /// # Errors
    /// For each server, which file is missing or not PEM, or that the key does not belong to the certificate.
    pub fn load(config: &Config) -> Result<Self, Problems> {
        let load = |path: &str, files: Option<&Tls>| {
            let loaded = files.map(load_certificate).transpose();
            loaded.map_err(|error| Problem::new(path, format!("{error:#}")))
        };
        let envoy = config
            .ext_proc
            .as_ref()
            .and_then(|ext_proc| ext_proc.tls.as_ref());
        let server = load("server.tls", config.server.tls.as_ref());
        match (server, load("ext_proc.tls", envoy)) {
            (Ok(server), Ok(ext_proc)) => Ok(Self { server, ext_proc }),
            (server, ext_proc) => {
                let problems = [server.err(), ext_proc.err()];
                Err(Problems(problems.into_iter().flatten().collect()))
            }
        }
    }
}

fn load_certificate(files: &Tls) -> anyhow::Result<Certificate> {
    let at = |file: &Path| file.display().to_string();
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the certificate {}", at(&files.cert)))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("cannot read the private key {}", at(&files.key)))?;
    let certificate =
        CertifiedKey::from_der(chain, key, &ring::default_provider()).with_context(|| {
            let (cert, key) = (at(&files.cert), at(&files.key));
            format!("the certificate {cert} and the key {key} do not go together")
        })?;
    Ok(Arc::new(certificate))
}

/// Builds an acceptor that asks `current` for the certificate of each connection, so that a renewed one is used at once.
/// `alpn`: the protocols that are offered, such as `h2`.
pub fn acceptor(
    current: impl Fn() -> Option<Certificate> + Send + Sync + 'static,
    alpn: &[&str],
) -> TlsAcceptor {
    install_crypto_provider();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(current)));
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

struct Resolver<F>(F);

impl<F> fmt::Debug for Resolver<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl<F> ResolvesServerCert for Resolver<F>
where
    F: Fn() -> Option<Certificate> + Send + Sync,
{
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Certificate> {
        (self.0)()
    }
}
