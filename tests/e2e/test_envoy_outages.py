"""Envoy's requests while thinkgate is slow, gone, overloaded or only observes, and when clients disconnect."""

import concurrent.futures
import contextlib
import http.client
import json
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest

from tests.harness.envoy import MODES, TYPES, Envoy, ExtProcListener, bootstrap, cluster, grpc_cluster
from tests.harness.processes import LOOPBACK, REPOSITORY, Processor

from .echo_server import EchoServer, echoed
from .http_messages import Message, parse_messages
from .models import HARD, MODEL
from .raw_http import CHAT, added_switch, connect, exchange, request_bytes, seconds_until, send_slowly
from .request_kinds import chat_body

MODELS = {"models": {MODEL: {"family": "qwen3"}}}
CLOSE = ("Connection: close",)


@contextlib.contextmanager
def envoy(folder, processor: Processor, *listeners: ExtProcListener, **fields):
    """An Envoy in front of an upstream that echoes. `fields` are further settings of the cluster of thinkgate."""
    with EchoServer() as echo:
        clusters = [cluster("upstream", echo.port), grpc_cluster("thinkgate", processor.grpc_port, **fields)]
        with Envoy(bootstrap(list(listeners), clusters), folder) as running:
            yield running.wait()


def ask(listener: ExtProcListener, text: str = HARD, *headers: str) -> Message:
    return exchange(listener.port, request_bytes(chat_body(MODEL, text), headers=(*CLOSE, *headers)))


@pytest.mark.parametrize("mode", MODES)
def test_without_thinkgate_requests_fail_or_pass_unchanged(log, tmp_path, mode):
    strict, lenient = ExtProcListener(mode), ExtProcListener(mode, options={"failure_mode_allow": True})
    body = chat_body(MODEL, HARD)
    with Processor(log, MODELS) as processor, envoy(tmp_path, processor.wait(), strict, lenient):
        assert [added_switch(body, echoed(ask(listener)).body) for listener in (strict, lenient)] == [True, True]
        processor.process.kill()
        processor.process.wait()
        assert ask(strict).status == 500
        answer = ask(lenient)
        if mode == "FULL_DUPLEX_STREAMED":
            assert answer.status == 500, "Envoy keeps no copy of such a body"
        else:
            assert echoed(answer).body == body
        assert answer.header("x-thinkgate-mode") is None


def test_of_1000_requests_none_is_lost_or_mixed_up(processor, envoy_listeners, measured):
    """32 clients use all body modes at once. Each request has its own marker, and most request a mode."""
    ports = [listener.port for listener in envoy_listeners.values()]
    todo = iter(range(1000))
    lock = threading.Lock()

    def client(_) -> list[str]:
        wrong = []
        with contextlib.ExitStack() as stack:
            connections = [
                stack.enter_context(contextlib.closing(http.client.HTTPConnection(LOOPBACK, port, timeout=60))) for port in ports
            ]
            while True:
                with lock:
                    number = next(todo, None)
                if number is None:
                    return wrong
                if problem := one(random.choice(connections), number):
                    wrong.append(f"{number}: {problem}")

    def one(connection: http.client.HTTPConnection, number: int) -> str | None:
        requested = random.choice(["reasoning", "direct", "unchanged", "auto"])
        body = chat_body(MODEL, f"Marker {number}: " + "word " * random.randrange(40))
        headers = {"Content-Type": "application/json", "x-thinkgate-mode": requested, "x-request-id": f"id-{number}"}
        connection.request("POST", "/echo" + CHAT, body, headers)
        response = connection.getresponse()
        [got] = parse_messages(response.read())
        mode = response.headers["x-thinkgate-mode"]
        if response.status != 200 or (requested != "auto" and mode != requested):
            return f"{response.status} {mode} instead of {requested}"
        if added_switch(body, got.body) is not {"reasoning": True, "direct": False, "unchanged": None}[mode]:
            return f"{mode}, but the upstream got {got.body!r}"
        if (got.header("x-request-id"), response.headers["x-request-id"]) != (f"id-{number}",) * 2:
            return f"the ids are {got.header('x-request-id')} and {response.headers['x-request-id']}"
        return None

    before = decided_requests(processor)
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        wrong = [problem for problems in pool.map(client, range(32)) for problem in problems]
    measured(f"1,000 requests through Envoy on 32 connections took {time.monotonic() - start:.1f} s")
    assert not wrong
    assert decided_requests(processor) - before == 1000
    seconds_until(lambda: processor.metric("thinkgate_in_flight") == 0, 5)


