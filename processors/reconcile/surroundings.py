"""What a look needs to know beside entries, facts and objects: templates, refusals, failing writes, the settings.

It asks the API server about WorkflowTemplates only while a firing is near, and never holds up a look: what is not known
yet is left out, and the target is looked at again when it is. Must not: judge any of it; that is the core's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import structlog

from peaktime.core.actions import Circumstances, Template
from peaktime.core.desired import Desired
from peaktime.core.readiness import needed
from peaktime.core.runs import TemplateKey
from peaktime.errors import ClusterError
from processors.reconcile.cluster import Cluster

log = structlog.get_logger(__name__)

#: A WorkflowTemplate is looked at again after this long (s), and one that could not be looked at after that long.
_FRESH, _AGAIN = 30.0, 5.0


@dataclass(slots=True)
class _Known:
    """What is known of a WorkflowTemplate, and until when that will do."""

    template: Template | None = None
    until: float = 0.0


class Templates:
    """The WorkflowTemplates that firings need soon."""

    def __init__(self, cluster: Cluster, changed: Callable[[str], None]) -> None:
        """Wire it.

        Args:
            cluster: the cluster.
            changed: told the target for which something new is known.
        """
        self._cluster, self._changed = cluster, changed
        self._known: dict[TemplateKey, _Known] = {}
        self._waiting: dict[TemplateKey, set[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, target: str, keys: Iterable[TemplateKey]) -> dict[TemplateKey, Template]:
        """What is known of these; the rest is asked for, and the target told when it is here."""
        found: dict[TemplateKey, Template] = {}
        for key in keys:
            known = self._known.setdefault(key, _Known())
            if known.template is not None:
                found[key] = known.template
            if known.until <= time.monotonic():
                waiting = self._waiting.get(key)
                if waiting is not None:
                    waiting.add(target)
                    continue
                self._waiting[key] = {target}
                task = asyncio.create_task(self._ask(key, known), name=f"template-{key[1]}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return found

    async def stop(self) -> None:
        """Ask no more."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, key: TemplateKey, known: _Known) -> None:
        before = known.template
        try:
            known.template = await self._cluster.template(*key)
            known.until = time.monotonic() + _FRESH
        except ClusterError as error:
            known.until = time.monotonic() + _AGAIN
            log.warning("a WorkflowTemplate could not be looked at", namespace=key[0], name=key[1], error=str(error))
        finally:
            waiting = self._waiting.pop(key, set())
        if known.template != before:
            for target in waiting:
                self._changed(target)


class Surroundings:
    """All that a plan is made with beside desired and observed."""

    def __init__(
        self,
        *,
        templates: Templates,
        configuration: Callable[[str], Mapping[str, str]],
        failing: Callable[[], Mapping[str, str]],
        refusals: Callable[[str], Mapping[str, str]],
    ) -> None:
        """Wire it.

        Args:
            templates: the WorkflowTemplates.
            configuration: a target's part of the settings in force.
            failing: by object name, why writing it fails.
            refusals: by profile of a target, why the API server would refuse what it makes.
        """
        self._templates, self._configuration = templates, configuration
        self._failing, self._refusals = failing, refusals

    def around(self, want: Desired, at: Circumstances) -> tuple[Circumstances, Mapping[TemplateKey, Template]]:
        """The circumstances of a target, and the WorkflowTemplates that it needs soon.

        Args:
            want: what should be.
            at: the circumstances that all targets share.
        """
        own = replace(
            at,
            configuration=self._configuration(want.target),
            failing=self._failing(),
            refusals=self._refusals(want.target),
        )
        return own, self._templates.of(want.target, needed(want, own))
