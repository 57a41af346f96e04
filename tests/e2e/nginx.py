"""A real nginx as a child process, in front of one server: what stands between a gateway and vLLM in many houses."""

import pathlib
import shutil

import pytest

from processes import LOOPBACK, Child, free_port

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


class Nginx(Child):
    """nginx before the server at port `target` of this machine, with more settings for `http`, its server and the
    location that leads there."""

    def __init__(self, target: int, folder: pathlib.Path, http: str = "", server: str = "", location: str = ""):
        if not shutil.which("nginx"):
            pytest.skip("nginx is not installed: apt-get install nginx-light")
        port, home = free_port(), folder / "nginx"
        home.mkdir(exist_ok=True)
        file = home / "nginx.conf"
        file.write_text(CONFIG.format(host=LOOPBACK, port=port, target=target, http=http, server=server, location=location))
        super().__init__(["nginx", "-p", home, "-e", "stderr", "-c", file], port, folder / "nginx.log")

    def wait(self) -> "Nginx":
        self.wait_for("/nginx", 204, 10)
        return self
