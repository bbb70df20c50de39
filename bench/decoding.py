"""What reading a record costs: straight from the bytes, and by fastavro with converters and checks.

Run: ``python bench/decoding.py``. It needs no engines. The first is what the codec does for today's schemas, the second
what it does for all others and for whatever is odd.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import schemas
from schemas.codec import Codec
from schemas.records import RECORDS

ROUNDS, TIMES = 7, 3000


def best(read: Callable[[], object]) -> float:
    """Microseconds a record, in the best of some rounds."""
    found = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(TIMES):
            read()
        found.append(time.process_time() - started)
    return min(found) / TIMES * 1e6


def main() -> None:
    codec, folder = Codec(), Path(schemas.__file__).parent / "examples"
    for cls in RECORDS:
        data = (folder / f"{cls.__name__}.bin").read_bytes()
        straight = best(lambda c=cls, d=data: codec.decode(c, d))
        judged = best(lambda c=cls, d=data: codec._judged(c, d))  # noqa: SLF001  (what it does for other schemas)
        print(
            f"{cls.__name__:<18} straight {straight:6.1f} us   by fastavro {judged:6.1f} us   {judged / straight:4.1f} times"
        )


if __name__ == "__main__":
    main()
