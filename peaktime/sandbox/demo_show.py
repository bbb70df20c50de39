"""One demo, from its inputs to its summary: what is published, waited for, run and told.

For: the order of things. It waits for conditions on the topics and in the cluster, never for time to pass. Must not:
set anything up (``demo`` does), nor have rules of its own about events.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sized
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from peaktime.core.actions import Circumstances
from peaktime.core.outcomes import is_run
from peaktime.core.profiles import Profiles
from peaktime.errors import PublishError, RequestError
from peaktime.sandbox.clock import SandboxClock
from peaktime.sandbox.demo_cluster import ClusterWatch, finished, save
from peaktime.sandbox.demo_feed import DemoCalendar, demo_calendar, write_feed
from peaktime.sandbox.demo_screen import Screen
from peaktime.sandbox.demo_stage import DemoError, Program, Programs
from peaktime.sandbox.demo_state import Ledger
from peaktime.sandbox.demo_story import Line, Story
from peaktime.sandbox.demo_summary import Finish, Refused, summarise
from peaktime.sandbox.demo_topics import TopicReader
from peaktime.settings import Settings
from producers.pa.folder import FolderItem, read_folder
from producers.pa.mapping import request_from_pa, unknown
from producers.publish import Publisher
from schemas.records import FactState, ScaleRequest

#: How long anything may take to become quiet, on a slow machine.
_PATIENCE = 90.0
#: How long bodies are published one by one, each followed to its end; the rest goes all at once.
_ONE_BY_ONE = 8.0
_TICK = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a demo is to show.

    Attributes:
        pa: folder of PA bodies, or one file.
        feed: holiday feed as ``import-calendar --feed`` takes it; None for Korea's public holidays.
        output: where everything goes that stays.
        for_seconds: real seconds for running what was planned.
    """

    pa: Path
    feed: str | None
    output: Path
    for_seconds: float


