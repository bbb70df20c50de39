"""The ``peaktime`` command.

For: finding a command's module when it is called, and turning errors into one line. Must not: import any of them
before; ``peaktime --help`` stays quick whatever they need.

The convention: each line of ``COMMANDS`` names a module. It has either ``app``, a ``typer.Typer``, or ``command``, a
function with typer annotations that is a single command. A command whose module is not installed is not listed.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from peaktime.errors import PeaktimeError, SettingsError

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command is, and what ``--help`` says of it."""

    module: str
    help: str


COMMANDS: dict[str, Command] = {
    "request": Command("peaktime.cli.request", "Ask for a scale-out or scale-in, or delete an event."),
    "rerun": Command("peaktime.cli.rerun", "Ask for a run once more."),
    "pause": Command("peaktime.cli.pause", "Start nothing of a target until it is resumed."),
    "resume": Command("peaktime.cli.resume", "Let a paused target run again."),
    "import-calendar": Command("peaktime.cli.import_calendar", "Read holiday feeds and publish what they say."),
    "calendar": Command("peaktime.cli.calendar", "Show calendars, and the peaks that follow from them."),
    "plan": Command("peaktime.cli.plan", "Show what would be done to the cluster, and why."),
    "explain": Command("peaktime.cli.explain", "Tell the story of an event."),
    "schedule": Command("peaktime.cli.schedule", "Show what will run, and when."),
    "audit": Command("peaktime.cli.audit", "Who asked for what, and what came of it."),
    "dead-letters": Command("peaktime.cli.dead_letters", "Look at what could not be understood; send it again."),
    "worker": Command("peaktime.cli.worker", "Run the folds, the announcing and the converging."),
    "gateway": Command("peaktime.cli.gateway", "Take PA's calls over HTTP."),
    "slack-sink": Command("peaktime.cli.slack_sink", "Tell people: read notifications, post them."),
    "replay": Command("peaktime.cli.replay", "Fold the log again, without any effect, and compare."),
    "republish": Command("peaktime.cli.republish", "Copy a selection of a topic to another one."),
    "topics": Command("peaktime.cli.topics", "Create and check the topics of the catalogue."),
    "schemas": Command("peaktime.cli.schemas", "Register, check and release the schemas."),
    "settings": Command("peaktime.cli.settings", "Show the settings in effect, secrets hidden."),
    "doctor": Command("peaktime.cli.doctor", "Check everything that peaktime needs."),
    "prune": Command("peaktime.cli.prune", "Remove objects of ours that the log does not explain, by name."),
    "demo": Command("peaktime.cli.demo", "See the whole way of an event on this machine."),
    "stand-in": Command("peaktime.sandbox.argo", "Sandbox: play Argo's cron controller."),
}


_USAGE = """\
Usage: peaktime COMMAND [ARGS]...

  Turns planned traffic peaks into scheduled scaling.

Options:
  --version   Show the version.
  -h, --help  Show this message. `peaktime COMMAND --help` tells about a command.

Commands:
{commands}
"""


def installed() -> list[str]:
    """The commands whose modules are there, in the order of the table."""
    return [name for name, command in COMMANDS.items() if importlib.util.find_spec(command.module) is not None]


def usage() -> str:
    """What ``peaktime --help`` prints."""
    names = installed()
    width = max(map(len, names), default=0)
    return _USAGE.format(commands="\n".join(f"  {name:<{width}}  {COMMANDS[name].help}" for name in names))


def load(name: str) -> Callable[[list[str]], NoReturn]:
    """Import a command of the table.

    Returns:
        A function that runs it with arguments, and ends in SystemExit or in the error that the command raised.
    """
    import typer  # noqa: PLC0415  (imported when it is needed, so that starting stays quick)

    module = importlib.import_module(COMMANDS[name].module)
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command(name=name, help=module.command.__doc__ or COMMANDS[name].help)(module.command)
    command = typer.main.get_command(app)

    def invoke(arguments: list[str]) -> NoReturn:
        command.main(args=arguments, prog_name=f"peaktime {name}")
        raise SystemExit(0)

    return invoke


def main() -> None:
    """The console entry: run, and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that has no letters for somebody's words gets their numbers.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status.

    0: done. 1: an error, printed as one line. 2: wrong usage. 130: interrupted. A command may have others of its own.
    """
    if not arguments:
        sys.stderr.write(usage())
        return EXIT_USAGE
    name, *rest = arguments
    if name in ("-h", "--help"):
        sys.stdout.write(usage())
        return 0
    if name == "--version":
        from importlib.metadata import version  # noqa: PLC0415  (imported when it is needed, so that starting stays quick)

        sys.stdout.write(f"peaktime {version('peaktime')}\n")
        return 0
    if name not in installed():
        sys.stderr.write(f"peaktime: {name}: no such command. `peaktime --help` lists them\n")
        return EXIT_USAGE
    return _invoke(name, rest)


def _invoke(name: str, arguments: list[str]) -> int:
    try:
        load(name)(arguments)
    except SystemExit as stop:
        return _status(stop.code)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except PeaktimeError as error:
        return _say(error, str(error))
    except Exception as error:  # noqa: BLE001  (the last line of defence: whatever it is, it is told)
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{name}: unexpected {type(error).__name__} at {where.filename}:{where.lineno}: {error}"
        return _say(error, f"{' '.join(text.split())}. Set PEAKTIME_DEBUG=true for the whole story, and report it")


def _say(error: Exception, line: str) -> int:
    if _debug():
        traceback.print_exception(error)
    sys.stderr.write(f"peaktime: {line}\n")
    return EXIT_ERROR


def _status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    sys.stderr.write(f"peaktime: {code}\n")
    return EXIT_ERROR


def _debug() -> bool:
    from peaktime.settings import Settings  # noqa: PLC0415  (imported when it is needed, so that starting stays quick)

    try:
        return Settings.load().debug
    except SettingsError:
        return False
