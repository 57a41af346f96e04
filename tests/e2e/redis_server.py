"""Runs Debian's redis-server as a child process, as the store of `auth.shared_limits`."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest

from tests.harness.processes import LOOPBACK, ServerProcess, free_port


class RedisServer(ServerProcess):
    """A Redis on a port of this machine. It keeps nothing on disk, so a new one on the same port begins empty."""

    def __init__(self, folder: pathlib.Path, port: int | None = None, password: str | None = None, tls: "Tls | None" = None):
        if not shutil.which("redis-server"):
            pytest.fail("redis-server is missing: tests/e2e/setup installs it, or apt-get install redis-server")
        port = port or free_port()
        self.password, self.tls = password, tls
        flags = ["--bind", LOOPBACK, "--save", "", "--appendonly", "no", "--dir", folder]
        flags += ["--port", 0, "--tls-port", port, *tls.redis_flags()] if tls else ["--port", port]
        flags += ["--requirepass", password] if password else []
        super().__init__(["redis-server", *flags], port, folder / f"redis-{port}.log")

    def wait(self) -> "RedisServer":
        """Waits until it answers."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.command("PING") == "+PONG":
                    return self
            time.sleep(0.02)
        raise TimeoutError(self.log_end())

    def command(self, *words: str) -> str:
        """The first line of the answer to a command."""
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection((LOOPBACK, self.port), timeout=5))
            if self.tls:
                connection = stack.enter_context(self.tls.client().wrap_socket(connection, server_hostname="localhost"))
            stream = stack.enter_context(connection.makefile("rw", newline="\r\n"))
            if self.password:
                stream.write(f"AUTH {self.password}\n".replace("\n", "\r\n"))
                stream.flush()
                stream.readline()
            stream.write(" ".join(words) + "\r\n")
            stream.flush()
            return stream.readline().strip()

    def freeze(self) -> None:
        """Stops it by SIGSTOP: its connections stay open and nothing is answered."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        os.kill(self.process.pid, signal.SIGCONT)


class Tls:
    """A certificate for localhost, and the authority that signed it."""

    def __init__(self, folder: pathlib.Path):
        self.ca, self.cert, self.key = folder / "ca.crt", folder / "redis.crt", folder / "redis.key"
        ca_key, request, names = folder / "ca.key", folder / "redis.csr", folder / "names"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", "-x509", *new_key, "-keyout", ca_key, "-out", self.ca, "-subj", "/CN=test authority")
        openssl("req", "-new", *new_key, "-keyout", self.key, "-out", request, "-subj", "/CN=localhost")
        openssl(
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            self.ca,
            "-CAkey",
            ca_key,
            "-CAcreateserial",
            "-out",
            self.cert,
            "-extfile",
            names,
        )

    def redis_flags(self) -> list:
        """The settings of redis-server."""
        flags = ["--tls-cert-file", self.cert, "--tls-key-file", self.key, "--tls-ca-cert-file", self.ca]
        return [*flags, "--tls-auth-clients", "no"]

    def client(self) -> ssl.SSLContext:
        """The settings of a client that trusts the authority."""
        return ssl.create_default_context(cafile=str(self.ca))


def openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
