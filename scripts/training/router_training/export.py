"""Exports a ModernBERT checkpoint as a classifier directory of the gateway: model.onnx, tokenizer.json, config.json.

    scripts/export_onnx.py CHECKPOINT OUT [--prompts FILE] [--int8] [--reasoning-labels math,physics]

CHECKPOINT is a Hugging Face directory or hub id of a ModernBERT sequence classifier. The ONNX logits are compared with
PyTorch's over real prompts; the largest difference is printed, and nothing is written if it is over 1e-3. `--int8` quantises
with fixed, calibrated scales, so that a prompt's score does not depend on its batch, and reports how many decisions on the
prompts change. Then `fuse.py` rewrites the graph into fewer operators with the same scores; parts that it does not recognise
stay as they are, and a line says so. The result needs ONNX Runtime 1.24. For a classifier of subjects, `--reasoning-labels`
names those that need reasoning.
"""

import argparse
import json
import logging
import os
import shutil
import tempfile
import time
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # otherwise 1.32 keeps a database and sends telemetry

import numpy as np
import onnx
import onnxruntime as ort
import torch
from tokenizers import Tokenizer
from transformers.models.modernbert import modeling_modernbert

from . import fuse, int8
from . import model as router_model
from .encoding import encode

TOLERANCE = 1e-3
BUILT_IN_PROMPTS = [
    "what time do you open tomorrow?",
    "Prove that the square root of 2 is irrational.",
    "hi",
    "请证明根号2是无理数。",
    "A train leaves at 9:40 and travels 210 km at 84 km/h. When does it arrive?",
    "Translate 'good morning' into French.",
    "def f(xs):\n    return sorted(xs)[::-1]\n\nWhat does f([3, 1, 2]) return?",
    "🙂🙂",
    "напиши короткое письмо коллеге",
    "Our service deadlocks under load, but only after a deploy. Work out the likely cause. " * 12,
]


class Heads(torch.nn.Module):
    """The model with a tuple of tensors as its outputs, as the exporter needs it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        logits, domain = self.model(input_ids, attention_mask)
        return logits if domain is None else (logits, domain)


def read_prompts(path: Path | None) -> list[str]:
    """Reads prompts from a file with a prompt a line. A JSON line has it as `text`."""
    if path is None:
        return BUILT_IN_PROMPTS
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    return [json.loads(line)["text"] if line.startswith("{") else line for line in lines]


def session(path: Path | bytes) -> ort.InferenceSession:
    """A session with one thread that sets denormals to zero, as the gateway's sessions do. Masked scores have many of them."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: it warns about the threshold of an early exit, which an input may override
    return ort.InferenceSession(path if isinstance(path, bytes) else str(path), options, providers=["CPUExecutionProvider"])


def run(sess: ort.InferenceSession, rows: list[list[int]]) -> list[list[np.ndarray]]:
    """The outputs for each prompt, in a batch of its own."""
    out = []
    for row in rows:
        ids = np.array([row], np.int64)
        out.append([o[0] for o in sess.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})])
    return out


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rotary(query, key, cos, sin, unsqueeze_dim=1):
    """Rotary positions by ONNX's operator: one node in place of seven, which saves 8 % of the time."""
    half = query.shape[-1] // 2
    cos, sin = (x[..., :half].expand(query.shape[0], -1, -1) for x in (cos, sin))  # the operator needs the batch dimension
    return tuple(torch.onnx.ops.rotary_embedding(x, cos, sin) for x in (query, key))


def to_onnx(model, path: Path) -> None:
    """Writes an fp32 graph with dynamic batch and sequence dimensions."""
    names = ["logits"] + (["domain_logits"] if model.domain_classifier is not None else [])
    shapes = {"input_ids": {0: "batch", 1: "sequence"}, "attention_mask": {0: "batch", 1: "sequence"}}
    ids = torch.randint(4, model.config.vocab_size, (2, 37))
    plain, modeling_modernbert.apply_rotary_pos_emb = modeling_modernbert.apply_rotary_pos_emb, rotary
    try:
        torch.onnx.export(
            Heads(model).eval(),
            (ids, torch.ones_like(ids)),
            str(path),
            dynamo=True,
            verbose=False,
            external_data=False,
            opset_version=23,
            input_names=["input_ids", "attention_mask"],
            output_names=names,
            dynamic_shapes=shapes,
        )
    finally:
        modeling_modernbert.apply_rotary_pos_emb = plain
    graph = onnx.load(path)
    for part in (
        graph.graph,
        *graph.graph.node,
        *graph.graph.value_info,
        *graph.graph.initializer,
        *graph.graph.input,
        *graph.graph.output,
    ):
        part.ClearField("metadata_props")  # stack traces of the exporter, with paths of this machine
        part.ClearField("doc_string")
    graph.ClearField("metadata_props")
    onnx.save(graph, path)


def compare(model, sess, rows) -> float:
    """The largest difference between the logits of PyTorch and of ONNX Runtime."""
    worst = 0.0
    for row, outputs in zip(rows, run(sess, rows), strict=True):
        ids = torch.tensor([row])
        with torch.no_grad():
            wanted = model(ids, torch.ones_like(ids))
        for want, got in zip(wanted, outputs, strict=False):
            worst = max(worst, float(np.abs(want[0].numpy() - got).max()))
    return worst


