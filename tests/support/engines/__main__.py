"""`python -m support.engines build [names…]` and `python -m support.engines which`."""

import argparse
import sys
import time

from support.engines import build, helm, kafka, kubernetes, registry
from support.engines.errors import EngineError


def main() -> int:
    parser = argparse.ArgumentParser(prog="support.engines", description="The engines that tests run against.")
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="build native engines into the cache (all, if none is named)")
    building.add_argument("names", nargs="*", metavar="name", help=f"one of: {', '.join(build.ALL)}")
    commands.add_parser("which", help="print which engines would be used, and how they would be had")
    arguments = parser.parse_args()
    try:
        return _build(arguments.names) if arguments.command == "build" else _which()
    except EngineError as error:
        build.say_on_stderr(str(error))
        return 1


def _build(names: list[str]) -> int:
    unknown = [name for name in names if name not in build.ALL]
    if unknown:
        raise EngineError(f"no engine is called {', '.join(unknown)}. Next: choose from {', '.join(build.ALL)}.")
    started = time.monotonic()
    for name in names or build.ALL:
        _print(f"{name}: {build.build(build.ALL[name])}")
    _print(f"done in {time.monotonic() - started:.0f} s")
    return 0


def _which() -> int:
    for name, source in (
        ("kafka", kafka.which()),
        ("kubernetes", kubernetes.which()),
        ("schema-registry", registry.which()),
        ("helm", helm.which()),
    ):
        _print(f"{name:16} {source}")
    return 0


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a program's output


sys.exit(main())
