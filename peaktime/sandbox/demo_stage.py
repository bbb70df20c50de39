"""The demo's folder and its programs.

For: an output folder that is emptied only if it is a demo's, and subprocesses that end with the demo whatever happens.
Must not: know what the programs do.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from peaktime.errors import PeaktimeError
from peaktime.settings import ENV_PREFIX

MARKER = ".peaktime-demo"
_STOP_WITHIN = 9.0
_TAIL = 15


class DemoError(PeaktimeError):
    """The demo cannot go on."""


@contextlib.contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """The folder, emptied and ours for as long as the context lasts.

    Raises:
        DemoError: it holds something that no demo left, or another demo is writing there.
    """
    another = "Choose another with --output"
    if path.exists() and not path.is_dir():
        raise DemoError(str(path), "is not a folder", another)
    if path.is_dir() and not (path / MARKER).is_file() and any(path.iterdir()):
        raise DemoError(str(path), "holds files that no demo left there, so it is not emptied", another)
    try:
        path.mkdir(parents=True, exist_ok=True)
        marker = (path / MARKER).open("a", encoding="utf-8")
    except OSError as error:
        raise DemoError(str(path), f"cannot be written: {error.strerror}", another) from error
    with marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(str(path), "another demo is writing there", another) from None
        for old in path.iterdir():
            if old.name != MARKER:
                shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        if not marker.tell():
            marker.write("This folder is emptied whenever the demo of peaktime starts.\n")
            marker.flush()
        yield path.resolve()


class Program:
    """One of peaktime's commands as a subprocess.

    Args:
        name: for people, and for its log file.
        arguments: the command and its arguments.
        environment: the ``PEAKTIME_*`` variables that it gets; no other of that name.
        folder: where it runs.
        logs: where its log goes.
        lines: whether its standard output is read line by line here, instead of going to the log.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        folder: Path,
        logs: Path,
        lines: bool = False,
    ) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        # What is set for a real installation must not reach the demo: it would tell a real channel.
        inherited = {key: value for key, value in os.environ.items() if not key.upper().startswith(ENV_PREFIX)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  (a command of our own)
                [sys.executable, "-m", "peaktime.sandbox.leash", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if lines else log,
                stderr=log,
                cwd=folder,
                env={**inherited, **environment},
                # Ctrl-C is for the demo, which then ends its programs in order.
                start_new_session=True,
            )
        if self._process.stdout is not None:
            threading.Thread(target=self._read, args=(self._process.stdout,), name=name, daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def lines(self) -> list[str]:
        """What it wrote since the last time."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._lines.get_nowait())
        return found

    def ask_to_stop(self) -> None:
        """Let it end in order."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def stop(self) -> None:
        """End it: in order if it does that in time."""
        self.ask_to_stop()
        try:
            self._process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_TAIL:])

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe, self.log.open("ab") as log:
            for line in pipe:
                log.write(line)
                log.flush()
                self._lines.put(line.decode("utf-8", errors="replace").rstrip("\n"))


class Programs:
    """All programs of a demo; as a context manager it ends them.

    Args:
        environment: the ``PEAKTIME_*`` variables that they get.
        folder: where they run, and where what they leave behind stays.
        logs: where their logs go.
    """

    def __init__(self, environment: Mapping[str, str], *, folder: Path, logs: Path) -> None:
        self._environment, self._folder, self._logs = environment, folder, logs
        self._programs: list[Program] = []
        for made in (folder, logs):
            made.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(
        self,
        name: str,
        *arguments: str,
        lines: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> Program:
        """Start one; ``environment`` adds to that of all."""
        variables = {**self._environment, **(environment or {})}
        program = Program(name, arguments, variables, folder=self._folder, logs=self._logs, lines=lines)
        self._programs.append(program)
        return program

    def stop(self) -> None:
        """End them all, side by side."""
        for program in self._programs:
            program.ask_to_stop()
        for program in self._programs:
            program.stop()
        self._programs.clear()
