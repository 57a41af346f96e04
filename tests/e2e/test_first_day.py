"""What goes wrong on an operator's first day: a late or restarted upstream, a missing key, an odd name or URL, a proxy."""

import contextlib
import json
import signal
import time

import pytest

from tests.harness.processes import Gateway, free_port

from .models import MODEL, OTHER_KEY, OTHER_MODEL
from .raw_http import CHAT, chat, connect, exchange, has_reasoning, request_bytes
from .recording_proxy import RecordingProxy
from .request_kinds import RequestKind, chat_body

DISCOVERY_S = 15  # the gateway lists the models every five seconds
PROOF = "Prove that the sum of two odd numbers is even, then generalise to n odd numbers and prove that by induction."


def listed_models(gateway: Gateway) -> list[str]:
    """The ids in `/v1/models`."""
    status, body = gateway.get("/v1/models")
    assert status == 200
    return [model["id"] for model in json.loads(body)["data"]]


def is_decided(gateway: Gateway, model: str) -> bool:
    """Whether the family is recognised: the classifier decides, and vLLM does what was decided."""
    answer = chat(gateway.port, model, PROOF)
    assert answer.header("x-thinkgate-why") == "classifier", answer
    return has_reasoning(answer) is (answer.header("x-thinkgate-mode") == "reasoning")


def explain(gateway: Gateway, model: str) -> dict:
    """The response of `/explain`."""
    answer = exchange(gateway.port, request_bytes(chat_body(model, PROOF), "/explain", headers=("Connection: close",)))
    assert answer.status == 200, answer
    return json.loads(answer.body)


def test_models_are_found_and_their_family_is_recognised(gateway):
    assert listed_models(gateway) == [MODEL]
    assert gateway.get(f"/v1/models/{MODEL}")[0] == 200
    assert is_decided(gateway, MODEL)
    assert "qwen3" in json.dumps(explain(gateway, MODEL))


def test_explain_sends_nothing_upstream(gateway, proxy):
    explain(gateway, MODEL)
    assert not proxy.exchanges(CHAT) and not proxy.exchanges("/explain")


def test_an_upstream_that_starts_late(vllm, log):
    with RecordingProxy(vllm.port) as proxy, Gateway(proxy.url, log) as gateway:
        gateway.wait_for("/health", 200, 30)
        assert gateway.get("/ready")[0] == 503
        answer = chat(gateway.port, MODEL, "Hello")
        assert answer.status == 503
        assert json.loads(answer.body)["error"]["code"] == "no_endpoint"
        assert answer.header("retry-after")
        proxy.listen()
        gateway.wait(DISCOVERY_S)
        assert is_decided(gateway, MODEL)


def test_an_upstream_that_restarts_with_another_model_and_a_key(vllm, other_vllm, log, monkeypatch):
    """The new name does not show the family; the model's path, `root` in vLLM's list, does."""
    monkeypatch.setenv("KEY_OF_THE_UPSTREAM", OTHER_KEY)
    with (
        RecordingProxy(vllm.port).listen() as proxy,
        Gateway(proxy.url, log, ["--upstream-key", "env:KEY_OF_THE_UPSTREAM"]) as gateway,
    ):
        gateway.wait()
        assert listed_models(gateway) == [MODEL]
        proxy.move_to(other_vllm.port)
        deadline = time.monotonic() + DISCOVERY_S
        while OTHER_MODEL not in listed_models(gateway):
            assert time.monotonic() < deadline, gateway.log_end()
            time.sleep(0.1)
        assert listed_models(gateway) == [OTHER_MODEL]
        assert [gateway.get(f"/v1/models/{name}")[0] for name in (OTHER_MODEL, OTHER_MODEL.replace("/", "%2F"), MODEL)] == [
            200,
            200,
            404,
        ]
        assert is_decided(gateway, OTHER_MODEL)
        answer = chat(gateway.port, MODEL, "Hello")
        assert answer.status == 404 and json.loads(answer.body)["error"]["code"] == "model_not_found"
        # The gateway sends the endpoint's key in place of the client's.
        answer = chat(gateway.port, OTHER_MODEL, "Hello", headers=("Authorization: Bearer sk-of-a-client",))
        assert answer.status == 200
        assert proxy.exchanges(CHAT)[-1].request.header("authorization") == f"Bearer {OTHER_KEY}"


