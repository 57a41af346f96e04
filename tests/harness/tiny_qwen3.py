#!/usr/bin/env python3
"""Writes a Qwen3 checkpoint of 4 MB that always generates the same text, so that a real vLLM can be tested on a CPU.

    tiny_qwen3.py OUT_DIR [--tool]

The weights are a Markov chain: the embedding is the identity, attention and MLP are zero, and `lm_head` maps each token
to the one that follows it. Everything around the weights is as in a real Qwen3: tokenizer, chat template with
`enable_thinking`, `<think>` tags. So vLLM's reasoning parser, usage counts, stop reasons and tool parser all do their
real work, and the answer shows whether the switch arrived:

    thinking      <think> the user asks ...</think>\\n\\nHello! ...<|im_end|>
    not thinking  Hello! ...<|im_end|>

With `--tool` the content is a tool call instead. With `ignore_eos` the chain starts again, for answers of any length.
Needs `tokenizers`, `torch` and `safetensors`: run it with the python of the vLLM environment.
"""

import argparse
import itertools
import json
import pathlib

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

HIDDEN = VOCAB = 512  # equal, so that the embedding can be the identity
LAYERS = 2

# No token may occur twice in the generated text: the chain depends on the last token only.
REASONING = " the user asks a question so I think about routing first"
CONTENT = "Hello! This answer came from tiny Qwen model weights made locally today, in our café ✓."
# Added tokens, so that JSON punctuation does not repeat.
TOOL_CALL = ["<tool_call>", '{"name": "get_weather", ', '"arguments": {"city": ', '"Oslo"}}', "</tool_call>"]

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TAGS = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"]

# As Qwen3's own template: without the variable, or with true, the model begins with <think>; false adds a closed block.
TEMPLATE = """{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\\n' }}
{%- if m.content is string %}{{- m.content }}
{%- elif m.content %}{%- for p in m.content %}{%- if p.type == 'text' %}{{- p.text }}{%- endif %}{%- endfor %}{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}"""


def make_tokenizer() -> Tokenizer:
    """A byte-level tokenizer with Qwen3's special tokens."""
    corpus = [REASONING, CONTENT, "system user assistant tool", "You are a helpful assistant.\n\n"] * 50
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=VOCAB - len(SPECIAL) - len(TAGS) - len(TOOL_CALL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in TAGS + TOOL_CALL[1:4]])
    assert tokenizer.get_vocab_size() <= VOCAB
    return tokenizer


def next_tokens(tokenizer: Tokenizer, content: str) -> dict[int, int]:
    """For every token of the vocabulary, the token that the model generates after it."""

    def ids(text: str) -> list[int]:
        return tokenizer.encode(text).ids

    [newline] = ids("\n")  # ends the prompt of a model that may think
    [close, *blank_line] = ids("</think>\n\n")  # ends the prompt of one that may not
    script = ids("<think>") + ids(REASONING) + [close] + blank_line + ids(content) + ids("<|im_end|>")
    assert len(set(script)) == len(script) and newline not in script, "a token occurs twice in the script"

    follow = {token: ids(content)[0] for token in range(VOCAB)}
    follow[newline] = script[0]
    follow.update(itertools.pairwise(script))
    return follow


def make_weights(follow: dict[int, int]) -> dict:
    """The tensors of a checkpoint that generates these successors."""
    import torch

    def zeros(*shape):
        return torch.zeros(*shape, dtype=torch.bfloat16)

    def ones(size):
        return torch.ones(size, dtype=torch.bfloat16)

    lm_head = zeros(VOCAB, HIDDEN)
    for token, following in follow.items():
        lm_head[following, token] = 1.0  # after the norm a logit of sqrt(512) = 22.6, against 0 for all others
    weights = {
        "model.embed_tokens.weight": torch.eye(VOCAB, HIDDEN, dtype=torch.bfloat16),
        "model.norm.weight": ones(HIDDEN),
        "lm_head.weight": lm_head,
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        weights |= {
            prefix + "input_layernorm.weight": ones(HIDDEN),
            prefix + "post_attention_layernorm.weight": ones(HIDDEN),
            prefix + "self_attn.q_proj.weight": zeros(256, HIDDEN),
            prefix + "self_attn.k_proj.weight": zeros(128, HIDDEN),
            prefix + "self_attn.v_proj.weight": zeros(128, HIDDEN),
            prefix + "self_attn.o_proj.weight": zeros(HIDDEN, 256),
            prefix + "self_attn.q_norm.weight": ones(64),
            prefix + "self_attn.k_norm.weight": ones(64),
            prefix + "mlp.gate_proj.weight": zeros(256, HIDDEN),
            prefix + "mlp.up_proj.weight": zeros(256, HIDDEN),
            prefix + "mlp.down_proj.weight": zeros(HIDDEN, 256),
        }
    return weights


def config(tokenizer: Tokenizer) -> dict:
    """The checkpoint's config.json."""
    return {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3",
        "hidden_size": HIDDEN, "intermediate_size": 256, "num_hidden_layers": LAYERS, "vocab_size": VOCAB,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": False, "attention_bias": False, "torch_dtype": "bfloat16",
        "bos_token_id": tokenizer.token_to_id("<|endoftext|>"), "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
    }  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--tool", action="store_true", help="answer with a call of get_weather")
    args = parser.parse_args()

    from safetensors.torch import save_file

    tokenizer = make_tokenizer()
    content = "".join(TOOL_CALL) if args.tool else CONTENT
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(args.out / "tokenizer.json"))
    (args.out / "chat_template.jinja").write_text(TEMPLATE)
    files = {
        "config.json": config(tokenizer),
        "generation_config.json": {
            "eos_token_id": [tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")],
            "pad_token_id": tokenizer.token_to_id("<|endoftext|>"),
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 2048,
            "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "clean_up_tokenization_spaces": False,
        },
    }  # fmt: skip
    for name, value in files.items():
        (args.out / name).write_text(json.dumps(value, indent=1))
    weights = make_weights(next_tokens(tokenizer, content))
    save_file(weights, str(args.out / "model.safetensors"), metadata={"format": "pt"})


if __name__ == "__main__":
    main()
