"""The stand-in for Argo: fires CronWorkflows and lets Workflows run and end, without running any pod.

A separate program (``python -m peaktime.sandbox.argo --help``) which shares nothing with the pipeline but the cluster
and, in a sandbox, the clock. Its state is in the objects alone, so it may be stopped and started at any time. What it
does is decided in ``argo_rules``; here are the loop around that and the command line.
"""

import asyncio
import contextlib
import json
import random
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Annotated, Final, Self

import typer

from peaktime.sandbox.argo_clusters import (
    AlreadyExistsError,
    Cluster,
    DirectoryCluster,
    KubernetesCluster,
    RefusedError,
)
from peaktime.sandbox.argo_rules import (
    Create,
    Object,
    Patch,
    Refuse,
    Running,
    Skip,
    View,
    advance,
    created,
    decide,
    ends_at,
    finished,
    found_created,
    name,
    namespace,
    next_firing,
    phase,
    refused,
    schedule_text,
    spec,
    spec_error,
    uid,
)
from peaktime.sandbox.clock import Clock, RealClock, SandboxClock

NOTICE: Final = "stand-in for Argo, no pod is run"

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened, at a time of the (virtual) clock."""

    at: datetime
    event: str
    """advanced, fired, running, succeeded, failed, error, or skipped."""
    cron_workflow: str = ""
    workflow: str = ""
    message: str = ""

    def as_json(self) -> str:
        """The step as one line of JSON."""
        line = {
            "at": self.at.isoformat(),
            "event": self.event,
            "cronWorkflow": self.cron_workflow,
            "workflow": self.workflow,
            "message": self.message,
            "by": NOTICE,
        }
        return json.dumps({key: value for key, value in line.items() if value}, ensure_ascii=False)

    def as_text(self) -> str:
        """The step as one line for people."""
        what = " ".join(part for part in (self.event, self.workflow or self.cron_workflow, self.message) if part)
        return f"[{NOTICE}] {self.at.isoformat(timespec='seconds')} {what}"


@dataclass(slots=True)
class Summary:
    """What was done, and why it ended."""

    fired: int = 0
    succeeded: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0
    advanced: int = 0
    ended: str = "stopped"

    def count(self, step: Step) -> None:
        """Count a step."""
        match step.event:
            case "fired":
                self.fired += 1
            case "succeeded":
                self.succeeded += 1
            case "failed":
                self.failed += 1
            case "error":
                self.errors += 1
            case "skipped":
                self.skipped += 1
            case "advanced":
                self.advanced += 1

    def as_json(self) -> str:
        """The summary as one line of JSON."""
        return json.dumps({"event": "summary", **asdict(self), "by": NOTICE})

    def as_text(self) -> str:
        """The summary as one line for people."""
        numbers = ", ".join(f"{value} {key}" for key, value in asdict(self).items() if key != "ended")
        return f"[{NOTICE}] {numbers}; ended: {self.ended}"


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen of a CronWorkflow when it was last tended."""

    at: datetime
    cron: Object
    children: Sequence[Object]

    def same(self, cron: Object, children: Sequence[Object], now: datetime) -> bool:
        """Whether another look would find the very same: clusters give what has not changed as the same object."""
        return (
            cron is self.cron
            and len(children) == len(self.children)
            and all(one is other for one, other in zip(children, self.children, strict=True))
            and now.replace(second=0, microsecond=0) == self.at.replace(second=0, microsecond=0)
        )


@dataclass(frozen=True, slots=True)
class FastForward:
    """How to put the clock forward: times are of the real clock, in seconds."""

    settle: float = 0.3
    """How long nothing must have changed before the clock is put forward."""
    idle: float = 0.3
    """How long there must have been nothing left to fire before it ends."""
    patience: float = 10.0
    """How long to wait for the CronWorkflow of a run that is over, before going on without it."""
    await_deletion: bool = False
    """Wait until that CronWorkflow is deleted; otherwise Stopped is enough."""
    limit: int | None = None
    """End after so many firings, when their runs are over."""
    for_seconds: float | None = None
    """End after so long."""


def _nothing(_: Step) -> None:
    """Tell nobody."""


