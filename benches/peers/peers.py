"""Every program that is compared, in front of the same model server, each on a port of its own."""

import contextlib
import json
import os
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "real"))

from envoy import BUFFER, Door, Envoy, bootstrap, cluster, grpc_cluster, route  # noqa: E402
from processes import REPOSITORY, Child, free_port  # noqa: E402

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target") / "release"
RIG = TARGET / "examples" / "rig"
MODEL = "Qwen3-8B"
WORKERS = len(os.sched_getaffinity(0))  # of each proxy, as thinkgate and vllm-router have unasked

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
    """Starts programs and ends them together."""

    def __init__(self, folder: pathlib.Path, stack: contextlib.ExitStack):
        self.folder, self.stack = folder, stack
        self.upstream = self.start("upstream", lambda port: [RIG, "upstream", f"127.0.0.1:{port}"], "/v1/models")

    def start(self, name: str, command, ready: str, env: dict | None = None, port: int | None = None) -> Child:
        port = port or free_port()
        child = self.stack.enter_context(Child(command(port), port, self.folder / f"{name}.log", env=env))
        if ready:
            child.wait_for(ready, 200, 60)
        return child

    def write(self, name: str, text: str) -> pathlib.Path:
        path = self.folder / name
        path.write_text(text)
        return path

    # Each of these answers with the port to ask, and the programs whose time is counted.

    def direct(self):
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
        # Without the filter: a door whose only filter is the router.
        door = Door(routes=[route("upstream")])
        config = bootstrap([door], [cluster("upstream", self.upstream.port)])
        manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        manager["http_filters"] = manager["http_filters"][-1:]
        envoy = self.stack.enter_context(Envoy(config, self.folder, "envoy", WORKERS)).wait()
        return door.port, [envoy]

    def envoy_noop(self):
        port = free_port()
        noop = self.stack.enter_context(Child([RIG, "noop", f"127.0.0.1:{port}"], port, self.folder / "noop.log"))
        return self.behind_envoy("envoy_noop", noop, port)

    def envoy_thinkgate(self):
        port = free_port()
        child = self.thinkgate_with("envoy_thinkgate", f"ext_proc: {{ listen: '127.0.0.1:{port}' }}\n")
        return self.behind_envoy("envoy_thinkgate", child, port)

    def behind_envoy(self, name: str, processor: Child, port: int):
        door = Door(routes=[route("upstream")], processor="processor", buffer=BUFFER)
        clusters = [cluster("upstream", self.upstream.port), grpc_cluster("processor", port)]
        envoy = self.stack.enter_context(Envoy(bootstrap([door], clusters), self.folder, name, WORKERS)).wait()
        return door.port, [envoy, processor]

    def thinkgate(self):
        child = self.thinkgate_with("thinkgate", "")
        return child.port, [child]

    def thinkgate_with(self, name: str, more: str, env: dict | None = None, ready: str = "/ready") -> Child:
        def command(port):
            model = f"models: {{ {MODEL}: {{ endpoints: [{{ url: '{self.upstream.url}' }}] }} }}\n"
            text = f"listen: 127.0.0.1:{port}\n{model}{more}"
            return [TARGET / "thinkgate", "serve", "--config", self.write(f"{name}.yaml", text)]

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
