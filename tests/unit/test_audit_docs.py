"""docs/audit.md holds: its commands can be called, its shapes and times are those of the code."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer

from peaktime import cli
from peaktime.cli.audit_export import VIEWS
from peaktime.core import expiry, outcomes, requests
from processors.replay.export import columns_of
from processors.replay.views import DiffRow, RequestRow, ScheduleRow
from schemas.headers import REPUBLISHED_FROM, REPUBLISHED_TIME

TEXT = (Path(__file__).parents[2] / "docs" / "audit.md").read_text("utf-8")
LINES = sorted(set(re.findall(r"(?:^|`)(peaktime [a-z][^`\n]*)", TEXT, re.MULTILINE)))


def command_of(words):
    """The command that a line of the docs calls, and the words that are left for it."""
    name, *rest = words
    module = importlib.import_module(cli.COMMANDS[name].module)
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer()
        app.command()(module.command)
    command = typer.main.get_command(app)
    while hasattr(command, "commands") and rest:
        command = command.commands[rest.pop(0)]
    return command, rest


def test_there_is_something_to_check():
    assert len(LINES) > 15


@pytest.mark.parametrize("line", LINES)
def test_every_command_of_the_page_can_be_called(line):
    command, rest = command_of(shlex.split(line.partition("#")[0])[1:])
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= options


@pytest.mark.parametrize(("view", "row"), [("requests", RequestRow), ("at", ScheduleRow), ("diff", DiffRow)])
def test_the_rows_are_told_whole(view, row):
    (told,) = [line for line in TEXT.splitlines() if line.startswith(f"| `audit {view}` |")]
    named = set(re.findall(r"`([a-z_]+)`", told))
    assert set(columns_of(row)) <= named


def test_views_headers_and_times():
    for view in VIEWS:
        assert f"peaktime audit export {view} " in TEXT
    for header in (REPUBLISHED_FROM, REPUBLISHED_TIME):
        assert f"`{header}`" in TEXT
    assert f"{expiry.KEPT_FOR.days} days after its window" in TEXT
    assert f"{outcomes.KEPT_FOR.days} days after its run or problem is over" in TEXT
    assert f"the last {requests.REMEMBERED_IDS} request ids" in TEXT


def test_every_heading_that_is_linked_to_is_there():
    root = Path(__file__).parents[2]
    pages = {path: path.read_text("utf-8") for path in [*(root / "docs").glob("*.md"), root / "README.md"]}
    for path, text in pages.items():
        for target, heading in re.findall(r"\]\(((?:docs/)?[a-z-]+\.md)?#([a-z0-9-]+)\)", text):
            there = pages[(path.parent / target).resolve() if target else path]
            made = {
                re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
                for title in re.findall(r"^#+ (.+)$", there, re.MULTILINE)
            }
            assert heading in made, f"{path.name}: {target}#{heading}"
