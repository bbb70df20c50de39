"""Runs a command and sees whom it talks to, and which of our modules it loads.

Three looks, none of which sees everything:

- An audit hook inside the command sees every connection, look-up and program that Python starts, and misses none. It
  does not see librdkafka, which is C.
- Listeners, where the settings say that Slack and the cluster are, take every connection to just these addresses,
  however short and whoever makes it.
- `/proc` shows every TCP peer of the process, whoever connects, if the connection stands while it is looked at: that is
  done without a pause from outside, but a connection of less than some milliseconds may be missed.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SITECUSTOMIZE = """
import atexit, json, os, sys
seen = []
def hook(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork"):
        seen.append([event, repr(arguments[1:] if event.startswith("socket.") and event != "socket.getaddrinfo" else arguments)])
sys.addaudithook(hook)
def tell(path=os.environ["WATCHED_REPORT"]):
    with open(path, "w", encoding="utf-8") as out:
        json.dump({"python": seen, "modules": sorted(sys.modules)}, out)
atexit.register(tell)
"""


@dataclass(frozen=True)
class Seen:
    """What a command did: its exit code and words, Python's doings, its TCP peers, its modules, who was called."""

    code: int
    out: str
    err: str
    python: list[tuple[str, str]]
    peers: set[str]
    modules: set[str]
    called: list[str]


class Listener:
    """An address that notes whoever connects."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.calls = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()

    def close(self):
        self._socket.close()


@contextmanager
def listeners(*names):
    made = {name: Listener() for name in names}
    try:
        yield made
    finally:
        for one in made.values():
            one.close()


def kubeconfig(folder: Path, port: int) -> Path:
    """A kubeconfig whose API server is on that port."""
    path = folder / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context],
                "current-context": "c", "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )
    )  # fmt: skip
    return path


def watched(arguments, env: dict[str, str], folder: Path, *, until_called: bool = False) -> Seen:
    """Run a command to its end and watch it; the environment gets a Slack and a cluster that nobody may call.

    With ``until_called``, it is ended by SIGTERM once somebody was called.
    """
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    report = folder / "report.json"
    with listeners("slack", "cluster") as made:
        ours = {
            "PYTHONPATH": str(folder),
            "WATCHED_REPORT": str(report),
            "PEAKTIME_SLACK": "web",
            "PEAKTIME_SLACK_TOKEN": "xoxb-nobody",
            "PEAKTIME_SLACK_URL": f"http://127.0.0.1:{made['slack'].port}/api/",
            "PEAKTIME_CLUSTER": "kubernetes",
            "PEAKTIME_KUBECONFIG": str(kubeconfig(folder, made["cluster"].port)),
        }
        with (folder / "out").open("w+b") as out, (folder / "err").open("w+b") as err:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "peaktime", *arguments],
                env={**env, **ours}, stdout=out, stderr=err,
            )  # fmt: skip
            peers: set[str] = set()
            while process.poll() is None:
                peers |= peers_of(process.pid)
                if until_called and any(one.calls for one in made.values()):
                    until_called = False
                    process.terminate()
        called = [name for name, one in made.items() if one.calls]
    told = json.loads(report.read_text("utf-8"))
    return Seen(
        code=process.returncode,
        out=(folder / "out").read_text("utf-8"),
        err=(folder / "err").read_text("utf-8"),
        python=[(event, what) for event, what in told["python"]],
        peers=peers,
        modules=set(told["modules"]),
        called=called,
    )


def peers_of(pid: int) -> set[str]:
    """Whom a process has a TCP connection with, or tries to, as host:port."""
    sockets = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                sockets.add(str(entry.readlink()))
        tables = [Path(f"/proc/{pid}/net/{name}").read_text("ascii") for name in ("tcp", "tcp6")]
    except OSError:
        return set()
    found = set()
    for line in (line.split() for table in tables for line in table.splitlines()[1:]):
        peer, inode = line[2], line[9]
        host, _, port = peer.partition(":")
        if f"socket:[{inode}]" in sockets and int(port, 16):
            found.add(f"{_host(host)}:{int(port, 16)}")
    return found


def _host(text: str) -> str:
    # Each word of four bytes is in the order of the machine.
    words = [bytes.fromhex(text[n : n + 8])[::-1] for n in range(0, len(text), 8)]
    packed = b"".join(words)
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    shown = socket.inet_ntop(socket.AF_INET6, packed)
    return shown.removeprefix("::ffff:")