def decided_requests(processor: Processor) -> float:
    """The number of requests that thinkgate has counted as decided."""
    return sum(processor.metric("thinkgate_requests_total", mode=mode) for mode in ("reasoning", "direct", "unchanged"))


@pytest.fixture(scope="module")
def slow_model(work):
    """The shipped router with a tokenizer that accepts words of 10,000 letters, which takes seconds for a word of 4,000."""
    folder = shutil.copytree(REPOSITORY / "onnx" / "router", work / "slow-router")
    config = json.loads((folder / "config.json").read_text())
    config["max_position_embeddings"] = config["thinkgate"]["max_tokens"] = 2048
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["max_input_chars_per_word"] = 10_000
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def test_a_stalled_classifier_fails_no_request(slow_model, log, tmp_path):
    """Envoy's default `message_timeout` is 200 ms. It does not count the time that a slow client takes."""
    listeners = {mode: ExtProcListener(mode, options={"message_timeout": None}) for mode in MODES}
    config = MODELS | {"classifier": {"model": str(slow_model), "max_tokens": 2048, "sessions": 1, "threads": 1}}
    with Processor(log, config) as processor, envoy(tmp_path, processor.wait(), *listeners.values()) as running:
        seconds_until(lambda: explain(processor, f"Is it there at {time.monotonic()}?") == "classifier", 30)
        for listener in listeners.values():
            assert send_slowly(listener.port, "/echo" + CHAT, chat_body(MODEL, HARD), "chunked").status == 200
        # The only thread tokenises a very long word. Its request has timed out, but the thread stays busy for a second or more.
        assert explain(processor, "qx" * 2000) == "fallback"
        answers = {mode: ask(listener, f"Not in the cache, {mode}: {HARD}") for mode, listener in listeners.items()}
        for mode, answer in answers.items():
            assert answer.status == 200, mode
            assert (answer.header("x-thinkgate-why"), answer.header("x-thinkgate-mode")) == ("fallback", "unchanged"), mode
        assert running.stat("ext_proc.message_timeouts") == 0


def explain(processor: Processor, text: str) -> str:
    """The reason that `/explain` gives for the decision about this text."""
    answer = exchange(processor.port, request_bytes(chat_body(MODEL, text), "/explain", CLOSE))
    return json.loads(answer.body)["why"]


@pytest.mark.parametrize("mode", ["STREAMED", "FULL_DUPLEX_STREAMED"])
def test_a_slow_client_takes_no_place_and_is_gone_when_it_disconnects(log, tmp_path, mode):
    """With max_in_flight 1, a client whose body is still coming does not keep the next request from being answered."""
    listener = ExtProcListener(mode)
    with Processor(log, MODELS | {"server": {"max_in_flight": 1}}) as processor, envoy(tmp_path, processor.wait(), listener):
        for _ in range(2):
            with contextlib.closing(connect(listener.port)) as slow:
                slow.sendall(request_bytes(chat_body(MODEL, HARD))[:-20])
                seconds_until(lambda: processor.metric("thinkgate_in_flight") == 1, 5)
                assert ask(listener).status == 200
            seconds_until(lambda: processor.metric("thinkgate_in_flight") == 0, 5)
            assert ask(listener).status == 200
            seconds_until(lambda: processor.metric("thinkgate_in_flight") == 0, 5)


@pytest.mark.parametrize("mode", MODES)
def test_a_body_that_stops_coming_gets_408(log, tmp_path, mode):
    """Envoy itself would wait for minutes."""
    listener = ExtProcListener(mode)
    with Processor(log, MODELS | {"server": {"body_ms": 1000}}) as processor, envoy(tmp_path, processor.wait(), listener):
        with contextlib.closing(connect(listener.port)) as slow:
            slow.sendall(request_bytes(chat_body(MODEL, HARD), headers=CLOSE)[:-20])
            [answer] = parse_messages(b"".join(iter(lambda: slow.recv(65536), b"")))
        assert answer.status == 408 and "server.body_ms = 1000 ms" in json.loads(answer.body)["error"]["message"]
        assert ask(listener).status == 200


