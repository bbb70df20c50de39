"""What is found about Kafka and the schema registry, judged.

Pure: values in, lines out. Must not: ask anybody, or know the producers, whose findings come as what they look like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from processors.doctor.lines import Line, named, ok, warning, wrong

PARTITIONS = "partitions"
SINK = "slack-sink"
_STARTS = {"fold": "peaktime worker", "announce": "peaktime worker", SINK: "peaktime slack-sink"}
_ENSURE = "Run `peaktime topics ensure`"
_AS_OTHER = "Run doctor as a Kafka user of the role operator or auditor; docs/security.md says who that is"
_ALIVE = "STABLE"
_FORMING = frozenset({"PREPARING_REBALANCING", "COMPLETING_REBALANCING", "ASSIGNING", "RECONCILING"})


class Difference(Protocol):
    """One thing about a topic that is not as the catalogue says."""

    @property
    def topic(self) -> str:
        """Its full name."""

    @property
    def what(self) -> str:
        """The configuration, or ``partitions`` or ``replication``."""

    @property
    def wanted(self) -> str:
        """What the catalogue says."""

    @property
    def found(self) -> str:
        """What is there."""

    @property
    def remedy(self) -> str:
        """What to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicsSeen:
    """The topics of the catalogue on a broker.

    Attributes:
        partitions: by full name, of those that are there.
        missing: full names of those that are not.
        unseen: full names of those that this user is not shown.
        unread: full names of those whose configuration this user is not told.
        differences: what is not as the catalogue says.
    """

    partitions: dict[str, int]
    missing: Sequence[str] = ()
    unseen: Sequence[str] = ()
    unread: Sequence[str] = ()
    differences: Sequence[Difference] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSeen:
    """A consumer group of ours.

    Attributes:
        name: without the prefix: ``fold``, ``announce``, ``slack-sink``.
        group: its id.
        state: what the brokers say of it; empty if they list no such group.
        refused: this user may not ask about it.
        committed: whether it ever committed a position.
        behind: records that it has not read.
        moving: whether it read some while it was looked at.
    """

    name: str
    group: str
    state: str = ""
    refused: bool = False
    committed: bool = False
    behind: int = 0
    moving: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectSeen:
    """A subject in the schema registry.

    Attributes:
        subject: its name.
        registered: whether today's schema stands under it.
        refusals: what the registry has against today's schema, if it does not.
        compatibility: its own level; None if it has none.
    """

    subject: str
    registered: bool
    refusals: Sequence[str] = ()
    compatibility: str | None = None


def topics_lines(seen: TopicsSeen) -> list[Line]:
    """The topics: there, equally many partitions, and as the catalogue says."""
    lines = [wrong(f"topic {name}", "is not there", _ENSURE) for name in seen.missing]
    equal = len(set(seen.partitions.values())) == 1
    for odd in seen.differences:
        said = f"{odd.what} is {odd.found}, the catalogue says {odd.wanted}"
        if odd.what == PARTITIONS and equal:
            lines.append(warning(f"topic {odd.topic}", f"{said}; all topics have as many, so it works", odd.remedy))
        else:
            lines.append(wrong(f"topic {odd.topic}", said, odd.remedy))
    if seen.unseen:
        said = f"{named(seen.unseen)}: not shown to this user, so they are not checked"
        lines.append(warning("topics", said, _AS_OTHER))
    if seen.unread:
        said = f"this broker does not tell this user how {named(seen.unread)} is configured"
        lines.append(
            warning("topics", said, "Run doctor as a Kafka user that may describe the configuration of topics")
        )
    if not lines:
        count = next(iter(seen.partitions.values()), 0)
        lines.append(ok("topics", f"{len(seen.partitions)}, each with {count} partitions, as the catalogue says"))
    return lines


def acls_lines(missing: Sequence[str], unknown: Sequence[str], known: int) -> list[Line]:
    """The rights on the broker.

    Args:
        missing: ACLs of the catalogue that nothing on the broker gives.
        unknown: ACLs on our topics and groups that the catalogue does not know.
        known: how many ACLs are as the catalogue says.
    """
    lines = []
    if missing:
        remedy = "Run `peaktime topics ensure --acls`; if a role has another name here, say so with --principal"
        lines.append(wrong("rights in Kafka", f"missing: {named(missing)}", remedy))
    if unknown:
        remedy = "Remove with kafka-acls what nobody needs"
        lines.append(warning("rights in Kafka", f"the catalogue does not know {named(unknown)}", remedy))
    return lines or [ok("rights in Kafka", f"{known}, as the catalogue says")]


def acls_unseen(reason: str) -> list[Line]:
    """This user may not look at rights."""
    remedy = "Run doctor as a Kafka user that may describe the cluster, e.g. the one that ran `peaktime topics ensure`"
    return [warning("rights in Kafka", f"this user may not look at them ({reason})", remedy)]


def acls_none() -> list[Line]:
    """The broker has no authorizer."""
    remedy = "Give it an authorizer where others can reach it: docs/security.md"
    return [warning("rights in Kafka", "this broker asks nobody for rights: everybody may read and write all", remedy)]


def group_line(seen: GroupSeen) -> Line:
    """A consumer group: alive, and not behind."""
    about = f"consumer group {seen.group}"
    start = f"Start `{_STARTS.get(seen.name, 'peaktime worker')}`, and look at its log if it ends"
    if seen.refused:
        return warning(about, "this user may not look at it", _AS_OTHER)
    waiting = f"{seen.behind} record{'' if seen.behind == 1 else 's'}"
    if seen.state in _FORMING:
        return ok(about, f"shares its work out anew; {waiting} behind")
    if seen.state != _ALIVE:
        if seen.name == SINK and not seen.committed:
            return warning(about, "nobody has ever been in it, so nobody is told anything", start)
        return wrong(about, f"nobody is in it; {waiting} behind", start)
    if seen.behind and not seen.moving:
        remedy = "Look at its log: it says what it waits for"
        return warning(about, f"alive, but {waiting} behind, and it reads none", remedy)
    return ok(about, f"alive, {waiting} behind")


def registry_lines(where: str, subjects: Sequence[SubjectSeen], compatibility: str) -> list[Line]:
    """The subjects of the catalogue.

    Args:
        where: the registry's address.
        subjects: what it says of each.
        compatibility: the level that each should have.
    """
    lines = []
    for seen in subjects:
        about = f"subject {seen.subject}"
        if seen.refusals:
            said = f"the registry refuses today's schema: {seen.refusals[0]}"
            lines.append(wrong(about, said, "Run `peaktime schemas check`: it says what to change"))
        elif not seen.registered:
            lines.append(wrong(about, "today's schema is not registered", "Run `peaktime schemas register`"))
        elif seen.compatibility != compatibility:
            said = f"its compatibility is {seen.compatibility or 'that of the registry'}, not {compatibility}"
            lines.append(wrong(about, said, "Run `peaktime schemas register`, which sets it"))
    return lines or [ok(f"schema registry {where}", f"{len(subjects)} subjects, {compatibility}")]
