"""thinkgate probes `/tokenize` for the switch that the chat template really has, which may differ from the model's name."""

import contextlib
import json
import time

import pytest

from tests.harness.processes import Gateway, Vllm, make_model

from .models import MODEL
from .nginx import Nginx
from .raw_http import CHAT, added_switch, chat, exchange, request_bytes
from .recording_proxy import RecordingProxy
from .request_kinds import chat_body

PROBED_S = 15
# The beginning of the tiny model's reasoning. With a switch that vLLM's parser does not know it may be in the content.
THOUGHT = "the user asks a question"
# The condition in the model's own template.
SWITCH = "enable_thinking is defined and enable_thinking is false"


@pytest.fixture(scope="module")
def odd_vllms(work):
    """Two servers of models with the name of a Qwen3: the switch of one is called `thinking`, the other has no switch."""
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
    """What `/explain` reports about the only endpoint."""
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


def test_the_probe_confirms_what_the_name_says(gateway):
    assert probed(gateway) == {"family": "qwen3", "default": "reasoning", "changes": "tail"}
    assert explained(gateway)["family"] == "qwen3"


def test_a_switch_with_another_name_is_found_and_used(odd_vllms, log):
    with RecordingProxy(odd_vllms[0].port).listen() as proxy, Gateway(proxy.url, log) as gateway:
        gateway.wait()
        assert probed(gateway) == {"family": "thinking", "default": "reasoning", "changes": "tail"}
        assert thinks(gateway, "reasoning") and not thinks(gateway, "direct")
        sent = [json.loads(exchange.request.body)["chat_template_kwargs"] for exchange in proxy.exchanges(CHAT)]
        assert sent == [{"thinking": True}, {"thinking": False}]
        assert "its chat template switches like `thinking`" in log.read_text()


def test_a_template_without_a_switch_is_left_alone(odd_vllms, log):
    """The switch of its family would have no effect, and the response would report a mode that is not true."""
    with RecordingProxy(odd_vllms[1].port).listen() as proxy, Gateway(proxy.url, log) as gateway:
        gateway.wait()
        assert probed(gateway) == {"family": "fixed"}
        body = chat_body(MODEL, "Prove that there is no largest prime.")
        answer = exchange(gateway.port, request_bytes(body, headers=("Connection: close",)))
        assert (answer.header("x-thinkgate-mode"), answer.header("x-thinkgate-why")) == ("unchanged", "fixed")
        assert THOUGHT in answer.body.decode()
        assert added_switch(body, proxy.exchange(CHAT).request.body) is None


def test_without_a_tokenize_route_the_name_decides(vllm, tmp_path, log):
    server = "location = /tokenize { return 404; }"
    with Nginx(vllm.port, tmp_path, server=server) as nginx, Gateway(nginx.wait().url, log) as gateway:
        gateway.wait()
        assert thinks(gateway, "reasoning") and not thinks(gateway, "direct")
        endpoint = explained(gateway)
        assert (endpoint["family"], endpoint["probed"]) == ("qwen3", None)
