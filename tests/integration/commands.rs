//! The commands, run as a shell runs them: arguments, output and exit status.

use std::{
    fs,
    io::Write,
    process::{Command, Output, Stdio},
};

use super::{
    support::{EASY, HARD, fixture},
    tls::certificate,
};

fn thinkgate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thinkgate"));
    command
        .args(args)
        .env("THINKGATE_CLASSIFIER__MODEL", fixture("models/tiny"));
    command
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    result(thinkgate(args).output().unwrap())
}

pub fn run_with_input(args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = thinkgate(args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    result(child.wait_with_output().unwrap())
}

fn result(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn classify_writes_one_line_per_argument_in_order() {
    let (status, out, _) = run(&["classify", HARD, EASY]);
    assert_eq!(status, Some(0));
    let lines: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (lines[0]["mode"].as_str(), lines[1]["mode"].as_str()),
        (Some("reasoning"), Some("direct"))
    );
    let keys: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "mode",
            "why",
            "score",
            "domain",
            "tokens",
            "truncated",
            "unreadable",
            "elapsed_ms"
        ]
    );
    assert!(lines[0]["score"].is_f64() && lines[0]["domain"]["score"].is_f64());
}

#[test]
fn classify_reads_standard_input_and_batches_change_no_score() {
    let mut input = String::new();
    for index in 0..40 {
        input.push_str(&format!("{EASY} {index}{}\n", " really".repeat(index % 7)));
        input.push_str(&format!(
            "{{\"messages\":[{{\"role\":\"user\",\"content\":\"{HARD} {index}\"}}]}}\n"
        ));
    }
    let classify = |batch: &str| {
        let (status, out, _) = run_with_input(&["classify", "--batch", batch], &input);
        assert_eq!(status, Some(0));
        let parsed = out
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        parsed
            .map(|line| line["score"].as_f64().unwrap())
            .collect::<Vec<_>>()
    };
    let (alone, together) = (classify("1"), classify("16"));
    assert_eq!((alone.len(), together.len()), (80, 80));
    for (a, b) in alone.iter().zip(&together) {
        assert!((a - b).abs() < 1e-5, "{a} alone, {b} in a batch");
    }
}

#[test]
fn a_provider_that_does_not_load_is_an_error() {
    let mut command = thinkgate(&["check-config", "--config", "configs/gpu.yaml"]);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env(
            "THINKGATE_CLASSIFIER__RUNTIME",
            "onnx/runtime/libonnxruntime.so",
        ) // the library for the CPU
        .env("THINKGATE_CLASSIFIER__ENGINE_CACHE", std::env::temp_dir());
    let (status, _, err) = result(command.output().unwrap());
    assert_eq!(status, Some(1));
    let problems: Vec<&str> = err
        .lines()
        .filter(|line| !line.contains("warning"))
        .collect();
    assert_eq!(problems.len(), 1, "{err}");
    assert!(
        err.contains("classifier.providers: `tensorrt` did not load"),
        "{err}"
    );
}

#[test]
fn fixed_shapes_and_several_sessions_change_no_score() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("buckets.yaml");
    let settings = "classifier: { sessions: 3, buckets: { rows: [1, 4], tokens: [16, 64] } }";
    fs::write(&config, settings).unwrap();
    let input = [HARD, EASY, "hi", &EASY.repeat(30)].join("\n");
    let scores = |more: &[&str]| -> Vec<f64> {
        let args = [&["classify"], more].concat();
        let (status, out, err) = run_with_input(&args, &input);
        assert_eq!(status, Some(0), "{err}");
        let score =
            |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["score"].as_f64();
        out.lines().map(|line| score(line).unwrap()).collect()
    };
    let (plain, fixed) = (scores(&[]), scores(&["--config", config.to_str().unwrap()]));
    assert_eq!(plain.len(), 4);
    for (plain, fixed) in plain.iter().zip(fixed) {
        assert!((plain - fixed).abs() < 1e-5, "{plain} and {fixed}");
    }
}

