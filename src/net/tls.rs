//! TLS by `rustls`: the cryptography provider of the process, and certificates from files.

use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;
use x509_parser::{parse_x509_certificate, time::ASN1Time};

use crate::config::{Config, Problem, Problems, Tls};

/// Installs `ring` as the cryptography of every client and server in the process. Later calls change nothing.
pub fn install_crypto_provider() {
    let _ = ring::default_provider().install_default();
}

/// A certificate that ends within this time is a warning: two weeks, in which who renews it by hand can do so.
const ENDS_SOON_S: i64 = 14 * 24 * 3600;

/// A certificate with its chain and its private key.
pub type Certificate = Arc<CertifiedKey>;

/// The certificates of the servers that use TLS.
#[derive(Debug)]
pub struct Certificates {
    /// The certificate of the HTTP server.
    pub server: Option<Certificate>,
    /// The certificate of the Envoy server.
    pub ext_proc: Option<Certificate>,
    /// A warning for each certificate that ends soon.
    pub warnings: Vec<Problem>,
}

impl Certificates {
    /// Loads the files that the configuration names.
    ///
    /// # Errors
    /// For each server, which file is missing or not PEM, that the key does not belong to the certificate, or that it has expired.
    pub fn load(config: &Config) -> Result<Self, Problems> {
        let mut warnings = Vec::new();
        let mut load = |path: &str, files: Option<&Tls>| {
            let Some(files) = files else { return Ok(None) };
            let loaded = load_certificate(files).and_then(|certificate| {
                warnings.extend(ends_soon(path, files, &certificate)?);
                Ok(certificate)
            });
            loaded
                .map(Some)
                .map_err(|error| Problem::new(path, format!("{error:#}")))
        };
        let envoy = config
            .ext_proc
            .as_ref()
            .and_then(|ext_proc| ext_proc.tls.as_ref());
        let server = load("server.tls", config.server.tls.as_ref());
        match (server, load("ext_proc.tls", envoy)) {
            (Ok(server), Ok(ext_proc)) => Ok(Self {
                server,
                ext_proc,
                warnings,
            }),
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

/// A warning for a certificate that ends soon. The first of its chain to end counts, as clients check all of them.
///
/// # Errors
/// When it has expired, or cannot be read.
fn ends_soon(
    path: &str,
    files: &Tls,
    certificate: &CertifiedKey,
) -> anyhow::Result<Option<Problem>> {
    let file = files.cert.display();
    let mut end: Option<ASN1Time> = None;
    for certificate in &certificate.cert {
        let (_, parsed) = parse_x509_certificate(certificate)
            .with_context(|| format!("cannot read the certificate {file}"))?;
        let ends = parsed.validity().not_after;
        end = Some(end.map_or(ends, |end| end.min(ends)));
    }
    let Some(end) = end else { return Ok(None) };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let left = end.timestamp() - i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let date = end.to_datetime().date();
    anyhow::ensure!(left > 0, "the certificate {file} expired on {date}");
    let message =
        || format!("the certificate {file} expires on {date}; clients refuse it from then on");
    Ok((left < ENDS_SOON_S).then(|| Problem::new(format!("{path}.cert"), message())))
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
