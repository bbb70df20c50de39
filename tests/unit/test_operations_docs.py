"""docs/operations.md holds: every command that it names is there, with the options that it names."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer

from peaktime import cli
from peaktime.cli.plan import EXIT_SOMETHING
from peaktime.core.outcomes import KEPT_FOR
from processors.replay import outlook

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
LINES = sorted(set(re.findall(r"(?:^|`)(peaktime [a-z][^`\n]*)", TEXT, re.MULTILINE)))


def test_there_is_something_to_check():
    assert len(LINES) > 5


@pytest.mark.parametrize("line", LINES)
def test_every_command_of_the_page_can_be_called(line):
    name, *rest = shlex.split(line.partition("#")[0])[1:]
    module = importlib.import_module(cli.COMMANDS[name].module)
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer()
        app.command()(module.command)
    command = typer.main.get_command(app)
    while hasattr(command, "commands") and rest:
        command = command.commands[rest.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= options


def test_states_and_times_are_those_of_the_code():
    for state in (outlook.OWED, outlook.TO_COME, outlook.UNKNOWN_PROFILE, outlook.NO_REPORT):
        assert f"`{state}`" in TEXT
    assert f"facts are kept for {KEPT_FOR.days} days" in TEXT
    assert f"| {EXIT_SOMETHING} | something to do" in TEXT
