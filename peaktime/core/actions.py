"""What a plan is made of and what it is made from, as plain values.

Pure: standard library, ``schemas.records`` and the core only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from peaktime.core.runs import Manifest
from schemas.records import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the cluster holds for one target, as its API gave it.

    Attributes:
        cron_workflows: by name: ours of the target, and foreign ones whose name we would use.
        workflows: by name: the Workflows that carry our label and the target's.
    """

    cron_workflows: Mapping[str, Manifest] = field(default_factory=dict)
    workflows: Mapping[str, Manifest] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Create a CronWorkflow by POST."""

    manifest: Manifest
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Bring a CronWorkflow of ours back to what it should be, by server-side apply."""

    manifest: Manifest
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start an owed run: create its Workflow under Argo's own name, by POST."""

    manifest: Manifest
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete a CronWorkflow of ours, its Workflows left behind."""

    name: str
    namespace: str
    uid: str
    resource_version: str
    reason: str


Write = Create | Apply | Start | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be done now, and why.

    Attributes:
        target: the target.
        writes: to the cluster, in order: what adds capacity before what takes it away.
        reports: outcomes that the facts do not show yet, in order.
        look_again: when, at the latest, to look again (UTC); None if only a change can matter.
    """

    target: str
    writes: tuple[Write, ...] = ()
    reports: tuple[Outcome, ...] = ()
    look_again: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a plan needs to know beside desired and observed.

    Attributes:
        now: the time (UTC).
        grace: how long a run may be late before it is started by us.
        namespace: where objects go unless a profile says otherwise.
        reporter: name of this worker.
        link_template: link to a Workflow, with ``{namespace}`` and ``{workflow}``; empty for none.
    """

    now: datetime
    grace: timedelta
    namespace: str
    reporter: str = ""
    link_template: str = ""
