"""An nginx between the gateway and vLLM, with settings that surprise operators: what the gateway's client sees."""

import asyncio
import contextlib
import json
import random
import time

import httpx
import pytest

from tests.harness.processes import free_port

from .fault_injection import Stream, error_code, final_error, frozen, gateway_with_short_limits, is_complete
from .models import MODEL
from .nginx import Nginx
from .raw_http import chat, connect, exchange, request_bytes
from .request_kinds import chat_body

# In nginx's own error pages.
OF_NGINX = b"<center>nginx"


@pytest.fixture
def before_vllm(vllm, tmp_path, log):
    """Starts a gateway whose upstream is an nginx in front of vLLM, or of port `target`. `also` adds vLLM itself as an upstream."""
    with contextlib.ExitStack() as stack:

        def start(target: int = 0, also: bool = False, **settings: str):
            nginx = stack.enter_context(Nginx(target or vllm.port, tmp_path, **settings)).wait()
            return stack.enter_context(gateway_with_short_limits(log, nginx.url, *([vllm.url] if also else [])))

        yield start


def test_a_body_that_nginx_finds_too_large_gets_its_413(before_vllm):
    """nginx answers when it has read the content-length, while the body is still being sent."""
    gateway = before_vllm(location="client_max_body_size 10k;")
    for size in (20_000, 4_000_000):
        answer = chat(gateway.port, MODEL, "z" * size)
        assert answer.status == 413 and OF_NGINX in answer.body
    assert chat(gateway.port, MODEL, "Hello").status == 200


def test_a_413_from_an_nginx_that_hangs_up_is_that_or_an_error_with_a_name(before_vllm, measured):
    """Without lingering_close nginx resets the connection, and the reset may overtake its response."""
    gateway = before_vllm(location="client_max_body_size 10k; lingering_close off;")
    answers = [chat(gateway.port, MODEL, "z" * 4_000_000) for _ in range(20)]
    refused = [answer for answer in answers if answer.status == 413]
    measured(
        f"of 20 bodies that an nginx without lingering_close refused while they came, {len(refused)} got its 413, the rest a 502"
    )
    assert all(answer.status == 502 and error_code(answer) == "upstream_reset" for answer in answers if answer not in refused)
    assert chat(gateway.port, MODEL, "Hello").status == 200


LIMITED = {"http": "limit_req_zone $server_port zone=all:64k rate=1r/m;", "location": "limit_req zone=all; limit_req_status 429;"}


def test_a_429_of_nginx_is_relayed_when_there_is_no_other_server(before_vllm):
    gateway = before_vllm(**LIMITED)
    answers = [chat(gateway.port, MODEL, "Hello", max_tokens=3) for _ in range(5)]
    last = answers[-1]
    assert last.status == 429 and OF_NGINX in last.body


def test_a_429_of_nginx_is_not_seen_when_another_server_has_room(before_vllm):
    gateway = before_vllm(**LIMITED, also=True)
    assert [chat(gateway.port, MODEL, "Hello", max_tokens=3).status for _ in range(12)] == [200] * 12


def test_nginx_without_its_server_gives_its_502(before_vllm):
    gateway = before_vllm(target=free_port())
    answer = chat(gateway.port, MODEL, "Hello")
    assert answer.status == 502 and OF_NGINX in answer.body


def test_nginx_without_its_server_is_not_seen_when_another_has_one(before_vllm):
    gateway = before_vllm(target=free_port(), also=True)
    assert [chat(gateway.port, MODEL, "Hello", max_tokens=3).status for _ in range(12)] == [200] * 12


def test_nginx_that_does_not_wait_for_a_frozen_server_gives_its_504(before_vllm, vllm):
    gateway = before_vllm(location="proxy_read_timeout 1s;")
    with frozen(vllm):
        answer = chat(gateway.port, MODEL, "Hello")
    assert answer.status == 504 and OF_NGINX in answer.body


def test_nginx_that_gives_up_in_the_middle_of_a_stream_ends_it_with_our_error(before_vllm, vllm):
    """nginx closes its connection. Only the chunk framing shows that the stream is incomplete."""
    gateway = before_vllm(location="proxy_read_timeout 1s;")
    stream = Stream(gateway)
    with frozen(vllm):
        assert final_error(stream.read_to_end())["code"] == "upstream_reset"


def test_a_stream_that_nginx_buffers_is_complete(before_vllm, vllm):
    """With proxy_buffering, nginx's default, many events come at once, cut anywhere."""
    gateway = before_vllm(location="proxy_buffering on; proxy_buffers 8 4k; proxy_buffer_size 4k; proxy_busy_buffers_size 8k;")
    body = chat_body(MODEL, "Count.", stream=True, max_tokens=400, ignore_eos=True, temperature=0)
    through = exchange(gateway.port, request_bytes(body, headers=("Connection: close", "x-thinkgate-mode: unchanged")))
    assert is_complete(through)
    directly = exchange(vllm.port, request_bytes(body, headers=("Connection: close",)))
    assert streamed_text(through) == streamed_text(directly)


def streamed_text(answer) -> str:
    """All text of a stream, because the division into events depends on timing."""
    chunks = [json.loads(line.removeprefix("data: ")) for line in answer.body.decode().splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join((delta.get("reasoning") or "") + (delta.get("content") or "") for delta in deltas)


def test_connections_that_nginx_closes_while_they_are_reused(before_vllm, measured):
    """nginx's keepalive_timeout races with the next request on the same connection. No client may see a failure."""
    gateway = before_vllm(location="keepalive_timeout 1s;")
    statuses = asyncio.run(statuses_around_timeout(gateway.url, seconds=1.0, clients=48, times=8))
    measured(f"{len(statuses)} requests around nginx's keepalive_timeout of 1 s: {statuses.count(200)} answered")
    assert set(statuses) == {200}


async def statuses_around_timeout(url: str, seconds: float, clients: int, times: int) -> list[int]:
    """The statuses of requests of concurrent clients, each with a pause of about `seconds` between its requests."""
    statuses = []

    async def one(client: httpx.AsyncClient) -> None:
        for _ in range(times):
            answer = await client.post("/tokenize", json={"model": MODEL, "prompt": "Hello"})
            statuses.append(answer.status_code)
            await asyncio.sleep(random.uniform(seconds - 0.04, seconds + 0.02))

    async with httpx.AsyncClient(base_url=url, timeout=60) as client, asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(one(client))
    return statuses


def test_a_download_that_nginx_gives_up_because_the_client_is_slow_breaks_off(before_vllm, tmp_path):
    """The gateway reads no faster than its client, so nginx's `send_timeout` ends the download. It must not look complete."""
    size = 32 << 20  # more than all sockets on the way hold
    (tmp_path / "files").mkdir()
    with (tmp_path / "files/big").open("wb") as file:
        file.truncate(size)
    gateway = before_vllm(server=f"location /v1/files/ {{ alias {tmp_path}/files/; send_timeout 1s; }}")
    request = b"GET /v1/files/big HTTP/1.1\r\nHost: gateway\r\n\r\n"
    with contextlib.closing(connect(gateway.port)) as connection:
        connection.sendall(request)
        head, _, data = connection.recv(65536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200") and f"content-length: {size}".encode() in head.lower()
        time.sleep(5)
        received = len(data)
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(1 << 20):
                received += len(piece)
    assert 0 < received < size, "the connection ended, and not with the last byte"
