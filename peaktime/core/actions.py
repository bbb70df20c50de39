"""What a plan is made of and what it is made from, as plain values.

Pure: standard library, ``schemas.records`` and the core only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta

from peaktime.core.runs import Manifest, TemplateKey
from schemas.records import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that people must mend: a code, what it is about, words, and the entry if it has one."""

    code: str
    about: str
    message: str
    entry: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What is known of a WorkflowTemplate.

    Attributes:
        names: the templates that it holds; None if it does not exist or cannot be read.
        trouble: why it cannot be read; empty if it can, or does not exist.
    """

    names: frozenset[str] | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the cluster holds for one target, as its API gave it.

    Attributes:
        cron_workflows: by name: ours of the target, and foreign ones whose name we would use.
        workflows: by name: the Workflows that carry our label and the target's.
        taken: names of Workflows that are not ours, as far as they are known: nobody watches for them.
        templates: by namespace and name: the WorkflowTemplates that were looked at.
    """

    cron_workflows: Mapping[str, Manifest] = field(default_factory=dict)
    workflows: Mapping[str, Manifest] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    templates: Mapping[TemplateKey, Template] = field(default_factory=dict)


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
    """Delete a CronWorkflow of ours, its Workflows left behind; ``entry`` is the key of the entry that it was for."""

    name: str
    entry: str = ""
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
        problems: what people must mend, whether it is reported yet or not.
        look_again: when, at the latest, to look again (UTC); None if only a change can matter.
    """

    target: str
    writes: tuple[Write, ...] = ()
    reports: tuple[Outcome, ...] = ()
    problems: tuple[Problem, ...] = ()
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
        ready_before: how long before a firing everything it needs must be there; None not to check.
        remind_before: how long before a scale-out people are reminded; None for never.
        digest_at: when in the evening the coming days are told, by the zone's clock; None for never.
        digest_days: how many days these are.
        configuration: the target's part of the settings in force, by name, as text; empty not to report it.
        failing: by object name, why writing it fails.
        refusals: by profile and direction, why the API server would refuse its objects.
    """

    now: datetime
    grace: timedelta
    namespace: str
    reporter: str = ""
    link_template: str = ""
    ready_before: timedelta | None = None
    remind_before: timedelta | None = None
    digest_at: time | None = None
    digest_days: int = 7
    configuration: Mapping[str, str] = field(default_factory=dict)
    failing: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)
