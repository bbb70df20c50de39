"""What the commands that only read build from the settings: log, codec, session, progress.

For: replay and audit. Must not: import anything that writes to Kafka, to the cluster or to Slack.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType
from typing import Self
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from peaktime.errors import SettingsError
from peaktime.settings import Settings
from processors.replay.findings import Groups, Log, Scope
from processors.replay.log import Offsets
from processors.replay.reader import LogReader
from processors.replay.session import Session
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.registry import SchemaRegistry

EXIT_DIFFERENT = 2
EXIT_NOT_FOUND = 1
#: The topics that are folded, by their short names.
_FOLDED = ("requests", "outcomes", "calendars")
_OFFSET = re.compile(rf"(?P<topic>{'|'.join(_FOLDED)}):(?P<partition>[0-9]{{1,6}})=(?P<offset>[0-9]{{1,18}})")


def open_log(settings: Settings) -> LogReader:
    """The log; close it."""
    return LogReader(settings.confluent_options())


def open_codec(settings: Settings) -> Codec:
    """The codec of the settings; it is only asked to read."""
    if settings.schema_registry_url is None:
        return Codec()
    password = settings.schema_registry_password
    return Codec(
        SchemaRegistry(
            settings.schema_registry_url,
            username=settings.schema_registry_username,
            password=password.get_secret_value() if password is not None else None,
            ca_file=settings.schema_registry_ca_file,
        ),
    )


def open_session(settings: Settings, log: Log, scope: Scope, progress: Progress | None = None) -> Session:
    """A session of the settings.

    Raises:
        BrokerError: Kafka does not answer, or a topic is missing.
    """
    groups = Groups(fold=settings.group("fold"), announce=settings.group("announce"), sink=settings.group("slack-sink"))
    catalogue = load_catalogue(settings.topic_prefix)
    return Session(log, open_codec(settings), catalogue, groups, scope, progress.moved if progress else None)


def instant(text: str | None, zone: ZoneInfo, option: str) -> datetime | None:
    """An instant that somebody typed, in UTC; local to the zone unless it has an offset.

    Raises:
        SettingsError: it is none.
    """
    if text is None:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            option,
            f"{text!r} is no time",
            "Write 2026-05-04T09:00, with an offset if it is not local",
        ) from None
    try:
        return (value if value.tzinfo is not None else value.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        raise SettingsError(option, f"{text!r} is too far away", "Write a time of this century") from None


def end(text: str | None, zone: ZoneInfo, option: str) -> datetime | Offsets | None:
    """Where somebody wants a replay to end: a log time, or ``requests:3=1042,outcomes:3=77``.

    Raises:
        SettingsError: it is neither.
    """
    if text is None or "=" not in text:
        return instant(text, zone, option)
    ends: dict[tuple[str, int], int] = {}
    for part in text.split(","):
        found = _OFFSET.fullmatch(part.strip())
        if found is None:
            reason = f"{part.strip()!r} is no topic:partition=offset"
            raise SettingsError(option, reason, f"Write requests:3=1042; topics are {', '.join(_FOLDED)}")
        place = found["topic"], int(found["partition"])
        if place in ends:
            raise SettingsError(option, f"{place[0]}:{place[1]} is named twice", "Name each partition once")
        ends[place] = int(found["offset"])
    return Offsets(ends)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Records a second."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


class Progress:
    """A bar on stderr: records, rate, time left. Where stderr is no terminal, a line now and then if it takes long.

    Args:
        shown: whether it is wanted.
        what: what is going on.
        every: seconds between two lines.
        clock: seconds from any beginning.
    """

    def __init__(
        self,
        *,
        shown: bool,
        what: str = "reading the log",
        every: float = 10.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        console = Console(stderr=True)
        self._what, self._every, self._clock = what, every, clock
        self._lines = shown and not console.is_terminal
        self._done, self._since, self._told = 0, clock(), clock()
        self._bars = Bars(
            TextColumn(what), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(),
            console=console, transient=True, disable=not (shown and console.is_terminal),
        )  # fmt: skip
        self._task: TaskID | None = None

    def moved(self, total: int, done: int) -> None:
        """Say how much there is, and how much more is done."""
        if self._task is None:
            self._task = self._bars.add_task("", total=total)
        self._bars.update(self._task, advance=done)
        self._done += done
        now = self._clock()
        if self._lines and now - self._told >= self._every:
            self._told = now
            rate = self._done / (now - self._since)
            left = f", {(total - self._done) / rate:,.0f} s left" if rate else ""
            line = f"{self._what}: {self._done:,} of {total:,} records, {rate:,.0f}/s{left}"
            sys.stderr.write(f"{line}\n")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()
