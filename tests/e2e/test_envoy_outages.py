"""What happens to Envoy's requests when thinkgate is late, gone, full, or only listens, and when clients leave."""

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

from conftest import MODEL
from echo import Echo, echoed
from envoy import MODES, TYPES, Door, Envoy, bootstrap, cluster, grpc_cluster
from hop import Message, messages
from kinds import chat_body
from processes import LOOPBACK, REPOSITORY, Processor
from test_client_choice import HARD
from test_envoy import send_slowly
from wire import CHAT, connect, exchange, request_bytes, seconds_until, switch_in

MODELS = {"models": {MODEL: {"family": "qwen3"}}}
CLOSE = ("Connection: close",)


@contextlib.contextmanager
def envoy(folder, processor: Processor, *doors: Door, **fields):
    """Envoy in front of an upstream that echoes; `fields` are more of what it knows about thinkgate."""
    with Echo() as echo:
        clusters = [cluster("upstream", echo.port), grpc_cluster("thinkgate", processor.grpc_port, **fields)]
        with Envoy(bootstrap(list(doors), clusters), folder) as running:
            yield running.wait()


def ask(door: Door, text: str = HARD, *headers: str) -> Message:
    return exchange(door.port, request_bytes(chat_body(MODEL, text), headers=(*CLOSE, *headers)))


@pytest.mark.parametrize("mode", MODES)
def test_without_thinkgate_requests_fail_or_go_on_as_they_came(log, tmp_path, mode):
    strict, lenient = Door(mode), Door(mode, options={"failure_mode_allow": True})
    body = chat_body(MODEL, HARD)
    with Processor(log, MODELS) as processor, envoy(tmp_path, processor.wait(), strict, lenient):
        assert [switch_in(body, echoed(ask(door)).body) for door in (strict, lenient)] == [True, True]
        processor.process.kill()
        processor.process.wait()
        assert ask(strict).status == 500
        answer = ask(lenient)
        if mode == "FULL_DUPLEX_STREAMED":
            assert answer.status == 500, "Envoy keeps nothing of such a body that it could send on"
        else:
            assert echoed(answer).body == body
        assert answer.header("x-thinkgate-mode") is None


def test_of_1000_requests_none_is_lost_or_swapped(processor, envoy_doors, measured):
    """32 connections, all body modes at once. Each request has a marker of its own, and most say what they want."""
    ports = [door.port for door in envoy_doors.values()]
    todo = iter(range(1000))
    lock = threading.Lock()

    def client(_) -> list[str]:
        wrong = []
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(contextlib.closing(http.client.HTTPConnection(LOOPBACK, port, timeout=60))) for port in ports]
            while True:
                with lock:
                    number = next(todo, None)
                if number is None:
                    return wrong
                if problem := one(random.choice(connections), number):
                    wrong.append(f"{number}: {problem}")

    def one(connection: http.client.HTTPConnection, number: int) -> str | None:
        wish = random.choice(["reasoning", "direct", "unchanged", "auto"])
        body = chat_body(MODEL, f"Marker {number}: " + "word " * random.randrange(40))
        headers = {"Content-Type": "application/json", "x-thinkgate-mode": wish, "x-request-id": f"id-{number}"}
        connection.request("POST", "/echo" + CHAT, body, headers)
        response = connection.getresponse()
        [got] = messages(response.read())
        mode = response.headers["x-thinkgate-mode"]
        if response.status != 200 or (wish != "auto" and mode != wish):
            return f"{response.status} {mode} instead of {wish}"
        if switch_in(body, got.body) is not {"reasoning": True, "direct": False, "unchanged": None}[mode]:
            return f"{mode}, but the upstream got {got.body!r}"
        if (got.header("x-request-id"), response.headers["x-request-id"]) != (f"id-{number}",) * 2:
            return f"the ids are {got.header('x-request-id')} and {response.headers['x-request-id']}"
        return None

    before = judged(processor)
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        wrong = [problem for problems in pool.map(client, range(32)) for problem in problems]
    measured(f"1,000 requests through Envoy on 32 connections took {time.monotonic() - start:.1f} s")
    assert not wrong
    assert judged(processor) - before == 1000
    seconds_until(lambda: processor.metric("thinkgate_in_flight") == 0, 5)


def judged(processor: Processor) -> float:
    return sum(processor.metric("thinkgate_requests_total", mode=mode) for mode in ("reasoning", "direct", "unchanged"))


