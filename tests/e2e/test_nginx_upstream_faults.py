"""An nginx between the gateway and vLLM, with the settings that surprise people, and what the client sees of it."""

import asyncio
import contextlib
import json
import random
import time

import httpx
import pytest

from conftest import MODEL
from kinds import chat_body
from nginx import Nginx
from processes import free_port
from trouble import Stream, code, frozen, gateway_before, is_whole, last_error
from wire import chat, connect, exchange, request_bytes

# What nginx says itself, and vLLM never would.
OF_NGINX = b"<center>nginx"


@pytest.fixture
def before_vllm(vllm, tmp_path, log):
    """A gateway before an nginx before vLLM, or before another port; with `also`, before vLLM itself too."""
    with contextlib.ExitStack() as stack:

        def start(target: int = 0, also: bool = False, **settings: str):
            nginx = stack.enter_context(Nginx(target or vllm.port, tmp_path, **settings)).wait()
            return stack.enter_context(gateway_before(log, nginx.url, *([vllm.url] if also else [])))

        yield start


def test_a_body_that_nginx_finds_too_large_gets_its_413(before_vllm):
    """It answers when it has seen the length, and the body is still on its way to it."""
    gateway = before_vllm(location="client_max_body_size 10k;")
    for size in (20_000, 4_000_000):
        answer = chat(gateway.port, MODEL, "z" * size)
        assert answer.status == 413 and OF_NGINX in answer.body
    assert chat(gateway.port, MODEL, "Hello").status == 200


def test_a_413_from_an_nginx_that_hangs_up_is_that_or_an_error_with_a_name(before_vllm, measured):
    """Without the linger, its close resets the connection, and the reset may overtake its answer."""
    gateway = before_vllm(location="client_max_body_size 10k; lingering_close off;")
    answers = [chat(gateway.port, MODEL, "z" * 4_000_000) for _ in range(20)]
    refused = [answer for answer in answers if answer.status == 413]
    measured(f"of 20 bodies that an nginx without lingering_close refused while they came, {len(refused)} got its 413, the rest a 502")
    assert all(answer.status == 502 and code(answer) == "upstream_reset" for answer in answers if answer not in refused)
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
    """nginx only closes its connection: that the stream is not complete, its framing alone says."""
    gateway = before_vllm(location="proxy_read_timeout 1s;")
    stream = Stream(gateway)
    with frozen(vllm):
        assert last_error(stream.rest())["code"] == "upstream_reset"


def test_a_stream_that_nginx_gathers_is_whole(before_vllm, vllm):
    """Its default, proxy_buffering on: events come in heaps, cut anywhere."""
    gateway = before_vllm(location="proxy_buffering on; proxy_buffers 8 4k; proxy_buffer_size 4k; proxy_busy_buffers_size 8k;")
    body = chat_body(MODEL, "Count.", stream=True, max_tokens=400, ignore_eos=True, temperature=0)
    through = exchange(gateway.port, request_bytes(body, headers=("Connection: close", "x-thinkgate-mode: unchanged")))
    assert is_whole(through)
    directly = exchange(vllm.port, request_bytes(body, headers=("Connection: close",)))
    assert said(through) == said(directly)


def said(answer) -> str:
    """All text of a stream: how it is cut into events is a matter of timing."""
    chunks = [json.loads(line.removeprefix("data: ")) for line in answer.body.decode().splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join((delta.get("reasoning") or "") + (delta.get("content") or "") for delta in deltas)


def test_connections_that_nginx_closes_while_they_are_taken_up_again(before_vllm, measured):
    """Its keepalive_timeout races with our next request on the same connection: no client sees a connection found dead."""
    gateway = before_vllm(location="keepalive_timeout 1s;")
    statuses = asyncio.run(asked_around(gateway.url, seconds=1.0, clients=48, times=8))
    measured(f"{len(statuses)} requests around nginx's keepalive_timeout of 1 s: {statuses.count(200)} answered")
    assert set(statuses) == {200}


async def asked_around(url: str, seconds: float, clients: int, times: int) -> list[int]:
    """Statuses of requests that come in groups, a pause of about `seconds` between two of them."""
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
    """`send_timeout` is about us, but we read no faster than our client does. What has a length must never look complete."""
    size = 32 << 20  # more than all sockets on the way hold
    (tmp_path / "files").mkdir()
    with open(tmp_path / "files/big", "wb") as file:
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
