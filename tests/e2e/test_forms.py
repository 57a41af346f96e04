"""The model of an upload: the gateway reads the one that python-multipart and starlette read, which vLLM reads forms with, or it
refuses the upload."""

import json
import pathlib

import pytest

from tests.harness.envoy import Envoy, ExtProcListener, bootstrap, cluster, grpc_cluster, route
from tests.harness.processes import Processor, ServerProcess, free_port, vllm_python

from .form_uploads import Upload, uploads
from .raw_http import exchange

UPLOAD = "/v1/audio/transcriptions"
COUNT = 3000


@pytest.fixture(scope="module")
def form_server(work):
    port = free_port()
    script = pathlib.Path(__file__).with_name("form_server.py")
    with ServerProcess([vllm_python(), script, port], port, work / "form-server.log") as server:
        server.wait_for("/health", 200, 60)
        yield server


@pytest.fixture(scope="module")
def form_processor(form_server, work):
    # Each model has another name at the server: what the gateway did not read there it does not rename.
    models = {name: {"endpoints": [{"url": form_server.url, "model": f"served-{name}"}]} for name in ("a", "b")}
    with Processor(work / "form-gateway.log", {"models": models}) as running:
        yield running.wait()


@pytest.fixture(scope="module")
def form_envoy(form_processor, form_server, work):
    listener = ExtProcListener("BUFFERED", [route("forms")])
    clusters = [cluster("forms", form_server.port), grpc_cluster("thinkgate", form_processor.grpc_port)]
    folder = work / "form-envoy"
    folder.mkdir()
    with Envoy(bootstrap([listener], clusters), folder).wait():
        yield listener


def sent(port: int, upload: Upload):
    lines = [b"POST %s HTTP/1.1" % UPLOAD.encode(), b"Host: gateway", b"Connection: close", b"Content-Type: " + upload.content_type]
    lines.append(b"Content-Length: %d" % len(upload.body))
    return exchange(port, b"\r\n".join(lines) + b"\r\n\r\n" + upload.body)


def check(port: int, count: int, seed: int) -> dict[str, int]:
    """Sends uploads and compares what the server read of each. Counts how many were refused, and the models of the others."""
    counts: dict[str, int] = {}
    for upload in uploads(count, seed):
        answer = sent(port, upload)
        if answer.status != 200:
            assert answer.status in (400, 404), (upload, answer)
            assert not upload.is_plain, (upload, answer)
            outcome = "refused"
        else:
            read = json.loads(answer.body)
            # The last one is what FastAPI takes; where the server reads none, or an empty name, it refuses the upload itself.
            assert read["models"] in (["served-a"], ["served-b"], ["(a file)"], [""], []), (upload, read)
            assert not upload.is_plain or read["models"] in (["served-a"], ["served-b"]), (upload, read)
            outcome = str(read["models"])
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts


def test_the_model_that_the_server_reads_is_read_or_the_upload_is_refused(form_processor, measured):
    counts = check(form_processor.port, COUNT, seed=1)
    measured(f"{COUNT} uploads over HTTP: {counts}")
    assert counts["['served-a']"] > COUNT // 10 and counts["refused"] > COUNT // 10


def test_the_same_behind_envoy(form_envoy, measured):
    counts = check(form_envoy.port, COUNT // 4, seed=2)
    measured(f"{COUNT // 4} uploads behind Envoy: {counts}")
    assert counts["['served-a']"] > COUNT // 40
