"""One engine as a process of ours: started, waited for, paused, killed, and never left behind."""

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from support.engines.errors import EngineError

T = TypeVar("T")

_POLL_SECONDS = 0.05
_KEPT_VARIABLES = ("HOME", "JAVA_HOME", "LANG", "PATH", "TMPDIR", "TZ")

# The kernel kills an engine when the *thread* that started it ends (see `Process.start`), so all are started by one
# thread that ends with the interpreter; whoever calls may be a short-lived one.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine-starter")
_running: weakref.WeakSet["Process"] = weakref.WeakSet()


class Process:
    """A process with a log file, which does not outlive the Python process that started it.

    Args:
        name: How messages call it.
        command: The program and its arguments.
        folder: Where it runs and where its log `<name>.log` is.
    """

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = [str(word) for word in command]
        self._folder = folder
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id, for those who measure it."""
        return self._process().pid

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended (a paused process is running)."""
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> None:
        """Start it (again); the log is appended to. Of the environment only what a program needs is passed on.

        `setpriv` asks the kernel to kill it when we die, however we die. In a session of its own, it does not get the
        Ctrl-C meant for us and so is there while tests clean up.
        """
        if self.is_running:
            raise EngineError(f"{self.name} is running already. Next: stop or kill it before starting it again.")
        setpriv = shutil.which("setpriv")
        guard = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        with self.log.open("ab") as log:
            self._popen = _starter.submit(
                subprocess.Popen,
                [*guard, *self._command],
                cwd=self._folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            ).result()
        _running.add(self)

    def stop(self, seconds: float = 15) -> None:
        """End it in an orderly way, and by force if that takes longer than `seconds`."""
        if not self.is_running:
            return
        process = self._process()
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would, and wait until it is gone."""
        if self.is_running:
            self._process().kill()
            self._process().wait()

    def pause(self) -> None:
        """Freeze it (SIGSTOP) and wait until it is: its connections stay open and nothing answers."""
        pid = self.pid
        self._process().send_signal(signal.SIGSTOP)
        # Signals are asynchronous: for a moment other threads of it still run.
        wait_until(
            f"{self.name} is paused",
            lambda: os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG),
            seconds=5,
            processes=[self],
        )

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._process().send_signal(signal.SIGCONT)

    def check(self) -> None:
        """Raise if it has ended by itself."""
        if not self.is_running:
            code = self._popen.returncode if self._popen else "nothing: it was never started"
            raise EngineError(f"{self.name} ended with {code}. The end of its log:\n{self.log_tail()}")

    def log_tail(self, lines: int = 25) -> str:
        """The last lines of its log."""
        if not self.log.exists():
            return f"(no log at {self.log})"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _process(self) -> subprocess.Popen[bytes]:
        if self._popen is None:
            raise EngineError(f"{self.name} was never started. Next: call start() first.")
        return self._popen


def wait_until(what: str, condition: Callable[[], T], *, seconds: float, processes: Sequence[Process] = ()) -> T:
    """Return the first true value of `condition`, asking it again and again for at most `seconds`.

    Raises:
        EngineError: If the time is over or one of `processes`, without which waiting is in vain, has ended.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        for process in processes:
            process.check()
        if time.monotonic() > deadline:
            logs = "".join(f"\nThe end of the log of {one.name}:\n{one.log_tail()}" for one in processes)
            raise EngineError(f"{what}: not so after {seconds:g} s.{logs}")
        time.sleep(_POLL_SECONDS)
    return value


def free_port() -> int:
    """A loopback port that nobody listens on, outside the range the kernel gives to outgoing connections.

    Within that range, a client trying to reach a broker that is down could be given the broker's own port, and the
    broker could not come back on it.
    """
    chooser = random.SystemRandom()
    for _ in range(200):
        port = chooser.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise EngineError("no free port between 15000 and 32000 on 127.0.0.1 in 200 tries. Next: see what listens there.")


def _environment() -> Mapping[str, str]:
    return {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}


@atexit.register
def _kill_all() -> None:
    for process in list(_running):
        process.kill()
