"""One of peaktime's commands that ends with whoever started it: ``python -m peaktime.sandbox.leash COMMAND …``.

For: the demo's programs. Their standard input is a pipe that the demo holds; when it closes, however the demo came to
its end, they stop as if asked to, and soon after in any case. Must not: change what the command does.
"""

import os
import signal
import sys
import threading
import time

from peaktime.cli import run

_PATIENCE = 10.0


def _heed() -> None:
    # Not sys.stdin: its lock would be held at exit.
    while os.read(0, 1):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_heed, name="leash", daemon=True).start()
    sys.exit(run(sys.argv[1:]))