def test_a_key_that_the_gateway_lacks(other_vllm, log):
    """No model can be discovered: the gateway is not ready, and its log says why."""
    with Gateway(other_vllm.url, log) as gateway:
        gateway.wait_for("/health", 200, 30)
        time.sleep(0.5)
        assert gateway.get("/ready")[0] == 503
        assert chat(gateway.port, OTHER_MODEL, "Hello").status == 503
        assert "401" in log.read_text()


@pytest.mark.parametrize("suffix", ["/v1", "/v1/", "/"])
def test_a_url_that_ends_in_v1_or_a_slash(vllm, log, suffix):
    with Gateway(vllm.url + suffix, log) as gateway:
        gateway.wait()
        assert is_decided(gateway, MODEL)


def test_a_proxy_in_the_environment_is_ignored(vllm, log):
    nowhere = f"http://127.0.0.1:{free_port()}"
    names = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    with Gateway(vllm.url, log, env=dict.fromkeys(names, nowhere)) as gateway:
        gateway.wait()
        assert is_decided(gateway, MODEL)


def test_a_base_url_without_v1_says_what_to_do(gateway):
    answer = exchange(gateway.port, request_bytes(chat_body(MODEL), "/chat/completions", headers=("Connection: close",)))
    assert answer.status == 404 and b"/v1" in answer.body


def test_a_request_without_model_goes_to_the_only_one(gateway):
    body = json.dumps({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 40}).encode()
    answer = exchange(gateway.port, request_bytes(body, headers=("Connection: close",)))
    assert answer.status == 200 and answer.header("x-thinkgate-model") == MODEL


def test_an_upload_is_forwarded_unchanged(gateway, proxy):
    """The gateway forwards an upload unchanged. This vLLM has no transcription and answers 404 itself."""
    parts = [f'name="model"\r\n\r\n{MODEL}', 'name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\nRIFF\x00\xff\r\n']
    body = "".join(f"--xyz\r\nContent-Disposition: form-data; {part}\r\n" for part in parts).encode("latin-1") + b"--xyz--\r\n"
    kind = RequestKind("upload", "/v1/audio/transcriptions", body, ("Content-Type: multipart/form-data; boundary=xyz",))
    answer = exchange(gateway.port, kind.request("gateway"))
    wire = proxy.exchange(kind.path)
    assert wire.request.body == body
    assert wire.request.header("content-type") == "multipart/form-data; boundary=xyz"
    assert (answer.status, answer.body) == (404, wire.response.body)


def test_sigterm_lets_a_stream_finish(vllm, log):
    with Gateway(vllm.url, log) as gateway:
        gateway.wait()
        body = chat_body(MODEL, "Go on.", max_tokens=400, ignore_eos=True, stream=True)
        with contextlib.closing(connect(gateway.port)) as connection:
            connection.sendall(request_bytes(body, headers=("Connection: close",)))
            data = connection.recv(65536)
            gateway.process.send_signal(signal.SIGTERM)
            while piece := connection.recv(65536):
                data += piece
        assert b'"finish_reason":"length"' in data and b"data: [DONE]" in data
        assert gateway.process.wait(5) == 0, gateway.log_end()


def test_sigterm_ends_an_idle_gateway_at_once(vllm, log):
    with Gateway(vllm.url, log) as gateway:
        gateway.wait()
        # An idle connection is not a request in flight.
        with contextlib.closing(connect(gateway.port)) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n")
            assert b"200 OK" in connection.recv(65536)
            start = time.monotonic()
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.process.wait(10) == 0, gateway.log_end()
            assert time.monotonic() - start < 1