@pytest.fixture(scope="module")
def slow_model(work):
    """The shipped router, which takes seconds for a word of 4,000 letters: its tokenizer may look for pieces of words that long."""
    folder = shutil.copytree(REPOSITORY / "onnx" / "router", work / "slow-router")
    config = json.loads((folder / "config.json").read_text())
    config["max_position_embeddings"] = config["thinkgate"]["max_tokens"] = 2048
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["max_input_chars_per_word"] = 10_000
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def test_a_stalled_classifier_fails_no_request(slow_model, log, tmp_path):
    """Envoy is told of no `message_timeout`: it waits 200 ms. Nor does it count what a slow client takes."""
    doors = {mode: Door(mode, options={"message_timeout": None}) for mode in MODES}
    config = MODELS | {"classifier": {"model": str(slow_model), "max_tokens": 2048, "sessions": 1, "threads": 1}}
    with Processor(log, config) as processor, envoy(tmp_path, processor.wait(), *doors.values()) as running:
        seconds_until(lambda: explain(processor, f"Is it there at {time.monotonic()}?") == "classifier", 30)
        for door in doors.values():
            assert send_slowly(door.port, chat_body(MODEL, HARD), "chunked").status == 200
        # The model's only thread reads a very long word; whoever asked gave up waiting, but it goes on for a second or more.
        assert explain(processor, "qx" * 2000) == "fallback"
        answers = {mode: ask(door, f"Not heard of before, {mode}: {HARD}") for mode, door in doors.items()}
        for mode, answer in answers.items():
            assert answer.status == 200, mode
            assert (answer.header("x-thinkgate-why"), answer.header("x-thinkgate-mode")) == ("fallback", "unchanged"), mode
        assert running.stat("ext_proc.message_timeouts") == 0


def explain(processor: Processor, text: str) -> str:
    """Why a request that says this would get its mode."""
    answer = exchange(processor.port, request_bytes(chat_body(MODEL, text), "/explain", CLOSE))
    return json.loads(answer.body)["why"]


@pytest.mark.parametrize("mode", ["STREAMED", "FULL_DUPLEX_STREAMED"])
def test_a_client_that_leaves_frees_its_place(log, tmp_path, mode):
    """There is one place. While somebody sends slowly it is taken, and the next one is told so."""
    door = Door(mode)
    with Processor(log, MODELS | {"server": {"max_in_flight": 1}}) as processor, envoy(tmp_path, processor.wait(), door):
        for _ in range(2):
            with contextlib.closing(connect(door.port)) as leaving:
                leaving.sendall(request_bytes(chat_body(MODEL, HARD))[:-20])
                seconds_until(lambda: processor.metric("thinkgate_in_flight") == 1, 5)
                refused = ask(door)
                assert refused.status == 429 and json.loads(refused.body)["error"]["code"] == "overloaded"
                assert refused.header("retry-after")
            seconds_until(lambda: processor.metric("thinkgate_in_flight") == 0, 5)
            assert ask(door).status == 200
            seconds_until(lambda: processor.metric("thinkgate_in_flight") == 0, 5)


def test_as_a_shadow_it_only_says_what_it_would_do(log, tmp_path):
    """Envoy's observability mode: nothing waits for thinkgate, and nothing is changed by it."""
    shadow = Door("STREAMED", options={"observability_mode": True, "deferred_close_timeout": "0.5s"})
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

        seconds_until(is_logged, 5)  # lines are gathered for a moment before they are written


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
    encrypted, plain = Door(), Door()
    with Processor(log, MODELS, ext_proc) as processor:
        with envoy(tmp_path, processor.wait(), encrypted, **socket):
            assert ask(encrypted).header("x-thinkgate-why") == "classifier"
        with envoy(tmp_path, processor, plain):
            assert ask(plain).status == 500, "without TLS it is not to be reached"


def make_certificate(folder):
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=thinkgate.test", "-addext", "subjectAltName=DNS:thinkgate.test", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def test_envoys_health_check_sees_thinkgate_go_and_come_back(log, tmp_path):
    check = {"timeout": "1s", "interval": "0.1s", "no_traffic_interval": "0.1s", "unhealthy_threshold": 1, "healthy_threshold": 1,
             "grpc_health_check": {"service_name": "envoy.service.ext_proc.v3.ExternalProcessor"}}  # fmt: skip
    door = Door()
    with Processor(log, MODELS) as processor, envoy(tmp_path, processor.wait(), door, health_checks=[check]) as running:
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
            assert ask(door).header("x-thinkgate-why") == "classifier"


def test_sigterm_lets_running_answers_be_told(envoy_hop, vllm, log, tmp_path):
    """vLLM generates for two seconds more; then Envoy asks for the headers of the answer, as ever."""
    door = Door()
    with Processor(log, MODELS) as processor:
        clusters = [cluster("upstream", envoy_hop.port), grpc_cluster("thinkgate", processor.wait().grpc_port)]
        with Envoy(bootstrap([door], clusters), tmp_path).wait(), concurrent.futures.ThreadPoolExecutor(1) as pool:
            body = chat_body(MODEL, HARD, max_tokens=1024, ignore_eos=True)
            asked = pool.submit(exchange, door.port, request_bytes(body, headers=CLOSE))
            seconds_until(lambda: vllm.running() == 1, 10)
            processor.process.send_signal(signal.SIGTERM)
            answer = asked.result(60)
            assert (answer.status, answer.header("x-thinkgate-mode")) == (200, "reasoning")
            assert processor.process.wait(5) == 0, processor.log_end()