@dataclass
class StandIn:
    """The loop: look at the cluster, decide, write, again.

    As an async context manager it runs in the background for as long as the context lasts.

    Args:
        cluster: where the objects are; it is opened and closed by whoever made it.
        clock: what time it is; for ``fast_forward`` a SandboxClock.
        running: how runs go if they do not say it themselves.
        tell: called with each step.
    """

    cluster: Cluster
    clock: Clock = field(default_factory=RealClock)
    running: Running = field(default_factory=Running)
    tell: Callable[[Step], None] = _nothing

    _PAUSE: Final = 0.1

    def __post_init__(self) -> None:
        """Begin with nothing seen."""
        self.summary = Summary()
        self._looked: dict[_Key, _Look] = {}
        self._fired: dict[_Key, str] = {}
        self._complaints: dict[tuple[str, str, str], str] = {}
        self._steps: list[Step] = []
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Run in the background."""
        self._stopping.clear()
        self._task = asyncio.create_task(self.run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, and raise what ended the loop, if something did."""
        self.stop()
        if self._task is not None:
            await self._task

    def stop(self) -> None:
        """Let ``run`` or ``fast_forward`` return soon."""
        self._stopping.set()

    async def run(self, for_seconds: float | None = None) -> None:
        """Keep time with the clock until stopped; a cluster that does not answer is asked again."""
        end = None if for_seconds is None else time.monotonic() + for_seconds
        while not self._stopping.is_set():
            if end is not None and time.monotonic() >= end:
                self.summary.ended = "the time is up"
                return
            if not await self._look_safely():
                await self.cluster.changed(self._PAUSE)

    async def look(self) -> list[Step]:
        """Look once at all there is, and do what is to be done now."""
        self._steps = []
        view = await self.cluster.view()
        now = self.clock.now()
        children = view.children()
        for cron in view.crons:
            await self._guarded(cron, self._attend(cron, children.get((namespace(cron), name(cron)), []), now))
        there = {_identity(cron) for cron in view.crons}
        self._looked = {key: seen for key, seen in self._looked.items() if key in there}
        for workflow in view.workflows:
            if not finished(workflow):
                await self._guarded(workflow, self._move(workflow, view, now))
        return self._steps

    async def fast_forward(self, how: FastForward | None = None) -> Summary:
        """Put the clock forward to whatever comes next, whenever all is quiet, until nothing comes any more."""
        how = how or FastForward()
        if not isinstance(self.clock, SandboxClock):
            raise TypeError("Only a sandbox clock can be put forward.")
        begun = quiet_since = time.monotonic()
        before: object = None
        waiting: dict[_Key, float] = {}
        while not self._stopping.is_set():
            steps = await self._look_safely()
            view = await self.cluster.view()
            now = time.monotonic()
            state = _state(view)
            if steps or state != before:
                quiet_since, before = now, state
            if how.for_seconds is not None and now - begun >= how.for_seconds:
                return self._ended("the time is up")
            busy = [ends_at(one, self.running) for one in view.workflows if not finished(one)]
            enough = how.limit is not None and self.summary.fired >= how.limit
            held_up = not busy and not enough and self._held_up(view, how, waiting, now)
            if now - quiet_since < how.settle or held_up:
                await self.cluster.changed(min(how.settle / 3, 0.05))
                continue
            coming = min(busy + ([] if enough else self._firings(view)), default=None)
            if coming is None:
                if enough or now - quiet_since >= how.idle:
                    return self._ended("the limit is reached" if enough else "nothing is left to fire")
                await self.cluster.changed(min(how.settle / 3, 0.05))
            else:
                self._advance(self.clock, coming)
                quiet_since = now
        return self._ended("stopped")

    async def _look_safely(self) -> list[Step]:
        """Look; a cluster that does not answer is asked again after a jittered wait."""
        attempt = 0
        while not self._stopping.is_set():
            try:
                return await self.look()
            except Exception as error:  # noqa: BLE001  (the last line of defence: whatever it is, it is told)
                attempt += 1
                self._say("error", message=f"{type(error).__name__}: {error}")
                pause = random.uniform(0.5, 1.0) * min(0.1 * 2**attempt, 10.0)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)
        return []

    async def _guarded(self, thing: Object, work: Coroutine[None, None, None]) -> None:
        """Do the work about one object; if it is the object's fault that this fails, the others go on."""
        try:
            await work
        except (RefusedError, AttributeError, KeyError, TypeError, ValueError) as error:
            self._complain(thing, f"{type(error).__name__}: {error}")

    async def _attend(self, cron: Object, children: Sequence[Object], now: datetime) -> None:
        before = self._looked.get(_identity(cron))
        if before is None or not before.same(cron, children, now):
            self._complain(cron, spec_error(cron))
            looked = before.at if before and schedule_text(before.cron) == schedule_text(cron) else None
            await self._tend(cron, children, now, looked)
        self._looked[_identity(cron)] = _Look(now, cron, children)

    async def _move(self, workflow: Object, view: View, now: datetime) -> None:
        if step := advance(workflow, view.templates, now, self.running):
            await self._write(step)

    async def _tend(self, cron: Object, children: Sequence[Object], now: datetime, looked: datetime | None) -> None:
        """Do what is decided about one CronWorkflow, as far as it stays there."""
        for action in decide(cron, children, now, looked):
            match action:
                case Patch(kind="CronWorkflow"):
                    written = await self._write(action)
                    if written is None:
                        return
                    cron = written
                case Patch():
                    await self._write(action)
                case Skip(at=at, message=message):
                    self._say("skipped", name(cron), f"{name(cron)}-{int(at.timestamp())}", message)
                case Refuse(message=message):
                    self._say("error", name(cron), message=message)
                    cron = await self._write(refused(cron, message)) or cron
                case Create():
                    cron = await self._submit(cron, action) or cron

    async def _submit(self, cron: Object, firing: Create) -> Object | None:
        workflow = firing.workflow
        try:
            there = await self.cluster.create(workflow)
        except AlreadyExistsError:
            self._fired[namespace(cron), name(cron)] = uid(cron)
            return await self._write(found_created(cron))
        except RefusedError as error:
            message = f"Failed to submit Workflow: {error}"
            self._say("error", name(cron), name(workflow), message)
            return await self._write(refused(cron, message))
        self._fired[namespace(cron), name(cron)] = uid(cron)
        self._say("fired", name(cron), name(workflow))
        return await self._write(created(cron, there, firing.at))

    async def _write(self, patch: Patch) -> Object | None:
        written = await self.cluster.patch(patch.kind, patch.namespace, patch.name, patch.body)
        if patch.event and written is not None:
            self._say(patch.event, patch.cron_workflow, patch.name, patch.message)
        return written

    def _complain(self, thing: Object, problem: str) -> None:
        """Tell once what is wrong with an object; nothing wrong is not told."""
        key = (str(thing.get("kind")), namespace(thing), name(thing))
        if problem and self._complaints.get(key) != problem:
            mine = {"cron_workflow" if thing.get("kind") == "CronWorkflow" else "workflow": name(thing)}
            self._say("error", **mine, message=problem)
        self._complaints[key] = problem

    def _say(self, event: str, cron_workflow: str = "", workflow: str = "", message: str = "") -> None:
        step = Step(self.clock.now(), event, cron_workflow, workflow, message)
        self.summary.count(step)
        self._steps.append(step)
        self.tell(step)

    def _ended(self, why: str) -> Summary:
        self.summary.ended = why
        return self.summary

    def _firings(self, view: View) -> list[datetime]:
        now = self.clock.now()
        return [at for cron in view.crons if (at := next_firing(cron, now))]

    def _held_up(self, view: View, how: FastForward, waiting: dict[_Key, float], now: float) -> bool:
        """Whether the CronWorkflow of a run that is over is still to be dealt with by those whose it is."""
        there = {(namespace(cron), name(cron)): cron for cron in view.crons}
        for key, known in list(self._fired.items()):
            cron = there.get(key)
            gone = cron is None or uid(cron) != known
            stays = cron is not None and not spec(cron).get("stopStrategy")
            stopped = cron is not None and phase(cron) == "Stopped" and not how.await_deletion
            if gone or stays or stopped or now - waiting.setdefault(key, now) >= how.patience:
                del self._fired[key]
                waiting.pop(key, None)
        return bool(self._fired)

    def _advance(self, clock: SandboxClock, coming: datetime) -> None:
        skipped = coming - clock.now()
        if skipped > timedelta(0):
            clock.advance_to(coming)
            self._say("advanced", message=f"by {timedelta(seconds=round(skipped.total_seconds()))}")


