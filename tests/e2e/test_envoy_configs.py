"""The Envoy configurations that the repository offers, and the one that vLLM's semantic router generates."""

import json
import subprocess
import sys

import yaml

from tests.harness.envoy import Envoy, ExtProcListener, bootstrap, cluster, grpc_cluster, installed_program, route, validate
from tests.harness.processes import LOOPBACK, REPOSITORY, Processor, free_port

from .models import EASY, HARD, MODEL
from .raw_http import CHAT, chat
from .recording_proxy import RecordingProxy

CONFIGS = REPOSITORY / "configs" / "envoy"
PATIENT = {"classifier": {"deadline_ms": 10000}}  # so that the classifier does not fall back on a busy machine


def documents(name: str) -> list[dict]:
    """The YAML documents of a file in configs/envoy."""
    return list(yaml.safe_load_all((CONFIGS / name).read_text()))


def with_ports(config, ports: dict[int, int]):
    """The same configuration with other ports: `ports` maps old to new."""
    if isinstance(config, list):
        return [with_ports(value, ports) for value in config]
    if isinstance(config, dict):
        return {key: ports[value] if key == "port_value" else with_ports(value, ports) for key, value in config.items()}
    return config


def found(config, key: str) -> list:
    """All values of `key`, at any depth."""
    values = config.values() if isinstance(config, dict) else config if isinstance(config, list) else []
    here = [config[key]] if isinstance(config, dict) and key in config else []
    return here + [value for inner in values for value in found(inner, key)]


def check_responses(port: int, proxy: RecordingProxy) -> None:
    """Checks decisions, switches and bodies, for a hard and an easy prompt, streamed and not."""
    for text, mode in ((HARD, "reasoning"), (EASY, "direct")):
        for stream in (False, True):
            proxy.clear()
            answer = chat(port, MODEL, text, max_tokens=1024, stream=stream)
            assert (answer.header("x-thinkgate-mode"), answer.header("x-thinkgate-why")) == (mode, "classifier"), answer
            wire = proxy.exchange(CHAT)
            assert answer.body == wire.response.body
            assert (b'"reasoning":" the' in answer.body) is (mode == "reasoning")
            assert json.loads(wire.request.body)["chat_template_kwargs"] == {"enable_thinking": mode == "reasoning"}


def test_envoy_accepts_the_bootstrap():
    command = [installed_program("envoy"), "--mode", "validate", "-c", CONFIGS / "envoy.yaml"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
    assert "deprecated" not in checked.stderr


def test_the_bootstrap_serves_a_real_vllm(envoy_proxy, log, tmp_path):
    """Only its ports and its message_timeout are changed."""
    [config] = documents("envoy.yaml")
    listen = free_port()
    with Processor(log, PATIENT) as processor:
        ports = {10000: listen, 50051: processor.wait().grpc_port, 8000: envoy_proxy.port, 9901: free_port()}
        config = with_ports(config, ports)
        [listener] = config["static_resources"]["listeners"]
        [external, _] = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
        external["typed_config"]["message_timeout"] = "30s"
        with Envoy(config, tmp_path) as envoy:
            envoy.wait()
            check_responses(listen, envoy_proxy)
            assert envoy.stat("ext_proc.failure_mode_allowed") == 0
            assert envoy.stat("cluster.thinkgate.membership_healthy") == 1


def test_envoy_accepts_the_patches_for_istio(tmp_path):
    [_, envoy_filter] = documents("istio.yaml")
    external, limit = (patch["patch"]["value"] for patch in envoy_filter["spec"]["configPatches"])
    [thinkgate] = found(external, "cluster_name")
    config = bootstrap(
        [ExtProcListener(routes=[route("vllm")])], [cluster("vllm", free_port()), grpc_cluster(thinkgate, free_port())]
    )
    [listener] = config["static_resources"]["listeners"]
    listener |= limit
    filters = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    filters[0] = external
    validate(config, tmp_path)


def test_all_configurations_use_the_same_processing_mode():
    """BUFFERED, or the only mode that agentgateway has for large bodies; response headers, and no response body."""
    [_, istio], [policy, *_], [agent] = (documents(name) for name in ("istio.yaml", "envoy-gateway.yaml", "agentgateway.yaml"))
    for config in (documents("envoy.yaml"), istio):
        [mode] = found(config, "processing_mode")
        assert mode["request_body_mode"] == "BUFFERED"
        assert (mode["request_header_mode"], mode["response_header_mode"], mode["response_body_mode"]) == ("SEND", "SEND", "NONE")
    assert found(policy, "processingMode") == [{"request": {"body": "Buffered", "attributes": ["source.address"]}, "response": {}}]
    [options] = found(agent, "processingOptions")
    assert (options["requestBodyMode"], options["responseHeaderMode"], options["responseBodyMode"]) == (
        "fullDuplexStreamed",
        "send",
        "none",
    )


# `vllm-sr` with the C loader for YAML. The Python loader takes ten seconds for the catalogue of models that it has.
VLLM_SR = "import sys, yaml; yaml.SafeLoader = yaml.CSafeLoader; from cli.main import main; main(sys.argv[1:])"
ROUTER_CONFIG = """
version: v0.3
listeners: [{ name: chat, address: 0.0.0.0, port: 8899, timeout: 300s }]
providers:
  defaults: { model: MODEL }
  models:
  - name: MODEL
    backend_refs: [{ name: primary, provider: vllm, endpoint: "127.0.0.1:8000", protocol: http, weight: 100 }]
routing:
  modelCards: [{ name: MODEL }]
  decisions:
  - name: all
    description: Every request.
    priority: 100
    rules: { operator: AND, conditions: [] }
    modelRefs: [{ model: MODEL, use_reasoning: false }]
"""


def test_it_replaces_vllms_semantic_router(processor, envoy_proxy, tmp_path):
    """`vllm-sr` writes this configuration for its own processor. It sends response bodies too."""
    file = tmp_path / "router.yaml"
    file.write_text(ROUTER_CONFIG.replace("MODEL", MODEL))
    command = [sys.executable, "-c", VLLM_SR, "config", "envoy", "--config", file]
    written = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    config = yaml.safe_load(written.stdout)
    assert found(config, "response_body_mode") == ["BUFFERED"]
    listen = free_port()
    config = with_ports(config, {8899: listen, 50051: processor.grpc_port, 8000: envoy_proxy.port, 9901: free_port()})
    [listener] = config["static_resources"]["listeners"]
    listener["address"]["socket_address"]["address"] = LOOPBACK
    [access] = listener["filter_chains"][0]["filters"][0]["typed_config"]["access_log"]
    access["typed_config"]["path"] = str(tmp_path / "access.log")
    with Envoy(config, tmp_path) as envoy:
        envoy.wait()
        check_responses(listen, envoy_proxy)
        assert envoy.stat("ext_proc.failure_mode_allowed") == 0
