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

#[test]
fn an_expired_certificate_is_an_error_and_one_that_expires_soon_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let check = |ends: (i32, u8, u8)| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(ends.0, ends.1, ends.2);
        let (cert, key_file) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        std::fs::write(&cert, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        let files = thinkgate::config::Tls {
            cert,
            key: key_file,
        };
        let mut config = thinkgate::config::Config::default();
        config.server.tls = Some(files);
        thinkgate::net::tls::Certificates::load(&config)
    };
    let expired = check((2020, 1, 31)).unwrap_err().to_string();
    assert!(
        expired.contains("server.tls: ") && expired.contains("tls.crt expired on 2020-01-31"),
        "{expired}"
    );
    assert!(check((2999, 1, 1)).unwrap().warnings.is_empty());
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let days = i64::try_from(now.as_secs() / 86_400).unwrap() + 10;
    // The date from the days since 1970 (Howard Hinnant's civil_from_days).
    let era = days + 719_468;
    let day_of_era = era.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era.div_euclid(146_097) * 400 + i64::from(month <= 2);
    let ends = (
        i32::try_from(year).unwrap(),
        u8::try_from(month).unwrap(),
        u8::try_from(day).unwrap(),
    );
    let warnings = check(ends).unwrap().warnings;
    let text = warnings[0].to_string();
    let date = format!("{year}-{month:02}-{day:02}");
    assert!(
        text.starts_with("server.tls.cert: ") && text.contains("tls.crt") && text.contains(&date),
        "{text}"
    );
}
