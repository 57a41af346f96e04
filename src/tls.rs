//! The cryptography behind every TLS connection of the process.

/// Chooses `ring` for the whole process; to be called before the first client is built. Again is harmless.
pub fn choose_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default(); // an error means: chosen already
}
