//! The fixture models and the default model classify texts as recorded.

use std::cell::OnceCell;

use serde::Deserialize;

use super::*;
use crate::config::{Buckets, Provider};

#[derive(Deserialize)]
struct Recorded {
    model: String,
    text: String,
    input_ids: Vec<i64>,
    logits: Vec<f32>,
    domain_logits: Option<Vec<f32>>,
}

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(path)
}

fn model(name: &str) -> LoadedModel {
    model_in(name, None)
}

fn model_in(name: &str, buckets: Option<Buckets>) -> LoadedModel {
    LoadedModel::load(&options(name, buckets)).unwrap()
}

fn options(name: &str, buckets: Option<Buckets>) -> config::ClassifierConfig {
    config::ClassifierConfig {
        model: fixture("models").join(name),
        providers: vec![Provider::Cpu],
        sessions: 1,
        threads: 1,
        buckets,
        deadline_ms: 1000,
        queue: 1,
        cache: 0,
        ..config::ClassifierConfig::default()
    }
}

fn recorded() -> Vec<Recorded> {
    serde_json::from_slice(&std::fs::read(fixture("logits.json")).unwrap()).unwrap()
}

/// The texts of a file with one JSON object a line.
fn prompts(file: &str) -> Vec<String> {
    let lines = std::fs::read_to_string(fixture(file)).unwrap();
    let text = |line| -> String {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["text"].as_str().unwrap().to_owned()
    };
    lines.lines().map(text).collect()
}

#[test]
fn logits_match_the_training_frameworks_within_a_thousandth() {
    let mut models = [("tiny", model("tiny")), ("subjects", model("subjects"))];
    let mut compared = 0;
    for record in recorded() {
        let model = &mut models
            .iter_mut()
            .find(|(name, _)| *name == record.model)
            .unwrap()
            .1;
        let tokens = model
            .tokenizer
            .encode(&Excerpt::of(&record.text, 512))
            .unwrap();
        assert_eq!(tokens.ids, record.input_ids, "{}", record.text);
        let outputs = model
            .session
            .run(
                &[&tokens.ids],
                [1, tokens.ids.len()],
                ExitMode::Auto,
                &model.labels,
            )
            .unwrap();
        let (logits, domains) = outputs.row(0);
        let all = logits.iter().chain(domains.unwrap_or_default());
        let wanted: Vec<f32> = record
            .logits
            .into_iter()
            .chain(record.domain_logits.unwrap_or_default())
            .collect();
        assert_eq!(all.clone().count(), wanted.len());
        for (got, want) in all.zip(&wanted) {
            assert!(
                (got - want).abs() < 1e-3,
                "{got} for {want}: {}",
                record.text
            );
        }
        compared += 1;
    }
    assert!(compared >= 40);
}

fn run(
    model: &mut LoadedModel,
    texts: &[Excerpt],
    exit_mode: ExitMode,
) -> Vec<Option<Classification>> {
    let mut seen: Vec<Option<Option<Classification>>> = vec![None; texts.len()];
    model.classify(texts, exit_mode, &mut |index, result| {
        assert!(
            seen[index].replace(result.unwrap()).is_none(),
            "answered twice"
        );
    });
    seen.into_iter().map(Option::unwrap).collect()
}

fn classified(model: &mut LoadedModel, texts: &[Excerpt]) -> Vec<Classification> {
    let seen = run(model, texts, ExitMode::Auto);
    seen.into_iter().map(Option::unwrap).collect()
}

#[test]
fn a_text_scores_the_same_alone_and_among_others_and_in_a_bucket() {
    let mut models = [model("tiny"), model_in("tiny", Some(Buckets::default()))];
    let texts: Vec<Excerpt> = recorded()
        .iter()
        .map(|record| Excerpt::of(&record.text, 512))
        .collect();
    let alone: Vec<Classification> = texts
        .chunks(1)
        .flat_map(|text| classified(&mut models[0], text))
        .collect();
    for model in &mut models {
        for (alone, among) in alone.iter().zip(classified(model, &texts)) {
            assert!(
                (alone.score - among.score).abs() < 1e-5,
                "{} and {}",
                alone.score,
                among.score
            );
            assert_eq!(alone.tokens, among.tokens);
        }
    }
}

