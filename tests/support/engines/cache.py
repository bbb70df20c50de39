"""Where built engines are kept: a folder outside the checkout, one entry a recipe, each made once and never changed."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """The folder of all built engines: `PEAKTIME_ENGINE_CACHE`, else one in the user's cache."""
    return Path(os.environ.get("PEAKTIME_ENGINE_CACHE") or "~/.cache/peaktime/engines").expanduser()


def entry_once(key: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of `key`, calling `make` with an empty folder to fill if there is none yet.

    One process makes an entry while others wait for it. An entry appears by a rename, whole or not at all, so a build
    that was interrupted leaves nothing that could be mistaken for a finished one.
    """
    entry = cache_folder() / key
    if entry.exists():
        return entry
    with _locked(cache_folder() / f".{key}.lock"):
        if not entry.exists():
            partial = cache_folder() / f".{key}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            make(partial)
            partial.rename(entry)
    return entry


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released with the file, also when the process dies
        yield
