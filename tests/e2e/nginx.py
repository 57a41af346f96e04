"""Runs a real nginx as a child process, as many operators have between a gateway and vLLM."""

import pathlib
import shutil

import pytest

from tests.harness.processes import LOOPBACK, ServerProcess, free_port

CONFIG = """
daemon off; user root; worker_processes 1; pid nginx.pid; error_log stderr warn;
events {{ worker_connections 512; }}
http {{
  access_log off; default_type application/octet-stream;
  client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  {http}
  server {{
    listen {host}:{port};
    {server}
    location = /nginx {{ return 204; }}
    location / {{ proxy_pass http://{host}:{target}; proxy_http_version 1.1; proxy_set_header Connection ""; {location} }}
  }}
}}
"""


class Nginx(ServerProcess):
    """nginx in front of port `target` of this machine, with further settings for its http, server and location blocks."""

    def __init__(self, target: int, folder: pathlib.Path, http: str = "", server: str = "", location: str = ""):
        if not shutil.which("nginx"):
            pytest.skip("nginx is not installed: apt-get install nginx-light")
        port, home = free_port(), folder / "nginx"
        home.mkdir(exist_ok=True)
        file = home / "nginx.conf"
        file.write_text(CONFIG.format(host=LOOPBACK, port=port, target=target, http=http, server=server, location=location))
        super().__init__(["nginx", "-p", home, "-e", "stderr", "-c", file], port, folder / "nginx.log")

    def wait(self) -> "Nginx":
        """Waits until nginx answers."""
        self.wait_for("/nginx", 204, 10)
        return self
