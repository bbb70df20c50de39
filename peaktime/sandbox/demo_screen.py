"""Where the demo writes: lines that stay, and on a terminal a last line that tells what is waited for.

For: one look on terminals, in files and in CI logs. Must not: know what it is told.
"""

from __future__ import annotations

import io
import sys
import time
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from zoneinfo import ZoneInfo

from rich.console import Console, RenderableType
from rich.rule import Rule
from rich.status import Status
from rich.table import Table
from rich.text import Text

from peaktime.core import wording
from peaktime.sandbox.demo_story import Line, column, rendered

_UNBOUNDED = 400
_TABLE_WIDTH = 120
_AGAIN = 5.0


class Screen:
    """The console of a demo.

    Args:
        zone: IANA zone in which times are written.
        console: where to write; standard output if not given.
    """

    def __init__(self, zone: str, console: Console | None = None) -> None:
        if console is None and isinstance(sys.stdout, io.TextIOWrapper):
            # A terminal that knows no Korean gets question marks, not a traceback.
            sys.stdout.reconfigure(errors="replace")
        self._console = console or Console(highlight=False)
        if not self._console.is_terminal:
            # Nothing is wrapped or cut in a file.
            self._console.width = _UNBOUNDED
        self._zone = ZoneInfo(zone)
        self._status: Status | None = None
        self._progress, self._said_at = "", 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.idle()

    def lines(self, lines: list[Line], now: datetime) -> None:
        """Write lines of the timeline; ``now`` is what the sandbox's clock shows (aware)."""
        for line in lines:
            # Nothing is cut: what does not fit goes on below.
            self._console.print(rendered(line, now, self._zone, self._console.width), soft_wrap=True)

    def heading(self, text: str) -> None:
        """Begin a part."""
        self.idle()
        if self._console.is_terminal:
            self._console.print(Rule(Text(text), align="left", style="dim"))
        else:
            self._console.print(Text(f"── {text} ──"), soft_wrap=True)

    def say(self, text: str, style: str = "") -> None:
        """Write a line."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def progress(self, text: str) -> None:
        """Tell what is waited for: on a terminal at once, elsewhere in a line of its own now and then."""
        if self._console.is_terminal:
            if self._status is None:
                self._status = self._console.status(Text(text))
                self._status.start()
            elif text != self._progress:
                self._status.update(Text(text))
        elif time.monotonic() - self._said_at >= _AGAIN:
            self._said_at = time.monotonic()
            self._console.print(Text(f"… {text}"), soft_wrap=True)
        self._progress = text

    def idle(self) -> None:
        """Wait for nothing."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        self._progress, self._said_at = "", time.monotonic()

    def summary(self, summary: dict[str, Any]) -> None:
        """Show the summary."""
        self.heading("Summary, counted from the topics")
        for table in (_counts(summary), _events(summary), _peaks(summary)):
            if table is not None:
                self._show(table)

    def _show(self, table: RenderableType) -> None:
        self._console.print(table, width=None if self._console.is_terminal else _TABLE_WIDTH)


def _counts(summary: dict[str, Any]) -> Table:
    inputs, crons, runs = summary["inputs"], summary["cronWorkflowCounts"], summary["runs"]
    table = Table("what", "how many", "of these", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    requests = summary["requests"]
    table.add_row("PA bodies", str(inputs["bodies"]), f"{inputs['refusedAtGateway']} refused at the gateway")
    table.add_row(
        "requests",
        str(requests["total"]),
        _listed(fromPa=requests["fromPa"], calendar=requests["fromCalendars"]),
    )
    table.add_row("verdicts", str(sum(summary["verdicts"].values())), _listed(**summary["verdicts"]))
    table.add_row("events live", str(summary["eventsLive"]), f"of {len(summary['events'])}")
    table.add_row("peaks of the calendar", str(len(summary["peaks"])), "")
    table.add_row(
        "CronWorkflows",
        str(crons["created"]),
        f"{crons['stillScheduled']} still scheduled, {crons['removedAfterRun']} removed after their run, "
        f"{crons['removedWithoutRun']} removed because not wanted any more",
    )
    others = {"failed": runs["failed"], "missed": runs["missed"], "going on": runs["goingOn"]}
    table.add_row("runs started", str(runs["started"]), _listed(succeeded=runs["succeeded"], **others))
    told = summary["notifications"]
    table.add_row("messages", str(sum(told.values())), _listed(**told))
    table.add_row("dead letters", str(summary["deadLetters"]), "")
    return table


def _events(summary: dict[str, Any]) -> Table | None:
    events = [event for event in summary["events"] if event["origin"] == "pa"]
    if not events:
        return None
    table = Table("event", "date", "is", "verdicts", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for event in events:
        verdicts = ", ".join(verdict["verdict"] for verdict in event["verdicts"])
        table.add_row(_cut(event["title"]), wording.event_date(event["eventDate"]), event["state"], verdicts)
    return table


def _peaks(summary: dict[str, Any]) -> Table | None:
    if not summary["peaks"]:
        return None
    table = Table("peak", "days off before it", "holidays", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for peak in summary["peaks"]:
        names = ", ".join(dict.fromkeys(day["name"] for day in peak["holidays"]))
        date = wording.event_date(peak["date"])
        table.add_row(date, f"{peak['runStart']} to {peak['runEnd']} ({peak['daysOff']})", Text(names))
    return table


def _cut(title: str) -> Text:
    return Text(column(title, 40).rstrip())


def _listed(**counts: int) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or ""
