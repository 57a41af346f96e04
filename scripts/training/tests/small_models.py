"""Small random models and their exported graphs, which the tests of the graph rewriters share."""

import contextlib
import functools
import io
import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch

from router_training import export
from router_training import model as router_model

VOCABULARY = 320  # more than the ids that the export measures with
# Attention windows to one side: 16, 5 (no multiple of the vector width), 1, and 40; attention heads of 16, 8 and 32 dimensions.
SHAPES = {
    "window of 16": {},
    "window of 5, no subjects": {
        "local_attention": 10,
        "num_attention_heads": 4,
        "global_attn_every_n_layers": 3,
        "num_hidden_layers": 4,
        "domain_labels": [],
    },
    "no windows": {"local_attention": 2, "global_attn_every_n_layers": 1, "domain_labels": ["a", "b"]},
    "no windows, first token pooled": {"local_attention": 2, "global_attn_every_n_layers": 1, "classifier_pooling": "cls"},
    "window of 1": {"local_attention": 2, "global_attn_every_n_layers": 4},
    "window of 40": {"local_attention": 80, "num_attention_heads": 3, "hidden_size": 96},
}


@functools.cache
def small_model(shape: str) -> router_model.RouterModel:
    """A model with random weights that are large enough for scores to differ."""
    torch.manual_seed(3)
    values = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "local_attention": 32,
        "global_attn_every_n_layers": 2,
        "attn_implementation": "eager",
    }
    model = router_model.RouterModel(router_model.config(VOCABULARY, **values | SHAPES[shape])).eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim == 2:
                weights.mul_(5)
    return model


@functools.cache
def exported(shape: str) -> onnx.ModelProto:
    """The model as an fp32 graph. PyTorch's exporter takes many seconds, so each shape is exported once."""
    logging.disable(logging.WARNING)
    with (
        tempfile.TemporaryDirectory() as scratch,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        file = Path(scratch) / "model.onnx"
        export.to_onnx(small_model(shape), file)
        return onnx.load(file)


def random_rows(lengths) -> list[list[int]]:
    """Random token ids: a row for each of the lengths."""
    random = np.random.default_rng(1)
    return [random.integers(4, VOCABULARY, n).tolist() for n in lengths]
