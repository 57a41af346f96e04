//! TLS on the HTTP server, with certificates from files.

use thinkgate::{config::Config, net::tls::Certificates};

use super::support::{EASY, Gateway, Server, chat, config};

/// Writes a self-signed certificate for `localhost` and its key, and returns the two paths.
pub fn certificate(folder: &std::path::Path) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (cert.display().to_string(), key.display().to_string())
}

#[tokio::test]
async fn a_client_that_trusts_the_certificate_is_served_by_http_1_and_2() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path());
    let server = Server::friendly().await;
    let yaml = format!("server: {{ tls: {{ cert: '{cert}', key: '{key}' }} }}");
    let gateway = Gateway::start(config(&[&server], &yaml)).await;
    let trusted = reqwest::Certificate::from_pem(&std::fs::read(&cert).unwrap()).unwrap();
    let url = format!(
        "https://localhost:{}/v1/chat/completions",
        gateway.address.port()
    );
    let client = || {
        reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([trusted.clone()])
            .resolve("localhost", gateway.address)
    };
    for (client, version) in [
        (
            client().http1_only().build().unwrap(),
            reqwest::Version::HTTP_11,
        ),
        (client().build().unwrap(), reqwest::Version::HTTP_2),
    ] {
        let answer = client.post(&url).body(chat(EASY)).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        assert_eq!(answer.headers()["x-thinkgate-mode"], "direct");
    }
    // A plain HTTP request to the TLS port fails.
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/health", gateway.address);
    assert!(plain.get(url).send().await.is_err());
}

#[test]
fn a_key_of_another_certificate_is_an_error_at_start() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((cert, _), (_, key)) = (certificate(one.path()), certificate(other.path()));
    let yaml =
        format!("{{listen: '127.0.0.1:0', server: {{ tls: {{ cert: '{cert}', key: '{key}' }} }}}}");
    let error = Certificates::load(&Config::from_yaml(&yaml).unwrap())
        .err()
        .unwrap();
    let message = format!("{error:#}");
    assert!(
        message.contains("server.tls") && message.contains("do not go together"),
        "{message}"
    );
}
