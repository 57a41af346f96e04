#!/usr/bin/env python3
"""Builds the image of the Dockerfile without Docker, starts it, and asks it a question.

    .ci/image.py check             every COPY source is in the build context; needs nothing
    .ci/image.py run [--profile P]  and the steps of the Dockerfile run in folders that hold a fresh Debian; needs root

The steps are those of the Dockerfile, read from it. Three things are not: the base images (Debian, made by debootstrap once and
kept in the cache; Rust, which is the toolchain of this machine), the cache mounts (the folders of this machine), and the
profile that is built, where another one than `release` is named.
"""

import argparse
import contextlib
import http.server
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("THINKGATE_CACHE") or pathlib.Path.home() / ".cache" / "thinkgate")
# What the image `rust` has and `debian` has not.
RUST_IMAGE_PACKAGES = ["build-essential", "ca-certificates"]


def say(text):
    print(f"image: {text}", flush=True)


def fail(text):
    sys.exit(f"image: {text}")


# The Dockerfile


class Stage:
    """One FROM of a Dockerfile and the instructions behind it."""

    def __init__(self, image, name):
        self.image = image
        self.name = name
        self.steps = []


def read_dockerfile(text):
    """The stages of a Dockerfile; each step is a pair of the instruction and the rest of its line."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    stages = []
    for line in filter(None, (line.strip() for line in joined.splitlines())):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            words = rest.split()
            stages.append(Stage(words[0], words[2] if len(words) == 3 else None))
        else:
            stages[-1].steps.append((instruction, rest.strip()))
    return stages


def copy_words(rest):
    """The options, sources and the destination of a COPY."""
    words = rest.split()
    options = [word for word in words if word.startswith("--")]
    *sources, destination = [word for word in words if not word.startswith("--")]
    return options, sources, destination


# The build context


def pattern(text):
    """A line of a .dockerignore as a regular expression for a path or a folder above it."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", text.strip("/"))
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts) + "(?:/.*)?$")