#[test]
fn head_and_tail_are_kept_when_a_text_is_too_long() {
    let model = model("tiny");
    let words: Vec<String> = (0..2_000).map(|n| format!("word{n}")).collect();
    for text in [words.join(" "), words.join(" ").repeat(20)] {
        let whole = model
            .tokenizer
            .encode(&Excerpt {
                head: text.as_str().into(),
                tail: None,
                cost: 0,
                encoded: OnceCell::new(),
            })
            .unwrap();
        let cut = model.tokenizer.encode(&Excerpt::of(&text, 512)).unwrap();
        assert_eq!((whole.ids.len(), whole.truncated), (512, true));
        assert_eq!((cut.ids.len(), cut.truncated), (512, true));
        assert_eq!(cut.ids[..200], whole.ids[..200], "the head");
        assert_eq!(cut.ids[312..], whole.ids[312..], "the tail");
    }
    assert_eq!(
        model.max_tokens(),
        512,
        "the setting, unless the model recommends less"
    );
    let short = model.tokenizer.encode(&Excerpt::of("hello", 512)).unwrap();
    assert!(!short.truncated && !short.unreadable);
    assert!(
        model
            .tokenizer
            .encode(&Excerpt::of(" ", 512))
            .unwrap()
            .ids
            .len()
            >= 2
    );
}

#[test]
fn every_text_has_the_tokens_that_the_tokenizer_library_gives() {
    let folder = config::ClassifierConfig::default().model_folder();
    let reference = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
    let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json"), 100_000).unwrap();
    let control: String = (0..=127_u8).map(char::from).collect();
    let mut texts = vec![
        control,
        "A\tB\r\n  [PAD][CLS]ok [sep] x_y-z\u{0}\u{1b}!".into(),
        "Ｎaïve ﬁ ① \u{feff} 한국어 e\u{301}".into(),
    ];
    texts.extend(prompts("everyday.jsonl"));
    texts.extend(prompts("everyday_blind.jsonl"));
    assert!(texts.iter().filter(|text| text.is_ascii()).count() > 300);
    for text in &texts {
        let wanted = reference.encode_fast(text.as_str(), true).unwrap();
        let wanted: Vec<i64> = wanted.get_ids().iter().map(|id| i64::from(*id)).collect();
        let read = tokenizer.encode(&Excerpt::of(text, 100_000)).unwrap();
        assert_eq!(read.ids, wanted, "{text}");
    }
}

#[test]
fn a_text_that_runs_again_is_not_tokenised_again() {
    let mut model = model("tiny");
    let of = |text| Excerpt::of(text, 512);
    let (hello, proof) = (
        of("hello"),
        of("Prove that there are infinitely many primes."),
    );
    let swapped = of("hello");
    swapped
        .encoded
        .set(model.tokenizer.encode(&proof).unwrap())
        .unwrap();
    let seen = classified(&mut model, &[hello, proof, swapped]);
    assert_ne!(seen[0], seen[1]);
    assert_eq!(seen[2], seen[1], "the stored tokens are used");
}

#[test]
fn a_text_gets_the_same_answer_in_auto_mode_and_in_two_steps() {
    let mut options = options("tiny", None);
    options.model = config::ClassifierConfig::default().model;
    let mut model = LoadedModel::load(&options).unwrap();
    assert!(model.has_exit());
    let texts: Vec<Excerpt> = prompts("everyday.jsonl")
        .iter()
        .step_by(5)
        .map(|text| Excerpt::of(text, model.max_tokens()))
        .collect();
    let alone: Vec<Classification> = texts
        .chunks(1)
        .flat_map(|text| classified(&mut model, text))
        .collect();
    let exit_run = run(&mut model, &texts, ExitMode::ExitOnly);
    let full_run = run(&mut model, &texts, ExitMode::Full);
    let mut confident = 0;
    for ((alone, exit), full) in alone.iter().zip(&exit_run).zip(&full_run) {
        confident += usize::from(exit.is_some());
        let staged = exit.as_ref().or(full.as_ref()).unwrap();
        assert!(
            (alone.score - staged.score).abs() < 1e-5,
            "{alone:?} and {staged:?}"
        );
        assert_eq!(
            alone.domain.as_ref().map(|domain| &domain.label),
            staged.domain.as_ref().map(|domain| &domain.label)
        );
    }
    assert!(
        (texts.len() / 3..texts.len() * 9 / 10).contains(&confident),
        "{confident} of {}",
        texts.len()
    );
}