#[test]
fn the_telemetry_of_onnx_runtime_is_off_and_leaves_no_files() {
    let home = tempfile::tempdir().unwrap();
    let mut command = thinkgate(&["classify", EASY]);
    command
        .env("HOME", home.path())
        .env("XDG_CACHE_HOME", home.path())
        .env_remove("ORT_DISABLE_TELEMETRY");
    let (status, _, err) = result(command.output().unwrap());
    assert_eq!(status, Some(0), "{err}");
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn classify_names_the_line_that_fails() {
    let (status, out, err) = run_with_input(&["classify"], "fine\n{\"id\":1}\n");
    assert_eq!((status, out.lines().count()), (Some(1), 1));
    assert!(
        err.contains("line 2") && err.contains("neither `text` nor `messages`"),
        "{err}"
    );
}

#[test]
fn check_config_prints_the_defaults_the_effective_settings_or_every_problem() {
    let (status, out, _) = run(&["check-config", "--print-default"]);
    assert_eq!(
        (status, out.as_str()),
        (Some(0), include_str!("../../configs/default.yaml"))
    );
    for file in ["configs/default.yaml", "configs/example.yaml"] {
        let mut command = thinkgate(&["check-config", "--config", file]);
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("VLLM_KEY", "sk-hidden")
            .env("ALICE_KEY", "sk-hidden");
        let (status, out, err) = result(command.output().unwrap());
        assert_eq!(status, Some(0), "{file}: {err}");
        assert!(
            out.contains("max_in_flight: 1024") && !out.contains("sk-hidden"),
            "{out}"
        );
    }
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    fs::write(file.path(), "listen: x\nserver: { nope: 1 }\nrouting: { threshold: 7 }\nmodels: { a: { family: qwen33, endpoints: [] } }").unwrap();
    let (status, out, err) = run(&["check-config", "--config", file.path().to_str().unwrap()]);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    for path in [
        "listen: ",
        "server.nope: ",
        "routing.threshold: ",
        "models.a.family: ",
        "models.a.endpoints: ",
    ] {
        assert!(err.contains(&format!("\n  {path}")), "{path} in {err}");
    }
}

#[test]
fn check_config_and_serve_report_the_same_problems() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((cert, _), (_, key)) = (certificate(one.path()), certificate(other.path()));
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let yaml = format!(
        "server: {{ tls: {{ cert: '{cert}', key: '{key}' }} }}\n\
         routing: {{ domains: {{ astrology: direct }} }}\n\
         ext_proc: {{ listen: '127.0.0.1:0' }}\n"
    );
    fs::write(file.path(), yaml).unwrap();
    let path = file.path().to_str().unwrap();
    for model in [fixture("models/tiny"), "/no/such".into()] {
        let run = |command: &str| {
            let mut command = thinkgate(&[command, "--config", path]);
            result(
                command
                    .env("THINKGATE_CLASSIFIER__MODEL", &model)
                    .output()
                    .unwrap(),
            )
        };
        let (status, out, err) = run("check-config");
        assert_eq!((status, out.as_str()), (Some(1), ""), "{err}");
        let expected = match model.starts_with("/no") {
            true => "\n  classifier: the classifier's /no/such/model.onnx is missing",
            false => "\n  routing.domains.astrology: the classifier has no such domain",
        };
        for problem in ["\n  server.tls: the certificate", expected] {
            assert!(err.contains(problem), "{problem} in {err}");
        }
        let problems =
            |err: &str| err[err.find("thinkgate: the configuration").unwrap()..].to_owned();
        assert_eq!(problems(&run("serve").2), problems(&err));
    }
}

#[test]
fn check_config_prints_neither_keys_nor_their_hashes() {
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let check = |key: &str| {
        let yaml = format!(
            "auth: {{ keys: [{{ name: bob, key: '{key}', models: [m], requests_per_minute: 60 }}] }}\n\
             models: {{ m: {{ endpoints: [{{ url: 'http://h' }}] }} }}\n"
        );
        fs::write(file.path(), yaml).unwrap();
        run(&["check-config", "--config", file.path().to_str().unwrap()])
    };
    let (status, out, err) = check(&format!("sha256:{hash}"));
    assert_eq!(status, Some(0), "{err}");
    assert!(
        out.contains("requests_per_minute: 60") && out.contains("- m\n"),
        "{out}"
    );
    assert!(!out.contains("9f86"), "{out}");
    for wrong in [&format!("sha256:{}", &hash[1..]), hash] {
        let (status, out, err) = check(wrong);
        assert_eq!((status, out.as_str()), (Some(1), ""));
        assert!(
            err.contains("auth.keys[0].key: ") && !err.contains("f86"),
            "{err}"
        );
    }
}

#[test]
fn serve_names_what_is_missing() {
    let (status, _, err) = run(&["serve"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("--upstream"), "{err}");
    let mut command = thinkgate(&["serve", "--upstream", "http://127.0.0.1:1"]);
    let (status, _, err) = result(
        command
            .env("THINKGATE_CLASSIFIER__RUNTIME", "/no/such.so")
            .output()
            .unwrap(),
    );
    assert_eq!(status, Some(1));
    assert!(
        err.contains("ONNX Runtime is not at /no/such.so: run scripts/setup"),
        "{err}"
    );
    let broken = tempfile::NamedTempFile::with_suffix(".so").unwrap();
    fs::write(broken.path(), "not a library").unwrap();
    let mut command = thinkgate(&["serve", "--upstream", "http://127.0.0.1:1"]);
    let (status, _, err) = result(
        command
            .env("THINKGATE_CLASSIFIER__RUNTIME", broken.path())
            .output()
            .unwrap(),
    );
    assert_eq!(status, Some(1));
    assert!(
        err.contains("cannot be loaded") && err.contains("scripts/setup"),
        "{err}"
    );
}

#[test]
fn the_environment_sets_scalars_and_variables_of_kubernetes_are_ignored() {
    let mut command = thinkgate(&["check-config", "--config", "configs/default.yaml"]);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("THINKGATE_ROUTING__THRESHOLD", "0.7")
        .env("THINKGATE_LISTEN", "0.0.0.0:9")
        .env("THINKGATE_PORT", "tcp://10.0.0.1:80")
        .env("THINKGATE_SERVICE_HOST", "10.0.0.1");
    let (status, out, err) = result(command.output().unwrap());
    assert_eq!(status, Some(0), "{err}");
    assert!(
        out.contains("threshold: 0.7") && out.contains("listen: 0.0.0.0:9"),
        "{out}"
    );
    let mut command = thinkgate(&["check-config", "--config", "configs/default.yaml"]);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("THINKGATE_ROUTING__TRESHOLD", "1")
        .env("THINKGATE_MODELS__A", "b");
    let (status, _, err) = result(command.output().unwrap());
    assert_eq!(status, Some(1));
    assert!(
        err.contains("routing.treshold") && err.contains("can be set in a file only"),
        "{err}"
    );
}