def build_context():
    """The files that Docker would send, relative to the root of the repository."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    rules = [(pattern(line.removeprefix("!")), line.startswith("!")) for line in lines]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    files = []
    for file in filter(None, listed.stdout.split("\0")):
        is_sent = True
        for rule, is_exception in rules:
            if rule.match(file):
                is_sent = is_exception
        if is_sent and (ROOT / file).exists():
            files.append(file)
    return files


def check_copies(stages, context):
    """Fails when a COPY names what is not in the context."""
    missing = []
    for stage in stages:
        for instruction, rest in stage.steps:
            options, sources, _ = copy_words(rest) if instruction in ("COPY", "ADD") else ([], [], "")
            if any(option.startswith("--from") for option in options):
                continue
            missing += [source for source in sources if not any(pattern(source).match(file) for file in context)]
    if missing:
        fail(f"not in the build context, see .dockerignore: {', '.join(missing)}")
    say(f"every COPY source is in the build context of {len(context)} files")


# Folders that hold a Debian


def fresh_debian(folder):
    """A copy of a minimal Debian, made once and kept in the cache."""
    kept = CACHE / "debian-bookworm"
    if not (kept / ".complete").exists():
        say("making a minimal Debian (two minutes, once)")
        if not shutil.which("debootstrap"):
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            subprocess.run(["apt-get", "install", "-y", "-qq", "debootstrap"], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", "bookworm", kept, "http://deb.debian.org/debian"],
            capture_output=True,
            text=True,
        )
        if made.returncode:
            fail(f"debootstrap failed:\n{made.stdout[-2000:]}{made.stderr[-2000:]}")
        (kept / ".complete").touch()
    subprocess.run(["cp", "-a", f"{kept}/.", folder], check=True)
    # As Docker does for a container: names are looked up as on this machine.
    shutil.copy("/etc/resolv.conf", folder / "etc" / "resolv.conf")


class Root:
    """A folder that is the root of what runs in it, with the state that a Dockerfile builds up."""

    def __init__(self, folder, mounts):
        self.folder = folder
        self.mounts = mounts  # (folder of this machine, path in here)
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        self.directory = "/"
        self.user = None
        self.entrypoint = []

    def path(self, inside):
        """Where a path of the image lies on this machine; relative ones begin at the working directory."""
        return self.folder / str(pathlib.PurePosixPath(self.directory, inside)).lstrip("/")

    def command(self, words, mounts=()):
        """The command that runs `words` in here, with /proc, /dev and the mounts, in a mount namespace of its own."""
        lines = [f"mount -t proc proc {self.folder}/proc", f"mount --rbind /dev {self.folder}/dev"]
        for source, inside in [*self.mounts, *mounts]:
            target = self.folder / str(inside).lstrip("/")
            target.mkdir(parents=True, exist_ok=True)
            pathlib.Path(source).mkdir(parents=True, exist_ok=True)
            lines.append(f"mount --bind {shlex.quote(str(source))} {shlex.quote(str(target))}")
        user = f"--userspec={self.user}" if self.user else ""
        inner = f"cd {shlex.quote(self.directory)} && exec {shlex.join(words)}"
        lines.append(f"exec chroot {user} {shlex.quote(str(self.folder))} /bin/sh -c {shlex.quote(inner)}")
        return ["unshare", "--mount", "/bin/sh", "-ec", "\n".join(lines)]

    def run(self, words, mounts=()):
        done = subprocess.run(
            self.command(words, mounts), env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            fail(f"this step failed: {shlex.join(words)}\n{done.stdout[-6000:]}")

    def install(self, packages):
        script = f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {' '.join(packages)} > /dev/null"
        self.run(["/bin/sh", "-c", script])


def cargo_home():
    return pathlib.Path(os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo")


def base(image, folder):
    """The root of a stage that begins with `image`."""
    fresh_debian(folder)
    if image.startswith("debian:bookworm"):
        return Root(folder, [])
    if not image.startswith("rust:") or not image.endswith("bookworm"):
        fail(f"no stand-in for the image {image}")
    rustup = pathlib.Path(os.environ.get("RUSTUP_HOME") or pathlib.Path.home() / ".rustup")
    root = Root(folder, [(cargo_home(), cargo_home()), (rustup, rustup)])
    # The same paths as on this machine, so that what it compiled of the crates is of use.
    root.environment |= {"CARGO_HOME": str(cargo_home()), "RUSTUP_HOME": str(rustup)}
    root.environment["PATH"] = f"{cargo_home()}/bin:{root.environment['PATH']}"
    root.install(RUST_IMAGE_PACKAGES)
    # Where downloads go by a proxy with a certificate of its own, they do in here too.
    for name in ("PIP_CERT", "SSL_CERT_FILE"):
        if name in os.environ and pathlib.Path(os.environ[name]).is_file():
            shutil.copy(os.environ[name], folder / "etc" / f"{name}.pem")
            root.environment[name] = f"/etc/{name}.pem"
    return root


# The steps


def substitute(text, variables):
    return re.sub(r"\$\{?(\w+)\}?", lambda match: variables.get(match[1], match[0]), text)


def run_step(root, rest, variables):
    """A RUN. Its cache mounts become folders of this machine."""
    mounts = []
    while found := re.match(r"--mount=(\S+)\s+(.*)", rest, re.DOTALL):
        target = dict(part.split("=", 1) for part in found[1].split(","))["target"]
        is_registry = target.endswith("/cargo/registry")
        if not is_registry:
            mounts.append((variables["TARGET_DIR"], target))
        rest = found[2]
    root.run(["/bin/sh", "-ec", substitute(rest, variables)], mounts)


def copy_step(root, rest, roots, context):
    options, sources, destination = copy_words(rest)
    origin = next((option.split("=")[1] for option in options if option.startswith("--from=")), None)
    for source in sources:
        target = root.path(destination)
        if origin:
            whole = roots[origin].folder / source.lstrip("/")
            if destination.endswith("/"):
                target = target / whole.name
            target.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", "-T", whole, target], check=True)
            continue
        for file in context:
            if not pattern(source).match(file):
                continue
            inside = pathlib.PurePath(file).relative_to(source) if file != source else None
            place = target / (inside if inside else pathlib.PurePath(file).name if destination.endswith("/") else "")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, place)


def build(stages, context, work, profile, target_dir):
    """Runs every step of every stage; the root of the last one."""
    roots = {}
    for number, stage in enumerate(stages):
        folder = work / f"stage-{number}"
        folder.mkdir()
        say(f"FROM {stage.image}")
        root = roots[stage.name or number] = base(stage.image, folder)
        variables = {"TARGET_DIR": str(target_dir)}
        for instruction, rest in stage.steps:
            say(f"{instruction} {rest}")
            if instruction == "ARG":
                name, _, value = rest.partition("=")
                variables[name] = profile if name == "PROFILE" else value
            elif instruction == "RUN":
                run_step(root, rest, variables)
            elif instruction == "COPY":
                copy_step(root, rest, roots, context)
            elif instruction == "WORKDIR":
                root.directory = rest
                root.path("").mkdir(parents=True, exist_ok=True)
            elif instruction == "ENV":
                root.environment |= dict([rest.split("=", 1)])
            elif instruction == "USER":
                root.user = rest
            elif instruction == "ENTRYPOINT":
                root.entrypoint = json.loads(rest)
            elif instruction not in ("CMD", "EXPOSE", "STOPSIGNAL", "LABEL", "HEALTHCHECK"):
                fail(f"no stand-in for the instruction {instruction}")
    return root


# What comes of it


class ModelServer(http.server.BaseHTTPRequestHandler):
    """A model server with one model, which answers every chat with the body that it got."""

    def reply(self, body):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(b'{"object":"list","data":[{"id":"Qwen3-0.6B","object":"model"}]}')

    def do_POST(self):
        self.reply(self.rfile.read(int(self.headers["content-length"])))

    def log_message(self, *args):
        pass


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def model_server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ModelServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def wait_until_ready(process, address):
    for _ in range(300):
        if process.poll() is not None:
            fail(f"the gateway ended with status {process.returncode}")
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            return urllib.request.urlopen(f"{address}/ready", timeout=5)
        time.sleep(0.2)
    return fail("the gateway was not ready within a minute")


def start_and_ask(root):
    """Starts the image as `docker run IMAGE serve --upstream URL` would, and asks for an easy and a hard answer."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    environment = root.environment | {"THINKGATE_LISTEN": f"127.0.0.1:{port}"}
    with model_server() as upstream:
        command = root.command([*root.entrypoint, "serve", "--upstream", upstream])
        process = subprocess.Popen(command, env=environment)
        try:
            wait_until_ready(process, address)
            for prompt, mode in [
                ("What are your opening hours?", "direct"),
                ("Prove that the square root of two is irrational.", "reasoning"),
            ]:
                body = json.dumps({"model": "Qwen3-0.6B", "messages": [{"role": "user", "content": prompt}]})
                request = urllib.request.Request(
                    f"{address}/v1/chat/completions", body.encode(), {"content-type": "application/json"}
                )
                with urllib.request.urlopen(request, timeout=30) as answer:
                    decided = answer.headers["x-thinkgate-mode"], answer.headers["x-thinkgate-why"]
                if decided != (mode, "classifier"):
                    fail(f"{prompt!r} was decided as {decided}")
        finally:
            process.terminate()
            status = process.wait(60)
    if status != 0:
        fail(f"the gateway ended with status {status} on SIGTERM")
    say("the image starts, decides, and stops")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["check", "run"])
    parser.add_argument("--profile", default="release", help="the cargo profile to build, where `release` takes too long")
    arguments = parser.parse_args()
    stages = read_dockerfile((ROOT / "Dockerfile").read_text())
    context = build_context()
    check_copies(stages, context)
    if arguments.what == "check":
        return
    if os.geteuid() != 0:
        fail("`run` needs root: it changes the root folder of what it starts")
    target_dir = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
    with tempfile.TemporaryDirectory(prefix="thinkgate-image-") as work:
        root = build(stages, context, pathlib.Path(work), arguments.profile, target_dir)
        start_and_ask(root)


if __name__ == "__main__":
    main()
