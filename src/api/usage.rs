//! Token counts from the `usage` of responses. We never request usage and never estimate it.

use bytes::Bytes;
use serde::Deserialize;

/// The token counts of a response, as far as the server sent them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: Option<u64>,
    /// Tokens generated, reasoning included.
    pub completion: Option<u64>,
    /// Tokens spent on reasoning. vLLM counts them since about 0.28, and only with a reasoning parser.
    pub reasoning: Option<u64>,
}

/// The spellings of OpenAI Chat Completions, OpenAI Responses, Anthropic Messages (vLLM has all three) and SGLang.
#[derive(Deserialize, Default)]
struct Envelope {
    usage: Option<Counts>,
    response: Option<NestedUsage>,
    message: Option<NestedUsage>,
}

#[derive(Deserialize)]
struct NestedUsage {
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct Counts {
    #[serde(alias = "input_tokens")]
    prompt_tokens: Option<u64>,
    #[serde(alias = "output_tokens")]
    completion_tokens: Option<u64>,
    #[serde(alias = "output_tokens_details")]
    completion_tokens_details: Option<Details>,
    reasoning_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Details {
    reasoning_tokens: Option<u64>,
}

impl Usage {
    /// Updates the counts from the JSON object `text`. Counts that it lacks stay as they are.
    pub fn read(&mut self, text: &[u8]) {
        let Ok(envelope) = serde_json::from_slice::<Envelope>(text) else {
            return;
        };
        let nested = envelope
            .response
            .or(envelope.message)
            .and_then(|nested| nested.usage);
        let Some(counts) = envelope.usage.or(nested) else {
            return;
        };
        let details = counts
            .completion_tokens_details
            .and_then(|details| details.reasoning_tokens);
        self.prompt = counts.prompt_tokens.or(self.prompt);
        self.completion = counts.completion_tokens.or(self.completion);
        self.reasoning = details.or(counts.reasoning_tokens).or(self.reasoning);
    }
}

/// Collects a JSON response while it is relayed, to read its usage at the end.
#[derive(Debug, Default)]
pub struct JsonUsage {
    chunks: Vec<Bytes>,
    bytes: usize,
}

impl JsonUsage {
    /// Longer responses are not read; their counts stay unknown.
    const MAX_BYTES: usize = 4 << 20;

    /// Takes the next chunk. It is shared, not copied.
    pub fn scan(&mut self, chunk: &Bytes) {
        self.bytes += chunk.len();
        if self.bytes <= Self::MAX_BYTES {
            self.chunks.push(chunk.clone());
        } else {
            self.chunks.clear();
        }
    }

    /// The counts, once the response is complete.
    pub fn finish(&mut self) -> Usage {
        let mut usage = Usage::default();
        match self.chunks.as_slice() {
            [one] => usage.read(one),
            many => usage.read(&many.concat()),
        }
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<u64>, Option<u64>, Option<u64>) {
        let mut usage = Usage::default();
        usage.read(text.as_bytes());
        (usage.prompt, usage.completion, usage.reasoning)
    }

    #[test]
    fn every_spelling_is_read() {
        let vllm = r#"{"usage":{"prompt_tokens":18,"completion_tokens":29,"prompt_tokens_details":null,"completion_tokens_details":{"reasoning_tokens":11}}}"#;
        let responses = r#"{"type":"response.completed","response":{"usage":{"input_tokens":1,"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0}}}}"#;
        let anthropic =
            r#"{"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":0}}}"#;
        assert_eq!(read(vllm), (Some(18), Some(29), Some(11)));
        assert_eq!(read(responses), (Some(1), Some(2), Some(0)));
        assert_eq!(read(anthropic), (Some(3), Some(0), None));
        assert_eq!(read(r#"{"usage":null}"#), (None, None, None));
        assert_eq!(
            read(r#"{"usage":{"prompt_tokens":1,"completion_tokens":2,"reasoning_tokens":1}}"#).2,
            Some(1)
        );
    }
}
