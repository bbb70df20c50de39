"""What would be done now: the worker's own question, asked once and without any way to do it.

For: ``peaktime plan``. A cluster is looked at through ``ReadOnly``, which has no method that writes. Must not: apply a
plan, report anything, or decide by other rules than the core's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from peaktime.core.actions import Template
from peaktime.core.desired import Desired, desired
from peaktime.core.outcomes import Facts, problem_subject
from peaktime.core.plan import Circumstances, Observed, Plan, plan
from peaktime.core.profiles import Profiles
from peaktime.core.readiness import needed
from peaktime.core.requests import Entries
from peaktime.core.runs import TemplateKey
from peaktime.errors import ClusterError
from processors.reconcile.cluster import Cluster
from schemas.records import FactState

#: Seconds after which a cluster that does not show its objects counts as away.
PATIENCE = 15.0
_POLL = 0.05
#: Problems that only the worker can see: it tries profiles by dry runs, which are writes to an API server.
_WORKERS_OWN = "refused-profile"


class ReadOnly:
    """A cluster that can only be looked at."""

    def __init__(self, cluster: Cluster) -> None:
        self._start, self._stop, self._template = cluster.start, cluster.stop, cluster.template
        self._observed, self._targets = cluster.observed, cluster.targets
        self._synced: Callable[[], bool] = lambda: cluster.synced
        self._trouble: Callable[[], str] = lambda: cluster.trouble

    def observed(self, target: str, names: Iterable[str]) -> Observed:
        """What there is for a target, with foreign objects under these names."""
        return self._observed(target, names)

    def targets(self) -> set[str]:
        """The targets that objects of ours name."""
        return self._targets()

    async def template(self, namespace: str, name: str) -> Template | None:
        """What a WorkflowTemplate holds; None if nothing can be told.

        Raises:
            ClusterError: that cannot be known now.
        """
        return await self._template(namespace, name)

    @asynccontextmanager
    async def opened(self, patience: float = PATIENCE) -> AsyncIterator[None]:
        """While it is open, everything that there is can be seen.

        Raises:
            ClusterError: no connection is configured, or the objects do not show in time.
        """
        try:
            await self._start(lambda _target: None)
            deadline = time.monotonic() + patience
            while not self._synced():
                if time.monotonic() > deadline:
                    reason = self._trouble() or "it does not answer"
                    remedy = "Run `peaktime doctor`, which tells what is missing"
                    raise ClusterError("the cluster", f"cannot be read: {reason}", remedy)
                await asyncio.sleep(_POLL)
            yield
        finally:
            await self._stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One target: what would be done, what should be, and what is."""

    plan: Plan
    want: Desired
    seen: Observed


async def preview(
    target: str,
    entries: Entries,
    facts: Facts,
    profiles: Profiles,
    at: Circumstances,
    cluster: ReadOnly,
) -> Preview:
    """What a worker would do for a target now.

    Args:
        target: the target.
        entries: its entries.
        facts: its facts.
        profiles: the configuration in force.
        at: the circumstances, of this target and this instant.
        cluster: open.

    Raises:
        ClusterError: a WorkflowTemplate that a firing needs soon cannot be looked at.
    """
    want = desired(target, entries, facts, profiles, at.now, grace=at.grace)
    at = replace(at, refusals={**at.refusals, **known_refusals(facts)})
    templates: dict[TemplateKey, Template] = {}
    for key in sorted(needed(want, at)):
        template = await cluster.template(*key)
        if template is not None:
            templates[key] = template
    seen = replace(cluster.observed(target, want.runs), templates=templates)
    return Preview(plan=plan(want, seen, entries, facts, profiles, at), want=want, seen=seen)


def known_refusals(facts: Facts) -> Mapping[str, str]:
    """By profile, what the worker has reported that the API server would refuse; it stands until it says otherwise."""
    prefix = problem_subject(_WORKERS_OWN, "")
    return {
        subject.removeprefix(prefix): fact.outcome.message
        for subject, fact in facts.by_subject.items()
        if subject.startswith(prefix) and fact.state is FactState.OPEN
    }
