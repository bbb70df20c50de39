"""Trying the profiles of a target before they are needed, by dry runs: what a webhook refuses is known at once.

For: the worker that looks at the target. Nobody waits for it: what is not known yet is no refusal. It makes nothing in
the cluster, and it must not decide what a refusal means.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from peaktime.core.capacity import Firing
from peaktime.core.profiles import Profile, Profiles
from peaktime.core.runs import OURS, Manifest, Run, cron_workflow, noun, workflow
from peaktime.errors import ClusterError
from processors.reconcile.cluster import Cluster
from processors.reconcile.decide import Clock
from processors.reconcile.manners import Manners
from schemas.records import Action, Entry, RequestAction, ScaleRequest, Verdict, VerdictKind

log = structlog.get_logger(__name__)

#: A target with a refusal is tried again after this long (s): somebody may have mended the policy.
AGAIN = 300.0
_FIRST_BACKOFF, _LONGEST_BACKOFF = 1.0, 60.0
#: Between two dry runs (s): a worker that takes over hundreds of targets must not storm the server with them.
_PACE = 0.02
_AHEAD = timedelta(days=364)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What the cluster would not take.

    Attributes:
        profile: name of the profile.
        way: ``scale-out`` or ``scale-in``.
        kind: ``CronWorkflow`` or ``Workflow``.
        message: why, in the cluster's words.
    """

    profile: str
    way: str
    kind: str
    message: str


@dataclass(slots=True)
class _Known:
    """What is known of a target.

    Attributes:
        due: when to try (monotonic); None for never again.
        failures: how often in a row it could not be known.
    """

    refusals: tuple[Refusal, ...] = ()
    due: float | None = 0.0
    failures: int = 0
    trying: bool = False


class Trials:
    """Tries each target once per process; refused ones again every five minutes."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        profiles: Profiles,
        namespace: str,
        clock: Clock,
        manners: Manners,
        changed: Callable[[str], None],
        again: float = AGAIN,
    ) -> None:
        """Wire it.

        Args:
            cluster: the cluster.
            profiles: the configuration in force.
            namespace: where objects go unless a profile says otherwise.
            clock: tells the time.
            manners: when there is a call to spare.
            changed: called with a target when other refusals of it are known than before.
            again: seconds after which a refused target is tried again.
        """
        self._cluster, self._profiles, self._namespace = cluster, profiles, namespace
        self._clock, self._manners, self._changed, self._again = clock, manners, changed, again
        self._known: dict[str, _Known] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._one = asyncio.Semaphore(1)

    def refusals(self, target: str) -> tuple[Refusal, ...]:
        """The refusals known of a target; what is not known yet begins to be found out."""
        known = self._known.setdefault(target, _Known())
        if not known.trying and known.due is not None and known.due <= time.monotonic():
            known.trying = True
            task = asyncio.create_task(self._try(target, known), name=f"trial-{target}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return known.refusals

    def messages(self, target: str) -> dict[str, str]:
        """The refusals by profile and way, as in ``infra-mon-night scale-out``: all that is said about them."""
        said: dict[str, list[str]] = {}
        for one in self.refusals(target):
            said.setdefault(f"{one.profile} {one.way}", []).append(f"{one.kind}: {one.message}")
        return {name: "; ".join(parts) for name, parts in said.items()}

    async def stop(self) -> None:
        """Try no more."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _try(self, target: str, known: _Known) -> None:
        before = known.refusals
        try:
            async with self._one:
                known.refusals = await self._tried(target)
            known.failures = 0
            known.due = time.monotonic() + self._again if known.refusals else None
        except ClusterError as error:
            known.failures += 1
            pause = min(_FIRST_BACKOFF * 2 ** min(known.failures - 1, 10), _LONGEST_BACKOFF) * random.uniform(0.5, 1.0)
            known.due = time.monotonic() + pause
            log.info("profiles cannot be tried", target=target, reason=str(error), again_in=round(pause, 1))
        finally:
            known.trying = False
        if known.due is not None:
            asyncio.get_running_loop().call_later(known.due - time.monotonic(), self.refusals, target)
        if known.refusals != before:
            for one in known.refusals:
                log.warning(
                    "a profile is refused",
                    target=target,
                    profile=one.profile,
                    way=one.way,
                    kind=one.kind,
                    reason=one.message,
                )
            self._changed(target)

    async def _tried(self, target: str) -> tuple[Refusal, ...]:
        """Every profile of a target, both ways, as both kinds. Raises ClusterError if that cannot be known."""
        found: list[Refusal] = []
        for profile in self._profiles.by_name.values():
            if profile.target != target:
                continue
            for run in trial_runs(profile, self._clock.now()):
                for manifest in self._manifests(run):
                    wait = self._manners.spare()
                    while wait > 0:
                        await asyncio.sleep(wait)
                        wait = self._manners.spare()
                    message = await self._cluster.trial(manifest)
                    if message is not None:
                        refusal = Refusal(
                            profile=profile.name,
                            way=noun(run),
                            kind=manifest["kind"],
                            message=message.replace(run.workflow, "it").replace(run.name, "it"),
                        )
                        found.append(refusal)
                    await asyncio.sleep(_PACE)
        return tuple(found)

    def _manifests(self, run: Run) -> tuple[Manifest, Manifest]:
        return (
            cron_workflow(run, zone=self._profiles.zone, namespace=self._namespace, position=0),
            workflow(run, namespace=self._namespace, position=0, parent=None),
        )


def trial_runs(profile: Profile, now: datetime) -> Iterator[Run]:
    """A run of a profile each way, of an event that nobody asked for, almost a year hence.

    Args:
        profile: the profile.
        now: the time (UTC).
    """
    starts = now.replace(second=0, microsecond=0) + _AHEAD
    action = Action(
        request_id="trial",
        day=profile.day,
        band=profile.band,
        starts_at=starts,
        ends_at=starts + timedelta(minutes=1),
        title="trial",
        owner=OURS,
        requested_at=now,
        position=0,
        changed_at=now,
    )
    asked = ScaleRequest(request_id="trial", target=profile.target, event_date="", requested_at=now)
    entry = Entry(
        target=profile.target,
        event_date=starts.strftime("%Y-%m-%dT%H:%M"),
        position=0,
        log_time=now,
        scale_out=action,
        scale_in=action,
        verdict=Verdict(kind=VerdictKind.ACCEPTED, request=asked),
    )
    firing = Firing(
        instant=starts,
        action=RequestAction.SCALE_OUT,
        entry=entry.key,
        by=action,
        since=now,
        why="a trial",
    )
    name = f"{OURS}-trial-{secrets.token_hex(4)}"
    yield Run(name=name, firing=firing, entry=entry, profile=profile)
    back = replace(firing, instant=starts + timedelta(minutes=1), action=RequestAction.SCALE_IN)
    yield Run(name=name, firing=back, entry=entry, profile=profile)