def batch_difference(sess, rows, reasoning: list[int]) -> float:
    """The largest difference of P(reasoning) between a prompt alone and the prompt in a batch with padding."""
    alone = [softmax(o[0])[reasoning].sum() for o in run(sess, rows)]
    worst = 0.0
    for at in range(0, len(rows), 16):
        group = rows[at : at + 16]
        ids = np.zeros((len(group), max(map(len, group))), np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(group):
            ids[i, : len(row)], mask[i, : len(row)] = row, 1
        together = softmax(sess.run(None, {"input_ids": ids, "attention_mask": mask})[0])[:, reasoning].sum(1)
        worst = max(worst, float(np.abs(together - np.array(alone[at : at + 16])).max()))
    return worst


def median_ms(sess, tokens: int = 64, runs: int = 200) -> float:
    """The median time in ms of one prompt of `tokens` tokens."""
    ids = np.random.default_rng(0).integers(4, 300, (1, tokens))
    feed, times = {"input_ids": ids, "attention_mask": np.ones_like(ids)}, []
    for _ in range(runs + 20):
        began = time.perf_counter()
        sess.run(None, feed)
        times.append(time.perf_counter() - began)
    return float(np.median(times[20:]) * 1e3)


def tokenizer_for(checkpoint: str, out: Path) -> Tokenizer:
    """Writes the checkpoint's tokenizer.json without the truncation and padding that training tools add."""
    local = Path(checkpoint) / "tokenizer.json"
    if local.exists():
        tokenizer = Tokenizer.from_file(str(local))
    else:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(checkpoint).backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    return tokenizer


def export(
    checkpoint: str, out: Path, prompts: list[str], quantise: bool, reasoning_labels: list[str] | None, max_tokens: int = 512
) -> dict:
    """Writes the classifier directory; returns the measurements."""
    model = router_model.load(checkpoint)
    labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
    wanted = reasoning_labels or (["reasoning"] if "reasoning" in labels else None)
    if not wanted or not set(wanted) <= set(labels):
        raise SystemExit(f"--reasoning-labels must name some of: {', '.join(labels)}")
    reasoning = [labels.index(name) for name in wanted]
    report: dict = {"prompts": len(prompts)}
    with tempfile.TemporaryDirectory() as scratch:
        staged = Path(scratch)
        tokenizer = tokenizer_for(checkpoint, staged)
        rows = encode(tokenizer, prompts, max_tokens)
        to_onnx(model, staged / "model.onnx")
        sess = session(staged / "model.onnx")
        report["max_logit_difference"] = compare(model, sess, rows)
        print(
            f"fp32: largest logit difference from PyTorch over {len(rows)} prompts: {report['max_logit_difference']:.2e}",
            flush=True,
        )
        if report["max_logit_difference"] > TOLERANCE:
            raise SystemExit(f"more than {TOLERANCE}: not written")
        if quantise:
            plain = [softmax(o[0])[reasoning].sum() for o in run(sess, rows)]
            report["fp32_ms_64_tokens"] = median_ms(sess)
            quantised = int8.quantise(onnx.load(staged / "model.onnx"), rows)
            onnx.save(quantised, staged / "model.onnx")
            sess = session(staged / "model.onnx")
            small = [softmax(o[0])[reasoning].sum() for o in run(sess, rows)]
            changed = [i for i in range(len(rows)) if (plain[i] >= 0.5) != (small[i] >= 0.5)]
            report["int8_changed_decisions"] = len(changed)
            report["int8_max_p_difference"] = float(np.abs(np.array(plain) - np.array(small)).max())
            print(
                f"int8: {len(changed)} of {len(rows)} decisions change ({100 * len(changed) / len(rows):.2f} %), "
                f"largest difference in P {report['int8_max_p_difference']:.3f}"
            )
            for i in changed[:10]:
                print(f"  {plain[i]:.3f} -> {small[i]:.3f}  {prompts[i][:90]!r}")
        plain_graph = onnx.load(staged / "model.onnx")
        fused, notes = fuse.fuse(plain_graph)
        report["fused_logit_difference"] = fuse.difference(plain_graph, fused, model.config.vocab_size, max_tokens)
        print(f"fused: {'; '.join(notes)}; largest logit difference from the plain graph {report['fused_logit_difference']:.1e}")
        if report["fused_logit_difference"] > TOLERANCE:
            print(f"more than {TOLERANCE}: the plain graph is kept")
        else:
            report["plain_ms_64_tokens"] = median_ms(sess)
            onnx.save(fused, staged / "model.onnx")
            sess = session(staged / "model.onnx")
        report["batch_p_difference"] = batch_difference(sess, rows, reasoning)
        report["ms_64_tokens"] = median_ms(sess)
        report["bytes"] = (staged / "model.onnx").stat().st_size
        ms, plain_ms = report["ms_64_tokens"], report.get("plain_ms_64_tokens", report["ms_64_tokens"])
        print(
            f"alone against padded in a batch of 16: P differs by at most {report['batch_p_difference']:.1e}; "
            f"{ms:.2f} ms for 64 tokens on one thread ({plain_ms:.2f} plain); {report['bytes'] / 1e6:.1f} MB"
        )
        router_model.write_config(staged, model.config, wanted, {"max_tokens": max_tokens})
        out.mkdir(parents=True, exist_ok=True)
        for name in ("model.onnx", "tokenizer.json", "config.json"):
            shutil.copy(staged / name, out / name)
    return report


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("out", type=Path)
    parser.add_argument("--prompts", type=Path, help="a prompt a line, or JSON lines with `text`; default: ten built in")
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--reasoning-labels", help="labels that need reasoning, separated by commas")
    parser.add_argument("--max-tokens", type=int, default=512)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    labels = [name.strip() for name in args.reasoning_labels.split(",")] if args.reasoning_labels else None
    export(args.checkpoint, args.out, read_prompts(args.prompts), args.int8, labels, args.max_tokens)


if __name__ == "__main__":
    main()
