//! TLS by `rustls`: the choice of its cryptography, once per process, and certificates from files.

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

/// Chooses `ring` for every client and server of the process; later calls change nothing.
pub fn install_crypto_provider() {
    let _ = ring::default_provider().install_default();
}

/// A certificate with its chain and its key.
pub type Certificate = Arc<CertifiedKey>;

/// The certificates of the doors that have one.
#[derive(Debug)]
pub struct Certificates {
    /// Of the HTTP door.
    pub server: Option<Certificate>,
    /// Of the Envoy door.
    pub ext_proc: Option<Certificate>,
}

impl Certificates {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// Of either door, which file is missing, is not PEM, or does not fit the other.
    pub fn load(config: &Config) -> Result<Self, Problems> {
        let read = |path: &str, files: Option<&Tls>| {
            let read = files.map(certificate).transpose();
            read.map_err(|error| Problem::new(path, format!("{error:#}")))
        };
        let envoy = config.ext_proc.as_ref().and_then(|door| door.tls.as_ref());
        let server = read("server.tls", config.server.tls.as_ref());
        match (server, read("ext_proc.tls", envoy)) {
            (Ok(server), Ok(ext_proc)) => Ok(Self { server, ext_proc }),
            (server, ext_proc) => {
                let wrong = [server.err(), ext_proc.err()];
                Err(Problems(wrong.into_iter().flatten().collect()))
            }
        }
    }
}

fn certificate(files: &Tls) -> anyhow::Result<Certificate> {
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

/// Accepts connections with the certificate that `current` names when they come. `alpn`: the protocols offered, such as `h2`.
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
