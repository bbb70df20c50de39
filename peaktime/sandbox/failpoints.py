"""Places at which a worker fails on purpose. For tests only; nothing is set in production.

``PEAKTIME_FAILPOINTS`` is a comma-separated list: ``table-write:7`` kills the process with SIGKILL at the seventh time
that it comes to that place (others: ``send``, ``flush``, ``commit``); ``stall:3`` holds every table record back for 3 s
before it is sent, as a slow broker would; ``no-barrier`` lets commits run ahead of what they cover.
"""

from __future__ import annotations

import os
import signal

from peaktime.errors import SettingsError

_PLACES = frozenset({"table-write", "send", "flush", "commit"})


class SandboxFailpoints:
    """Failpoints as a text describes them."""

    def __init__(self, text: str) -> None:
        self.barrier = True
        self._stall = 0.0
        self._left: dict[str, int] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, number = part.partition(":")
            if name == "no-barrier":
                self.barrier = False
            elif name == "stall":
                self._stall = float(number)
            elif name in _PLACES and number.isdecimal():
                self._left[name] = int(number)
            else:
                raise SettingsError("PEAKTIME_FAILPOINTS", f"{part!r} is no failpoint", f"Use {sorted(_PLACES)}")

    def hit(self, name: str) -> None:
        """Die here if it is time."""
        if name not in self._left:
            return
        self._left[name] -= 1
        if self._left[name] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def stall(self) -> float:
        """Seconds by which a table's record is held back."""
        return self._stall
