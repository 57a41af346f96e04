//! TLS by `rustls`: the choice of its cryptography, once per process, and certificates from files.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;

/// Chooses `ring` for every client and server of the process; later calls change nothing.
pub fn choose_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Accepts connections with a certificate. `alpn`: the protocols offered, such as `h2`.
///
/// # Errors
/// Which file is missing, is not PEM, or does not fit the other.
pub fn acceptor(files: &Tls, alpn: &[&str]) -> anyhow::Result<TlsAcceptor> {
    choose_provider();
    let at = |file: &Path| file.display().to_string();
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the certificate {}", at(&files.cert)))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("cannot read the private key {}", at(&files.key)))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| {
            let (cert, key) = (at(&files.cert), at(&files.key));
            format!("the certificate {cert} and the key {key} do not go together")
        })?;
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}
