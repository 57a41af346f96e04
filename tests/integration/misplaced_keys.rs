//! Keys at a wrong place in the configuration: a problem names the place and never repeats the key.

use std::{fs, process::Command};

use super::support::{Process, Server, fixture};

/// Configurations with the key `sk-abc` at a wrong place, each with the path of the problem.
const MISPLACED: [(&str, &str); 17] = [
    ("auth: sk-abc", "auth: "),
    ("auth: [sk-abc]", "auth[0]: "),
    ("auth: { sk-abc: alice }", "auth: "),
    ("auth: { keys: sk-abc }", "auth.keys: "),
    ("auth: { keys: [sk-abc] }", "auth.keys[0]: "),
    ("auth: { keys: { alice: sk-abc } }", "auth.keys: "),
    (
        "auth: { keys: [{ name: a, key: 'file:Cargo.toml', sk-abc: x }] }",
        "auth.keys[0]: ",
    ),
    (
        "auth: { keys: [{ name: a, key: 'file:Cargo.toml', models: sk-abc }] }",
        "auth.keys[0].models: ",
    ),
    (
        "auth: { keys: [{ name: a, key: 'file:Cargo.toml', requests_per_minute: sk-abc }] }",
        "auth.keys[0].requests_per_minute: ",
    ),
    ("models: { api_key: sk-abc }", "models.api_key: "),
    (
        "discover: [{ url: 'http://h/?api_key=sk-abc' }]",
        "discover[0].url: ",
    ),
    (
        "discover: [{ url: 'http://h/#sk-abc' }]",
        "discover[0].url: ",
    ),
    (
        "discover: [{ url: 'ftp://u:sk-abc@h' }]",
        "discover[0].url: ",
    ),
    (
        "discover: [{ url: 'http://u:sk-abc@' }]",
        "discover[0].url: ",
    ),
    ("discover: ['http://u:sk-abc@h']", "discover[0]: "),
    (
        "models: { m: { endpoints: 'h:8000?api_key=sk-abc' } }",
        "models.m.endpoints: ",
    ),
    ("telemetry: { otlp: 'h?token=sk-abc' }", "telemetry.otlp: "),
];

fn check_config(file: &str, environment: &[(&str, &str)]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_thinkgate"))
        .args(["check-config", "--config", file])
        .env("THINKGATE_CLASSIFIER__MODEL", fixture("models/tiny"))
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn check_config_does_not_repeat_a_key_in_the_wrong_place() {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let path = file.path().to_str().unwrap();
    for (yaml, place) in MISPLACED {
        fs::write(file.path(), yaml).unwrap();
        let output = check_config(path, &[]);
        assert!(output.contains(place), "{yaml}: {output}");
        assert!(!output.contains("sk-abc"), "{yaml}: {output}");
    }
    fs::write(file.path(), "routing: { threshold: 0.4 }").unwrap();
    for variable in ["THINKGATE_AUTH__KEYS", "THINKGATE_AUTH__KEY"] {
        let output = check_config(path, &[(variable, "sk-abc")]);
        assert!(output.contains("auth"), "{variable}: {output}");
        assert!(!output.contains("sk-abc"), "{variable}: {output}");
    }
}

#[test]
fn check_config_does_not_repeat_a_private_key_written_for_its_file() {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let pem = "-----BEGIN PRIVATE KEY-----\\nsk-abc\\n-----END PRIVATE KEY-----\\n";
    let yaml = format!("server: {{ tls: {{ cert: Cargo.toml, key: \"{pem}\" }} }}");
    fs::write(file.path(), yaml).unwrap();
    let output = check_config(file.path().to_str().unwrap(), &[]);
    assert!(output.contains("server.tls.key: "), "{output}");
    assert!(!output.contains("sk-abc"), "{output}");
}

#[tokio::test]
async fn a_reload_does_not_log_a_key_in_the_wrong_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("thinkgate.yaml");
    let server = Server::friendly().await;
    fs::write(&file, format!("discover: [{{ url: '{}' }}]", server.url())).unwrap();
    let process = Process::start(&["--config", &file.display().to_string()], &[]).await;
    let wrong = "auth: { keys: [sk-abc, { sk-abc: alice }] }\n\
                 discover: ['http://u:sk-abc@h', { url: 'ftp://u:sk-abc@h' }, { url: 'http://h/?api_key=sk-abc' }]";
    for (wrong, places) in [
        (
            wrong,
            &[
                "auth.keys[0]",
                "auth.keys[1]",
                "discover[0]",
                "discover[1].url",
                "discover[2].url",
            ][..],
        ),
        ("auth: sk-abc", &["auth"]),
    ] {
        fs::write(&file, wrong).unwrap();
        process.signal("HUP").await;
        for place in places {
            process.said_text(&format!("\"setting\":\"{place}\"")).await;
        }
    }
    let (_, lines) = process.stop().await;
    assert!(!lines.concat().contains("sk-abc"), "{lines:#?}");
}
