"""Runs a real vLLM on the CPU and thinkgate as child processes."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
VLLM_VERSION = "0.32.0"
VLLM_START_S = 240  # 25 s on an idle machine; a disk with a cold cache takes longer
LOOPBACK = "127.0.0.1"


def cache() -> pathlib.Path:
    """The folder of the large installs, by the same rule as in scripts/python_env."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("THINKGATE_CACHE") or pathlib.Path(base) / "thinkgate")


def vllm_python() -> pathlib.Path:
    """The Python interpreter of the environment that vLLM is installed in."""
    return cache() / f"vllm-{VLLM_VERSION}" / "bin" / "python"


def thinkgate_binary() -> pathlib.Path:
    """The binary under test: THINKGATE_BIN, or the debug build."""
    default = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target") / "debug" / "thinkgate"
    return pathlib.Path(os.environ.get("THINKGATE_BIN") or default)


def free_port() -> int:
    """A TCP port of the loopback address that nothing listens on at the moment."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return listener.getsockname()[1]


class ServerProcess:
    """A child process that serves HTTP on a port of its own.

    Its output goes to a log file. `stop` ends its whole process group.
    """

    def __init__(self, command: list, port: int, log: pathlib.Path, env: dict | None = None, cwd: pathlib.Path = REPOSITORY):
        self.port, self.log = port, log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd,
                env=os.environ | (env or {}), start_new_session=True,
            )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def get(self, path: str, headers: dict | None = None) -> tuple[int, bytes]:
        """Sends a GET request; returns the status and the body of the response."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read()

    def wait_for(self, path: str, status: int, seconds: float) -> None:
        """Polls `path` until it answers with `status`.

        Raises an error that shows the end of the log when the process ends or `seconds` pass before that.
        """
        deadline = time.monotonic() + seconds
        last: object = None
        while time.monotonic() < deadline:
            if (code := self.process.poll()) is not None:
                raise RuntimeError(f"{self.process.args[0]} ended with status {code}\n{self.log_end()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                last = self.get(path)
                if last[0] == status:
                    return
            time.sleep(0.05)
        raise TimeoutError(f"{self.url}{path} did not answer {status} in {seconds} s, last: {last}\n{self.log_end()}")

    def log_end(self) -> str:
        """The last 40 lines of the log."""
        return f"--- the end of {self.log}\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    def stop(self) -> None:
        """Ends the process and all processes that it started.

        vLLM's engine would outlive its server if only the server were killed.
        """
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Vllm(ServerProcess):
    """vLLM on the CPU with the tiny Qwen3 of `tiny_qwen3.py`: 1.4 GB of memory, about 25 s to start, 3 ms a token."""

    def __init__(self, model: pathlib.Path, name: str, log: pathlib.Path, port: int | None = None, flags: list[str] = ()):
        self.name = name
        port = port or free_port()
        command = [
            vllm_python(), "-m", "vllm.entrypoints.openai.api_server",
            "--model", model.name, "--served-model-name", name, "--host", LOOPBACK, "--port", port,
            "--dtype", "bfloat16", "--max-model-len", 2048, "--max-num-seqs", 16, "--enforce-eager",
            "--num-gpu-blocks-override", 64, "--reasoning-parser", "qwen3",
            "--enable-auto-tool-choice", "--tool-call-parser", "hermes", *flags,
        ]  # fmt: skip
        # A relative path, so that `root` in /v1/models reads like a model's name.
        super().__init__(command, port, log, cwd=model.parent, env={
            "VLLM_TARGET_DEVICE": "cpu", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "OMP_NUM_THREADS": "1",  # two threads on two busy cores are ten times slower than one
            "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
        })  # fmt: skip

    def wait(self) -> "Vllm":
        """Waits until vLLM serves requests."""
        self.wait_for("/health", 200, VLLM_START_S)
        return self

    def running(self) -> int:
        """The number of requests that vLLM generates tokens for right now, by its own metrics."""
        return self._metric("vllm:num_requests_running")

    def generated(self) -> int:
        """The number of tokens that vLLM has generated since it started."""
        return self._metric("vllm:generation_tokens_total")

    def _metric(self, name: str) -> int:
        _, body = self.get("/metrics")
        lines = [line for line in body.decode().splitlines() if line.startswith(name + "{")]
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


class Gateway(ServerProcess):
    """`thinkgate serve` on a free port, in front of one upstream or of those that `flags` configure."""

    def __init__(self, upstream: str | None, log: pathlib.Path, flags: list[str] = (), env: dict | None = None):
        port = free_port()
        upstream_flags = ["--upstream", upstream] if upstream else []
        command = [thinkgate_binary(), "serve", *upstream_flags, "--listen", f"{LOOPBACK}:{port}", *flags]
        super().__init__(command, port, log, env)

    def wait(self, seconds: float = 30) -> "Gateway":
        """Waits until thinkgate is ready."""
        self.wait_for("/ready", 200, seconds)
        return self


class Processor(ServerProcess):
    """thinkgate with both of its servers: HTTP, and the gRPC external processor for Envoy at `grpc_port`."""

    def __init__(self, log: pathlib.Path, config: dict | None = None, ext_proc: dict | None = None, env: dict | None = None):
        port, self.grpc_port = free_port(), free_port()
        ext_proc = {"listen": f"{LOOPBACK}:{self.grpc_port}"} | (ext_proc or {})
        file = log.with_suffix(".yaml")
        file.write_text(json.dumps({"listen": f"{LOOPBACK}:{port}", "ext_proc": ext_proc} | (config or {}), indent=1))
        super().__init__([thinkgate_binary(), "serve", "--config", file], port, log, env)

    def wait(self, seconds: float = 30) -> "Processor":
        """Waits until thinkgate is ready."""
        self.wait_for("/ready", 200, seconds)
        return self

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over all series that have these labels."""
        _, body = self.get("/metrics")
        lines = [line for line in body.decode().splitlines() if re.match(rf"{name}[{{ ]", line)]
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(pair in line for pair in wanted))


def make_model(folder: pathlib.Path, *flags: str) -> pathlib.Path:
    """Writes a tiny Qwen3 checkpoint to `folder`. Only the folder's name shows the model's family."""
    subprocess.run([vllm_python(), pathlib.Path(__file__).with_name("tiny_qwen3.py"), folder, *flags], check=True)
    return folder