def _identity(cron: Object) -> _Key:
    return namespace(cron), f"{name(cron)}/{uid(cron)}"


def _state(view: View) -> frozenset[tuple[str, str, str, str]]:
    return frozenset(
        (str(one.get("kind")), namespace(one), name(one), str(one.get("metadata", {}).get("resourceVersion")))
        for group in (view.crons, view.workflows, view.templates)
        for one in group
    )


def command(
    *,
    directory: Annotated[Path | None, typer.Option(help="The cluster is this folder of manifests.")] = None,
    kubeconfig: Annotated[Path | None, typer.Option(help="The cluster is the one this file connects to.")] = None,
    in_cluster: Annotated[bool, typer.Option("--in-cluster", help="The cluster is the one this pod is in.")] = False,
    namespace: Annotated[str | None, typer.Option(help="Look at this namespace only.")] = None,
    clock_file: Annotated[Path | None, typer.Option(help="Go by the sandbox clock in this file.")] = None,
    run_seconds: Annotated[float, typer.Option(min=0, help="How long a run takes, by the clock.")] = 1.0,
    fail: Annotated[
        list[str] | None,
        typer.Option(help="Workflows of such a name (a pattern like *-night-*) fail. Repeatable."),
    ] = None,
    fast_forward: Annotated[
        bool,
        typer.Option("--fast-forward", help="Put the clock forward to whatever comes next; end when nothing does."),
    ] = False,
    settle: Annotated[
        float,
        typer.Option(min=0, help="Fast forward: real seconds without a change before that."),
    ] = 0.3,
    idle: Annotated[
        float,
        typer.Option(min=0, help="Fast forward: real seconds with nothing to fire to the end."),
    ] = 0.3,
    patience: Annotated[
        float,
        typer.Option(min=0, help="Fast forward: real seconds to wait for a fired CronWorkflow to go."),
    ] = 10.0,
    await_deletion: Annotated[
        bool,
        typer.Option("--await-deletion", help="Fast forward: wait until it is deleted; else Stopped will do."),
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Fast forward: end after so many firings.")] = None,
    for_seconds: Annotated[float | None, typer.Option(min=0, help="End after so many real seconds.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per step.")] = False,
) -> None:
    """A STAND-IN for Argo: fires CronWorkflows, lets Workflows run and end. No pod is run.

    For demos and tests without Argo; never beside a real one. A run succeeds after --run-seconds, unless its Workflow
    (or the CronWorkflow's workflowMetadata) says otherwise by the annotations sandbox.peaktime.io/outcome (Succeeded,
    Failed, Error, SubmissionError) and sandbox.peaktime.io/run-seconds. What it writes is annotated with
    sandbox.peaktime.io/stand-in. Ends on SIGTERM or SIGINT with a summary.
    """
    if (directory is not None) + (kubeconfig is not None) + in_cluster != 1:
        raise typer.BadParameter("give one of --directory, --kubeconfig and --in-cluster")
    if fast_forward and clock_file is None:
        raise typer.BadParameter("--fast-forward needs --clock-file")
    clock = SandboxClock(clock_file) if clock_file else RealClock()
    how = FastForward(settle, idle, patience, await_deletion, limit, for_seconds) if fast_forward else None
    running = Running(run_seconds, tuple(fail or ()))

    def tell(line: Step | Summary) -> None:
        typer.echo(line.as_json() if as_json else line.as_text())

    async def main() -> None:
        cluster: Cluster = (
            DirectoryCluster(directory, space=namespace, clock=clock)
            if directory
            else KubernetesCluster(kubeconfig, space=namespace)
        )
        async with cluster:
            stand_in = StandIn(cluster, clock, running, tell)
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stand_in.stop)
            tell(Step(clock.now(), "ready", message="fast forward" if how else "by the clock"))
            if how:
                await stand_in.fast_forward(how)
            else:
                await stand_in.run(for_seconds)
            tell(stand_in.summary)

    asyncio.run(main())


if __name__ == "__main__":
    typer.run(command)
