"""The topic catalogue: ``schemas/topics.yaml`` as typed values.

For: everything that creates, checks, reads, writes or documents a topic. Must not: talk to a broker or know settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import yaml

from peaktime.errors import CatalogueError
from schemas.records import RECORDS

DAY_MS = 24 * 60 * 60 * 1000
FOREVER_MS = -1
_CLEANUPS = {"delete", "compact", "compact,delete"}
_TIMESTAMPS = {"CreateTime", "LogAppendTime"}
_FILE = "schemas/topics.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """One topic.

    Attributes:
        name: full name, with the prefix.
        short: name without prefix and version, e.g. ``calendar-states``.
        key: what its key is, in words.
        record: class of its values; None for raw bytes.
        partitions: fixed for life.
        replication: copies, where there are enough brokers.
        min_insync: copies that must have a record before its sender is answered.
        cleanup: ``delete``, ``compact`` or ``compact,delete``.
        retention_ms: milliseconds; -1 for ever.
        min_compaction_lag_ms: milliseconds in which nothing is compacted.
        timestamp_type: ``CreateTime`` or ``LogAppendTime``.
        max_message_bytes: largest record batch that the broker takes.
        personal: fields in which a person may be named or quoted.
        owner: who answers for it.
        writers: roles that may write.
        readers: roles that may read.
        doc: what it is for.
    """

    name: str
    short: str
    key: str
    record: type[Any] | None
    partitions: int
    replication: int
    min_insync: int
    cleanup: str
    retention_ms: int
    min_compaction_lag_ms: int
    timestamp_type: str
    max_message_bytes: int
    personal: tuple[str, ...]
    owner: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    doc: str

    @property
    def subject(self) -> str:
        """The subject of its schema in a registry."""
        return f"{self.name}-value"

    def configs(self) -> dict[str, str]:
        """Kafka's topic configuration, except for min.insync.replicas, which depends on the number of brokers."""
        configs = {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "message.timestamp.type": self.timestamp_type,
            "max.message.bytes": str(self.max_message_bytes),
        }
        if self.min_compaction_lag_ms:
            configs["min.compaction.lag.ms"] = str(self.min_compaction_lag_ms)
        return configs


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSpec:
    """One consumer group.

    Attributes:
        name: what follows the prefix of groups, e.g. ``fold``.
        members: roles that read as this group.
        watchers: roles that may ask how far it has read.
        doc: what it is for.
    """

    name: str
    members: tuple[str, ...]
    watchers: tuple[str, ...]
    doc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All topics, each by its own name; iterating gives them in the order of an event's way."""

    prefix: str
    roles: Mapping[str, str]
    groups: tuple[GroupSpec, ...]
    requests: TopicSpec
    calendars: TopicSpec
    outcomes: TopicSpec
    entries: TopicSpec
    facts: TopicSpec
    calendar_states: TopicSpec
    notifications: TopicSpec
    deliveries: TopicSpec
    dead_letters: TopicSpec

    def __iter__(self) -> Iterator[TopicSpec]:
        for field in _TOPIC_FIELDS:
            yield getattr(self, field)

    def with_partitions(self, partitions: int) -> Catalogue:
        """The same topics with the partition count that a broker really has: the embedded one cannot choose."""
        specs = {field: replace(getattr(self, field), partitions=partitions) for field in _TOPIC_FIELDS}
        return replace(self, **specs)

    def by_name(self, name: str) -> TopicSpec | None:
        """The topic of that full name, or None."""
        return next((spec for spec in self if spec.name == name), None)


#: Every start of the CLI reads the catalogue: libyaml does in a tenth of the time, where PyYAML has it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TOPIC_FIELDS = tuple(name for name, hint in Catalogue.__annotations__.items() if hint == "TopicSpec")


def load_catalogue(prefix: str = "peaktime.") -> Catalogue:
    """The catalogue that is shipped with the package.

    Args:
        prefix: prefix of every topic.

    Raises:
        CatalogueError: naming the topic and the value that is wrong.
    """
    return read_catalogue(files("schemas").joinpath("topics.yaml").read_text("utf-8"), prefix)