@dataclass(kw_only=True)
class Demo:
    """One demo, from its inputs to its summary.

    Attributes:
        culprit: the program that made the demo fail, if one did.
    """

    options: Options
    output: Path
    feed: str | None
    profiles: Profiles
    settings: Settings
    clock: SandboxClock
    screen: Screen
    publisher: Publisher
    reader: TopicReader
    open_reader: Callable[[], TopicReader]
    programs: Programs
    culprit: Program | None = None
    _refused: list[Refused] = field(default_factory=list)
    _published: list[tuple[int, int]] = field(default_factory=list)
    _needed: list[Program] = field(default_factory=list)
    _stand_in: Program | None = None
    _faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with nothing seen."""
        self._began, self._started = self.clock.now(), time.monotonic()
        self._story = Story(self.profiles.zone)
        circumstances = Circumstances(
            now=self._began,
            grace=timedelta(seconds=self.settings.grace),
            namespace=self.settings.namespace,
        )
        self._ledger = Ledger(self.profiles, circumstances)
        self._watch = ClusterWatch(self.output / "live-cluster")

    def show(self) -> int:
        """Everything, in order; the exit status."""
        items = self._bodies()
        self.screen.heading("peaktime demo: an embedded Kafka, a folder as the cluster, a stand-in for Argo")
        for name in ("worker", "slack-sink"):
            self._needed.append(self.programs.start(name, name))
        self._ask(items)
        self._calendar(self._holidays())
        planned = dict(self._watch.cluster().cron_workflows)
        save(planned, self.output / "cluster")
        self.screen.heading(f"{_count(planned, 'CronWorkflow')} planned, and copied to {self._shown('cluster')}")
        self._run_planned()
        self._aftermath()
        self._needed.clear()
        self.programs.stop()
        self._watch.look()
        cluster = self._watch.cluster()
        with self.open_reader() as fresh:
            records = fresh.read_to_ends()
        summary = summarise(
            records,
            Finish(
                pa=str(self.options.pa),
                feed=self.options.feed or "Korea's public holidays, from the holidays library",
                bodies=len(items),
                published=len(self._published),
                refused=self._refused,
                planned=planned,
                live=frozenset(cluster.cron_workflows),
                workflows=frozenset(cluster.workflows),
                began=self._began,
                clock=self.clock.now(),
                seconds=time.monotonic() - self._started,
                zone=self.profiles.zone,
                faults=self._faults,
            ),
        )
        file = self.output / "summary.json"
        file.write_text(json.dumps(summary, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        self.screen.summary(summary)
        self.screen.say(f"{self._shown('summary.json')} has it all; {self._shown('cluster')} holds what was planned.")
        for fault in summary["faults"]:
            self.screen.say(f"does not add up: {fault}", "bold red")
        return 0 if summary["ok"] else 1

    # -- inputs --

    def _bodies(self) -> list[FolderItem]:
        today = self._began.astimezone(self._zone()).date()
        if self.options.pa.is_dir() and not any(
            file.suffix.lower() == ".json" and file.is_file() for file in self.options.pa.iterdir()
        ):
            return []
        return read_folder(self.options.pa, today, profiles=self.profiles)

    def _holidays(self) -> DemoCalendar:
        now = self._began.astimezone(self._zone())
        if self.feed is None:
            file = self.output / "holidays.ics"
            file.write_bytes(write_feed(now))
            return demo_calendar(str(file), self.output, now)
        return demo_calendar(self.feed, self.output, now)

    def _calendar(self, calendar: DemoCalendar) -> None:
        """Import the feed, and wait until all that follows from it is there."""
        self.screen.heading("The holiday calendar")
        if calendar.note:
            self._tell(Line(kind="note", title=calendar.id, text=calendar.note))
        arguments = ["--calendar", calendar.id, "--feed", calendar.feed]
        extra = {"PEAKTIME_CALENDARS": str(calendar.calendars)}
        importer = self.programs.start("import-calendar", "import-calendar", *arguments, environment=extra)
        self._until(lambda: "" if not importer.running else "the holiday feed to be read, and the worker to join")
        if importer.status == 0:
            self._until(lambda: "" if calendar.id in self._ledger.snapshots else "the snapshot of the feed")
        elif calendar.id not in self._ledger.snapshots and not self._snapshot_comes(calendar.id):
            reason = importer.tail().strip().rpartition("\n")[2] or f"it ended with {importer.status}"
            self._tell(Line(kind="calendar", title=calendar.id, text=f"not imported: {reason}", bad=True))
            self._faults.append(f"the calendar {calendar.id} was not imported: {reason}")
            return
        self._until_quiet()

    def _snapshot_comes(self, calendar: str) -> bool:
        """A feed that is refused is on the log all the same; one that could not be read is not."""
        for _ in range(10):
            self._pump()
        return calendar in self._ledger.snapshots

    def _ask(self, items: list[FolderItem]) -> None:
        """Publish every body: one by one, each followed to its end, as long as there is time for that."""
        self.screen.heading(f"PA's requests: {len(items)} in {self.options.pa}")
        if not items:
            self._tell(Line(kind="note", text=f"{self.options.pa} has no PA body (*.json) in it"))
        until = time.monotonic() + _ONE_BY_ONE
        for item in items:
            self._publish(item)
            if time.monotonic() < until:
                self._until_quiet()
        self._until_quiet()

    def _publish(self, item: FolderItem) -> None:
        try:
            request = self._request(item)
        except RequestError as error:
            reason = "; ".join(error.reasons)
            self._refused.append(Refused(file=item.file, reason=reason))
            told = f"at the gateway: {reason} ← {item.file}"
            self._tell(Line(kind="refused", title=_title_in(item.body), text=told, bad=True))
            return
        self._story.files[request.request_id] = item.file
        self._story.notes[request.request_id] = item.note
        try:
            place = self.publisher.publish(self.publisher.catalogue.requests, request.target, request)
        except PublishError as error:
            raise DemoError(item.file, f"cannot be published: {error}", "Run the demo again") from error
        self._published.append((place.partition, place.offset))

    def _request(self, item: FolderItem) -> ScaleRequest:
        """What the gateway would publish; RequestError if it would refuse."""
        if item.error or item.endpoint is None:
            raise RequestError(item.file, item.error)
        why = unknown(item.endpoint, self.profiles)
        if why is not None:
            raise RequestError(item.file, why)
        return request_from_pa(item.body, item.endpoint, profiles=self.profiles, now=self.clock.now())

    # -- running --

    def _run_planned(self) -> None:
        """Let the stand-in fire what is planned, in order of time, until nothing is left or the time is up."""
        self.screen.heading("A STAND-IN for Argo now runs what is planned, on a FAST-FORWARDED clock; no pod is run")
        end = time.monotonic() + self.options.for_seconds
        while (left := end - time.monotonic()) > 0:
            begun = self._begun()
            if self._ledger.starts_owed(self._watch.cluster(), self.clock.now() + self._past_grace):
                self._start_late()
            if self._scheduled():
                self._fast_forward(left)
            if self._begun() == begun:
                break
        self._until_quiet()

    @property
    def _past_grace(self) -> timedelta:
        return self._ledger.circumstances.grace + timedelta(seconds=1)

    def _start_late(self) -> None:
        """Something should have started already: put the clock past its grace, and the worker starts it."""
        names = ", ".join(self._ledger.starts_owed(self._watch.cluster(), self.clock.now() + self._past_grace))
        self._tell(
            Line(
                kind="clock",
                text=f"put forward by {self._past_grace.seconds} s, so that what is late starts: {names}",
            ),
        )
        self._stand_in = self.programs.start("stand-in", *self._stand_in_command(), lines=True)
        self.clock.advance_to(self.clock.now() + self._past_grace)
        self._until(lambda: self._going_on() or self._waiting())
        self._end_stand_in()

    def _fast_forward(self, seconds: float) -> None:
        arguments = ["--fast-forward", "--await-deletion", "--settle", "0.12", "--idle", "0.6"]
        command = self._stand_in_command(*arguments, "--for-seconds", f"{seconds:.1f}")
        stand_in = self._stand_in = self.programs.start("stand-in", *command, lines=True)
        while stand_in.running:
            done, all_runs = self._begun(), self._begun() + self._scheduled()
            self.screen.progress(f"{done} of {all_runs} runs; the clock shows {self._shown_time()}")
            self._pump()
        self._pump()
        if stand_in.status:
            self._fail(stand_in)
        self._stand_in = None
        if self._going_on():
            # The time was up in the middle of a run: let it end by the clock.
            self._stand_in = self.programs.start("stand-in", *self._stand_in_command(), lines=True)
            self._until(self._going_on)
            self._end_stand_in()
        self._until_quiet()

    def _stand_in_command(self, *more: str) -> list[str]:
        folder, clock = str(self.output / "live-cluster"), str(self.settings.clock_file)
        return ["stand-in", "--directory", folder, "--clock-file", clock, "--json", *more]

    def _end_stand_in(self) -> None:
        if self._stand_in is not None:
            self._stand_in.stop()
            self._pump()
            self._stand_in = None

    def _aftermath(self) -> None:
        """Show that CronWorkflows go and Workflows stay."""
        cluster = self._watch.cluster()
        over = [fact for fact in self._ledger.facts() if is_run(fact) and fact.finished_at and fact.started_at]
        gone = sum(1 for fact in over if fact.outcome.cron_workflow not in cluster.cron_workflows)
        stay = sum(1 for fact in over if fact.subject.removeprefix("run/") in cluster.workflows)
        text = (
            f"{_count(over, 'run')} over: {gone} of their CronWorkflows are gone, {stay} of their Workflows are there"
        )
        if cluster.cron_workflows:
            text += f"; still to come: {_count(cluster.cron_workflows, 'CronWorkflow')}"
        self._tell(Line(kind="note", text=text))

    # -- waiting --

    def _until_quiet(self) -> None:
        """Wait until everything published is folded, the cluster is as it should be, and all messages are delivered."""
        self._until(self._waiting)
        self.screen.lines(self._story.flush(), self.clock.now())

    def _waiting(self) -> str:
        unread = sum(1 for place in self._published if place not in self._ledger.requests)
        if unread:
            return f"{unread} of {len(self._published)} requests to be on the log"
        return self._ledger.waiting_for(self._watch.cluster(), self.clock.now())

    def _until(self, waiting: Callable[[], str]) -> None:
        """Look on until nothing is waited for any more.

        Raises:
            DemoError: that takes too long, or a program ended.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            self._pump()
            what = waiting()
            if not what:
                return
            if time.monotonic() > deadline:
                reason = f"still waiting for {what} after {_PATIENCE:g} s"
                raise DemoError("the demo", reason, f"Look at the logs in {self.output / 'logs'}")
            self.screen.progress(f"waiting for {what}")

    def _pump(self) -> None:
        """See what is new, and tell it."""
        lines: list[Line] = []
        for seen in self.reader.poll(_TICK):
            self._ledger.add(seen)
            lines += self._story.record(seen)
        for change in self._watch.look():
            lines += self._story.change(change)
        for said in self._stand_in.lines() if self._stand_in is not None else ():
            lines += self._story.step(json.loads(said))
        self.screen.lines(lines, self.clock.now())
        for program in self._needed:
            if not program.running:
                self._fail(program)

    def _fail(self, program: Program) -> None:
        self.culprit = program
        reason = f"ended with {program.status} in the middle of the demo"
        raise DemoError(program.name, reason, f"Its log is {program.log}")

    # -- small things --

    def _tell(self, line: Line) -> None:
        self.screen.lines([line], self.clock.now())

    def _begun(self) -> int:
        return sum(1 for fact in self._ledger.facts() if is_run(fact) and fact.started_at)

    def _scheduled(self) -> int:
        return sum(1 for fact in self._ledger.facts() if is_run(fact) and fact.state is FactState.SCHEDULED)

    def _going_on(self) -> str:
        going = [name for name, obj in self._watch.cluster().workflows.items() if not finished(obj)]
        return f"{_count(going, 'run')} to end" if going else ""

    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.profiles.zone)

    def _shown_time(self) -> str:
        return f"{self.clock.now().astimezone(self._zone()):%Y-%m-%d %H:%M} ({self.profiles.zone})"

    def _shown(self, name: str) -> str:
        return str(self.options.output / name)


def _title_in(body: object) -> str:
    """The title in a body that nobody could understand, if there is one."""
    message = body.get("message") if isinstance(body, dict) else None
    title = message.get("title") if isinstance(message, dict) else None
    return title if isinstance(title, str) else ""


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}" if len(things) == 1 else f"{len(things)} {name}s"
