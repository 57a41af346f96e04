"""A template that differs from what the model's name promises: thinkgate asks `/tokenize` and switches as it really goes."""

import contextlib
import json
import time

import pytest

from conftest import MODEL
from hop import Hop
from kinds import chat_body
from nginx import Nginx
from processes import Gateway, Vllm, make_model
from wire import CHAT, chat, exchange, request_bytes, switch_in

PROBED_S = 15
# The beginning of what the tiny model thinks. vLLM's parser may put it elsewhere when the switch is not the one it knows.
THOUGHT = "the user asks a question"
# In the model's own template.
SWITCH = "enable_thinking is defined and enable_thinking is false"


@pytest.fixture(scope="module")
def odd_vllms(work):
    """Two servers of models named like a Qwen3: the switch of one is called `thinking`, the other has none."""
    model = make_model(work / "Qwen3-0.6B-odd")
    template = (model / "chat_template.jinja").read_text()
    assert SWITCH in template
    with contextlib.ExitStack() as stack:
        servers = []
        for name, switch in (("renamed", SWITCH.replace("enable_thinking", "thinking")), ("deaf", "false")):
            file = work / f"{name}.jinja"
            file.write_text(template.replace(SWITCH, switch))
            servers.append(stack.enter_context(Vllm(model, MODEL, work / f"{name}-vllm.log", flags=["--chat-template", str(file)])))
        yield [server.wait() for server in servers]


def explained(gateway: Gateway) -> dict:
    """What thinkgate knows of the only endpoint."""
    answer = exchange(gateway.port, request_bytes(chat_body(MODEL), "/explain", headers=("Connection: close",)))
    [endpoint] = json.loads(answer.body)["endpoints"]
    return endpoint


def probed(gateway: Gateway) -> dict:
    deadline = time.monotonic() + PROBED_S
    while not (found := explained(gateway)["probed"]):
        assert time.monotonic() < deadline, gateway.log_end()
        time.sleep(0.1)
    return found


def thinks(gateway: Gateway, mode: str) -> bool:
    answer = chat(gateway.port, MODEL, "Hello", headers=(f"x-thinkgate-mode: {mode}",))
    assert answer.status == 200 and answer.header("x-thinkgate-mode") == mode
    return THOUGHT in answer.body.decode()


def test_a_model_that_is_what_its_name_says(gateway):
    assert probed(gateway) == {"family": "qwen3", "default": "reasoning", "changes": "tail"}
    assert explained(gateway)["family"] == "qwen3"


def test_a_switch_with_another_name_is_found_and_used(odd_vllms, log):
    with Hop(odd_vllms[0].port).listen() as hop, Gateway(hop.url, log) as gateway:
        gateway.wait()
        assert probed(gateway) == {"family": "thinking", "default": "reasoning", "changes": "tail"}
        assert thinks(gateway, "reasoning") and not thinks(gateway, "direct")
        sent = [json.loads(exchange.request.body)["chat_template_kwargs"] for exchange in hop.exchanges(CHAT)]
        assert sent == [{"thinking": True}, {"thinking": False}]
        assert "its chat template switches like `thinking`" in log.read_text()


def test_a_template_without_a_switch_is_left_alone(odd_vllms, log):
    """The switch of its name would do nothing, and the answer would claim a mode that it has not."""
    with Hop(odd_vllms[1].port).listen() as hop, Gateway(hop.url, log) as gateway:
        gateway.wait()
        assert probed(gateway) == {"family": "fixed"}
        body = chat_body(MODEL, "Prove that there is no largest prime.")
        answer = exchange(gateway.port, request_bytes(body, headers=("Connection: close",)))
        assert (answer.header("x-thinkgate-mode"), answer.header("x-thinkgate-why")) == ("unchanged", "fixed")
        assert THOUGHT in answer.body.decode()
        assert switch_in(body, hop.exchange(CHAT).request.body) is None


def test_a_server_without_the_route_is_left_to_its_name(vllm, tmp_path, log):
    with Nginx(vllm.port, tmp_path, server="location = /tokenize { return 404; }") as nginx:
        with Gateway(nginx.wait().url, log) as gateway:
            gateway.wait()
            assert thinks(gateway, "reasoning") and not thinks(gateway, "direct")
            endpoint = explained(gateway)
            assert (endpoint["family"], endpoint["probed"]) == ("qwen3", None)