def read_catalogue(text: str, prefix: str) -> Catalogue:
    """The catalogue in a YAML text. Raises CatalogueError."""
    try:
        document = yaml.load(text, _LOADER)  # noqa: S506  (safe, both)
    except yaml.YAMLError as error:
        raise CatalogueError(_FILE, f"is not YAML ({error})", "Mend the file") from error
    roles = document["roles"]
    specs = [_spec({**document["defaults"], **topic}, prefix, roles) for topic in document["topics"]]
    by_field = {spec.short.replace("-", "_"): spec for spec in specs}
    if len(by_field) != len(specs) or set(by_field) != set(_TOPIC_FIELDS):
        odd = sorted(set(by_field) ^ set(_TOPIC_FIELDS)) or "a name twice"
        raise CatalogueError(_FILE, f"topics and the Catalogue class differ: {odd}", "State each topic once, in both")
    groups = tuple(_group(group, roles) for group in document["groups"])
    if len({group.name for group in groups}) != len(groups):
        raise CatalogueError(f"{_FILE}, groups", "a name stands twice", "State each group once")
    return Catalogue(prefix=prefix, roles=roles, groups=groups, **by_field)


def _group(group: dict[str, Any], roles: Mapping[str, str]) -> GroupSpec:
    name = str(group.get("name", "?"))

    def wrong(field: str, remedy: str) -> CatalogueError:
        return CatalogueError(f"{_FILE}, group {name}, {field}", f"{group.get(field)!r} is not known", remedy)

    if not re.fullmatch(r"[a-z-]+", name):
        raise wrong("name", "Write words with dashes")
    for field in ("members", "watchers"):
        if not group.get(field) or not set(group[field]) <= set(roles):
            raise wrong(field, f"Use some of {', '.join(sorted(roles))}")
    if not group.get("doc"):
        raise wrong("doc", "State it")
    return GroupSpec(
        name=name,
        members=tuple(group["members"]),
        watchers=tuple(group["watchers"]),
        doc=group["doc"],
    )


def _spec(topic: dict[str, Any], prefix: str, roles: Mapping[str, str]) -> TopicSpec:
    records = {record.__name__: record for record in RECORDS} | {"none": None}
    name = str(topic.get("name", "?"))

    def wrong(field: str, remedy: str) -> CatalogueError:
        return CatalogueError(f"{_FILE}, {name}, {field}", f"{topic.get(field)!r} is not known", remedy)

    if not re.fullmatch(r"[a-z-]+\.v[0-9]+", name):
        raise wrong("name", "Write <words-with-dashes>.v<number>")
    if topic.get("record") not in records:
        raise wrong("record", f"Use one of {', '.join(sorted(records))}")
    if topic.get("cleanup") not in _CLEANUPS:
        raise wrong("cleanup", f"Use one of {', '.join(sorted(_CLEANUPS))}")
    if topic.get("timestamps") not in _TIMESTAMPS:
        raise wrong("timestamps", f"Use one of {', '.join(sorted(_TIMESTAMPS))}")
    for field in ("writers", "readers"):
        if not topic.get(field) or not set(topic[field]) <= set(roles):
            raise wrong(field, f"Use some of {', '.join(sorted(roles))}")
    for field in ("key", "owner", "doc", "personal"):
        if not topic.get(field):
            raise wrong(field, "State it")
    for field in ("partitions", "replication", "min_insync", "max_message_bytes"):
        if not isinstance(topic.get(field), int) or topic[field] < 1:
            raise wrong(field, "Write a number from 1")
    return TopicSpec(
        name=prefix + name,
        short=name.rpartition(".")[0],
        key=topic["key"],
        record=records[topic["record"]],
        partitions=topic["partitions"],
        replication=topic["replication"],
        min_insync=topic["min_insync"],
        cleanup=topic["cleanup"],
        retention_ms=_duration(topic, "retention", wrong),
        min_compaction_lag_ms=_duration(topic, "min_compaction_lag", wrong) if "min_compaction_lag" in topic else 0,
        timestamp_type=topic["timestamps"],
        max_message_bytes=topic["max_message_bytes"],
        personal=tuple(topic["personal"]),
        owner=topic["owner"],
        writers=tuple(topic["writers"]),
        readers=tuple(topic["readers"]),
        doc=topic["doc"],
    )


def _duration(topic: dict[str, Any], field: str, wrong: Any) -> int:
    if topic.get(field) == "forever":
        return FOREVER_MS
    match = re.fullmatch(r"([1-9][0-9]*) days?", str(topic.get(field)))
    if match is None:
        raise wrong(field, "Write '<number> days' or 'forever'")
    return int(match[1]) * DAY_MS