def test_in_observability_mode_it_only_reports_what_it_would_do(log, tmp_path):
    """In this mode Envoy does not wait for thinkgate, and thinkgate changes nothing."""
    shadow = ExtProcListener("STREAMED", options={"observability_mode": True, "deferred_close_timeout": "0.5s"})
    with Processor(log, MODELS) as processor, envoy(tmp_path, processor.wait(), shadow):
        body = chat_body(MODEL, HARD)
        answer = ask(shadow)
        got = echoed(answer)
        assert got.body == body and got.header("content-length") == str(len(body))
        assert got.header("x-thinkgate-mode") is None and answer.header("x-thinkgate-mode") is None
        seconds_until(lambda: processor.metric("thinkgate_requests_total", mode="reasoning", why="classifier") == 1, 5)
        seconds_until(lambda: processor.metric("thinkgate_in_flight") == 0, 5)

        def is_logged() -> bool:
            lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
            return any((line.get("mode"), line.get("why")) == ("reasoning", "classifier") for line in lines)

        seconds_until(is_logged, 5)  # log lines are buffered for a moment


def test_envoy_reaches_thinkgate_by_tls(log, tmp_path):
    certificate, key = make_certificate(tmp_path)
    validation = {"trusted_ca": {"filename": str(certificate)}}
    tls = {
        "@type": TYPES + "transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "thinkgate.test",
        "auto_sni_san_validation": True,
        "common_tls_context": {"validation_context": validation},
    }
    socket = {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls}}
    ext_proc = {"tls": {"cert": str(certificate), "key": str(key)}}
    encrypted, plain = ExtProcListener(), ExtProcListener()
    with Processor(log, MODELS, ext_proc) as processor:
        with envoy(tmp_path, processor.wait(), encrypted, **socket):
            assert ask(encrypted).header("x-thinkgate-why") == "classifier"
        with envoy(tmp_path, processor, plain):
            assert ask(plain).status == 500, "without TLS Envoy cannot reach it"


def make_certificate(folder):
    """Makes a self-signed certificate; returns the files of certificate and key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += [
        "-subj",
        "/CN=thinkgate.test",
        "-addext",
        "subjectAltName=DNS:thinkgate.test",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def test_envoys_health_check_notices_that_thinkgate_stops_and_restarts(log, tmp_path):
    check = {"timeout": "1s", "interval": "0.1s", "no_traffic_interval": "0.1s", "unhealthy_threshold": 1, "healthy_threshold": 1,
             "grpc_health_check": {"service_name": "envoy.service.ext_proc.v3.ExternalProcessor"}}  # fmt: skip
    listener = ExtProcListener()
    with Processor(log, MODELS) as processor, envoy(tmp_path, processor.wait(), listener, health_checks=[check]) as running:

        def healthy() -> bool:
            return running.stat("thinkgate.membership_healthy") == 1

        seconds_until(healthy, 10)
        assert running.stat("thinkgate.health_check.success") > 0
        processor.process.kill()
        processor.process.wait()
        seconds_until(lambda: not healthy(), 10)
        with Processor(log, MODELS, {"listen": f"{LOOPBACK}:{processor.grpc_port}"}) as another:
            another.wait()
            seconds_until(healthy, 10)
            assert ask(listener).header("x-thinkgate-why") == "classifier"


def test_after_sigterm_running_requests_still_get_their_decision_headers(envoy_proxy, vllm, log, tmp_path):
    """vLLM generates for two more seconds. Then Envoy sends the response headers to thinkgate, which is draining."""
    listener = ExtProcListener()
    with Processor(log, MODELS) as processor:
        clusters = [cluster("upstream", envoy_proxy.port), grpc_cluster("thinkgate", processor.wait().grpc_port)]
        with Envoy(bootstrap([listener], clusters), tmp_path).wait(), concurrent.futures.ThreadPoolExecutor(1) as pool:
            body = chat_body(MODEL, HARD, max_tokens=1024, ignore_eos=True)
            asked = pool.submit(exchange, listener.port, request_bytes(body, headers=CLOSE))
            seconds_until(lambda: vllm.running() == 1, 10)
            processor.process.send_signal(signal.SIGTERM)
            answer = asked.result(60)
            assert (answer.status, answer.header("x-thinkgate-mode")) == (200, "reasoning")
            assert processor.process.wait(5) == 0, processor.log_end()
