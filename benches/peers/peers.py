"""Starts the programs that are compared, each on a port of its own, in front of the same model server."""

import contextlib
import json
import os
import pathlib
import shutil
import sys

from tests.harness.envoy import BUFFER, Envoy, ExtProcListener, bootstrap, cluster, grpc_cluster, route
from tests.harness.processes import REPOSITORY, ServerProcess, free_port

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target") / "release"
RIG = TARGET / "examples" / "rig"
MODEL = "Qwen3-8B"
WORKERS = len(os.sched_getaffinity(0))  # threads of each proxy, the default of thinkgate and vllm-router

NGINX = """
daemon off; worker_processes {workers}; pid nginx.pid; error_log stderr warn;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  upstream up {{ server {upstream}; keepalive 64; keepalive_requests 1000000; }}
  server {{ listen 127.0.0.1:{port} backlog=1024; location / {{
    proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    client_body_buffer_size 64k; }} }}
}}
"""


class Peers:
    """Starts programs; all of them end with `stack`.

    A method with the name of a program starts it. It returns the port to send requests to, and the processes to measure.
    """

    def __init__(self, folder: pathlib.Path, stack: contextlib.ExitStack):
        self.folder, self.stack = folder, stack
        self.upstream = self.start("upstream", lambda port: [RIG, "upstream", f"127.0.0.1:{port}"], "/v1/models")

    def start(self, name: str, command, ready: str, env: dict | None = None, port: int | None = None) -> ServerProcess:
        """Starts `command(port)`, and waits until the path `ready` answers 200."""
        port = port or free_port()
        child = self.stack.enter_context(ServerProcess(command(port), port, self.folder / f"{name}.log", env=env))
        if ready:
            child.wait_for(ready, 200, 60)
        return child

    def write(self, name: str, text: str) -> pathlib.Path:
        """Writes a file for one of the programs."""
        path = self.folder / name
        path.write_text(text)
        return path

    def direct(self):
        """The model server itself."""
        return self.upstream.port, [self.upstream]

    def nginx(self):
        if not shutil.which("nginx"):
            raise LookupError("nginx is not installed: apt-get install nginx-light")
        home = self.folder / "nginx"
        home.mkdir()

        def command(port):
            text = NGINX.format(workers=WORKERS, port=port, upstream=self.upstream.address)
            return ["nginx", "-p", home, "-e", "stderr", "-c", self.write("nginx.conf", text)]

        child = self.start("nginx", command, "/v1/models")
        return child.port, [child]

    def envoy(self):
        # The router is its only filter.
        listener = ExtProcListener(routes=[route("upstream")])
        config = bootstrap([listener], [cluster("upstream", self.upstream.port)])
        manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        manager["http_filters"] = manager["http_filters"][-1:]
        envoy = self.stack.enter_context(Envoy(config, self.folder, "envoy", WORKERS)).wait()
        return listener.port, [envoy]

    def envoy_noop(self):
        """Envoy with an external processor that does nothing."""
        port = free_port()
        noop = self.stack.enter_context(ServerProcess([RIG, "noop", f"127.0.0.1:{port}"], port, self.folder / "noop.log"))
        return self.behind_envoy("envoy_noop", noop, port)

    def envoy_thinkgate(self):
        """Envoy with thinkgate as its external processor."""
        port = free_port()
        child = self.thinkgate_with("envoy_thinkgate", f"ext_proc: {{ listen: '127.0.0.1:{port}' }}\n")
        return self.behind_envoy("envoy_thinkgate", child, port)

    def behind_envoy(self, name: str, processor: ServerProcess, port: int):
        """Envoy with the external processor that listens at `port`."""
        listener = ExtProcListener(routes=[route("upstream")], processor="processor", buffer=BUFFER)
        clusters = [cluster("upstream", self.upstream.port), grpc_cluster("processor", port)]
        envoy = self.stack.enter_context(Envoy(bootstrap([listener], clusters), self.folder, name, WORKERS)).wait()
        return listener.port, [envoy, processor]

    def thinkgate(self):
        return self.build("thinkgate", TARGET / "thinkgate")

    def build(self, name: str, program: pathlib.Path):
        """A build of thinkgate."""
        child = self.thinkgate_with(name, "", program=program)
        return child.port, [child]

    def thinkgate_with(
        self, name: str, more: str, env: dict | None = None, ready: str = "/ready", program: pathlib.Path = TARGET / "thinkgate"
    ) -> ServerProcess:
        """thinkgate with `more` lines of configuration."""

        def command(port):
            model = f"models: {{ {MODEL}: {{ endpoints: [{{ url: '{self.upstream.url}' }}] }} }}\n"
            text = f"listen: 127.0.0.1:{port}\n{model}{more}"
            return [program, "serve", "--config", self.write(f"{name}.yaml", text)]

        return self.start(name, command, ready, env)

    def vllm_router(self):
        metrics = free_port()

        def command(port):
            at = ["--host", "127.0.0.1", "--port", port, "--worker-urls", self.upstream.url]
            there = ["--prometheus-host", "127.0.0.1", "--prometheus-port", metrics]
            return [pathlib.Path(sys.executable).parent / "vllm-router", *at, "--policy", "round_robin", *there]

        child = self.start("vllm-router", command, "/v1/models")
        return child.port, [child]

    def litellm(self):
        home = os.environ.get("LITELLM")
        if not home:
            raise LookupError("LiteLLM is not installed")
        settings = {"model": f"openai/{MODEL}", "api_base": f"{self.upstream.url}/v1", "api_key": "none"}
        text = json.dumps({"model_list": [{"model_name": MODEL, "litellm_params": settings}]})
        quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}

        def command(port):
            return [f"{home}/bin/litellm", "--config", self.write("litellm.yaml", text), "--host", "127.0.0.1", "--port", port]

        child = self.start("litellm", command, "/health/liveliness", env=quiet)
        return child.port, [child]


NAMES = ["direct", "nginx", "envoy", "thinkgate", "vllm_router", "litellm", "envoy_noop", "envoy_thinkgate"]
