"""Topics on a broker, held against the catalogue.

For: ``peaktime topics ensure``: gather what the broker has, decide what is missing or different, create what is
missing. Must not: change or delete a topic that is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from time import monotonic, sleep
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from peaktime.errors import BrokerError
from peaktime.kafka import Trouble, unauthorized
from schemas.catalogue import Catalogue, TopicSpec

_TIMEOUT_SECONDS = 15.0
_LOOK_AGAIN_SECONDS = 0.2
#: With fewer brokers, a second copy that must be there would make one stopped broker stop all writing.
_BROKERS_FOR_MIN_INSYNC = 3
MIN_INSYNC = "min.insync.replicas"
#: What a broker says that does not know the question; the embedded one knows few.
_UNSUPPORTED = frozenset(
    {KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION},  # noqa: SLF001  (its only name)
)


@dataclass(frozen=True, slots=True)
class ObservedTopic:
    """A topic as the broker has it; ``configs`` are the values in effect, None if this user is not told."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class ObservedBroker:
    """The brokers and those topics of the catalogue that are there."""

    brokers: int
    topics: Mapping[str, ObservedTopic]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing about a topic that is not as the catalogue says."""

    topic: str
    what: str
    wanted: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.found}, the catalogue says {self.wanted}. {self.remedy}"


@dataclass(frozen=True, slots=True)
class NewTopicPlan:
    """A topic to create."""

    spec: TopicSpec
    replication: int
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicsPlan:
    """What is to be created, and what is different and left alone."""

    create: tuple[NewTopicPlan, ...]
    differences: tuple[Difference, ...]
    same: tuple[str, ...]


def decide(catalogue: Catalogue, observed: ObservedBroker, replication: int | None = None) -> TopicsPlan:
    """Compare the catalogue with a broker. Pure.

    Args:
        catalogue: what should be.
        observed: what is.
        replication: copies of each topic; the catalogue's, or as many as there are brokers, if unset.
    """
    create, differences, same = [], [], []
    for spec in catalogue:
        copies = replication if replication is not None else min(spec.replication, observed.brokers)
        configs = spec.configs()
        if observed.brokers >= _BROKERS_FOR_MIN_INSYNC:
            configs[MIN_INSYNC] = str(min(spec.min_insync, copies))
        found = observed.topics.get(spec.name)
        if found is None:
            create.append(NewTopicPlan(spec, copies, configs))
            continue
        odd = _differences(spec, copies, configs, found)
        differences += odd
        if not odd:
            same.append(spec.name)
    return TopicsPlan(tuple(create), tuple(differences), tuple(same))


def _differences(spec: TopicSpec, copies: int, configs: Mapping[str, str], found: ObservedTopic) -> list[Difference]:
    odd = []
    if found.partitions != spec.partitions:
        remedy = "Partition counts are fixed for life: grow by a v2 topic, or keep what is there"
        odd.append(Difference(spec.name, "partitions", str(spec.partitions), str(found.partitions), remedy))
    if found.replication < copies:
        remedy = "Add copies with kafka-reassign-partitions"
        odd.append(Difference(spec.name, "replication", str(copies), str(found.replication), remedy))
    if found.configs is None:
        return odd
    for name, wanted in configs.items():
        value = found.configs.get(name, "?")
        if _normal(value) != _normal(wanted):
            remedy = (
                f"kafka-configs --alter --entity-type topics --entity-name {spec.name} --add-config {name}=[{wanted}]"
            )
            odd.append(Difference(spec.name, name, wanted, value, remedy))
    return odd


def _normal(value: str) -> str:
    return ",".join(sorted(part.strip() for part in value.split(",")))


def observe(
    client: AdminClient,
    catalogue: Catalogue,
    trouble: Trouble | None = None,
    *,
    timeout: float | None = None,
    content: bool = False,
) -> ObservedBroker:
    """Gather what the broker has.

    Args:
        client: asks the broker.
        catalogue: which topics are looked at.
        trouble: what the client complains to.
        timeout: seconds that one question may take; 15 if None.
        content: be content with what this user is told: of other topics ``configs`` is None, and no error.

    Raises:
        BrokerError: Kafka cannot be reached or refuses.
    """
    wanted = {spec.name for spec in catalogue}
    patience = _TIMEOUT_SECONDS if timeout is None else timeout
    try:
        metadata = client.list_topics(timeout=patience)
        there = {name: topic for name, topic in metadata.topics.items() if name in wanted and topic.error is None}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in there]
        asked = client.describe_configs(resources, request_timeout=patience) if resources else {}
        configs = {resource.name: _configs(future, patience, content=content) for resource, future in asked.items()}
    except KafkaException as error:
        raise _explained(error, "topics", client, trouble) from error
    except TimeoutError as error:
        raise _silent("topics") from error
    topics = {
        name: ObservedTopic(
            name,
            len(topic.partitions),
            min((len(partition.replicas) for partition in topic.partitions.values()), default=0),
            configs[name],
        )
        for name, topic in there.items()
    }
    return ObservedBroker(len(metadata.brokers), topics)


def _configs(asked: Future[Any], timeout: float, *, content: bool) -> dict[str, str] | None:
    try:
        return {entry.name: str(entry.value) for entry in asked.result(timeout).values()}
    except KafkaException as error:
        if content and (unauthorized(error.args[0]) or error.args[0].code() in _UNSUPPORTED):
            return None
        raise


def create(client: AdminClient, plans: Iterable[NewTopicPlan]) -> list[str]:
    """Create topics, and return the names of those that were. One that somebody else created meanwhile is fine.

    Raises:
        BrokerError: naming the topic that could not be created.
    """
    new = [
        NewTopic(
            plan.spec.name,
            num_partitions=plan.spec.partitions,
            replication_factor=plan.replication,
            config=dict(plan.configs),
        )
        for plan in plans
    ]
    if not new:
        return []
    asked: dict[str, Future[None]] = client.create_topics(new, operation_timeout=_TIMEOUT_SECONDS)
    created = []
    for name, future in asked.items():
        try:
            future.result(2 * _TIMEOUT_SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise _explained(error, f"topic {name}", client) from error
        except TimeoutError as error:
            raise _silent(f"topic {name}") from error
        else:
            created.append(name)
    return created


def _silent(thing: str) -> BrokerError:
    reason = "Kafka does not answer what was asked of it; the embedded broker answers nobody who manages topics"
    return BrokerError(thing, reason, "Check that Kafka is up, and ask again")


def ensure_topics(
    options: Mapping[str, Any],
    catalogue: Catalogue,
    replication: int | None = None,
) -> tuple[TopicsPlan, list[str]]:
    """Create what the catalogue says and is not there.

    Args:
        options: ``Settings.confluent_options()``.
        catalogue: what should be.
        replication: copies of each topic; the catalogue's, or as many as there are brokers, if unset.

    Returns:
        What is the same and what is different, and the names of the topics that were created.

    Raises:
        BrokerError: Kafka cannot be reached or refuses.
    """
    trouble = Trouble()
    client = admin_client(options, trouble)
    plan = decide(catalogue, observe(client, catalogue, trouble), replication)
    created = create(client, plan.create)
    if len(created) < len(plan.create):
        # Others were there after all: a broker tells of a topic a moment after it made it. They are looked at, too.
        plan = decide(catalogue, _observe_all(client, catalogue), replication)
        plan = replace(plan, same=tuple(name for name in plan.same if name not in created))
    return plan, created


def _observe_all(client: AdminClient, catalogue: Catalogue) -> ObservedBroker:
    deadline = monotonic() + _TIMEOUT_SECONDS
    while True:
        observed = observe(client, catalogue)
        missing = sorted({spec.name for spec in catalogue} - set(observed.topics))
        if not missing:
            return observed
        if monotonic() > deadline:
            remedy = "Run it again; if it stays, look at the broker's log"
            raise BrokerError(f"Kafka, topics {', '.join(missing)}", "exist and are not shown by the broker", remedy)
        sleep(_LOOK_AGAIN_SECONDS)


def admin_client(options: Mapping[str, Any], trouble: Trouble) -> AdminClient:
    """A client for administration, which says what it suffers from to ``trouble`` and logs nothing."""
    return AdminClient({**options, "log_level": 0, "client.id": "peaktime-topics", "error_cb": trouble})


def _explained(error: KafkaException, thing: str, client: AdminClient, trouble: Trouble | None = None) -> BrokerError:
    cause: KafkaError = error.args[0]
    remedy = "Check PEAKTIME_KAFKA_BOOTSTRAP and PEAKTIME_KAFKA_SECURITY_PROTOCOL, and that Kafka is up"
    reason, remedy = (trouble or Trouble()).explain(error, remedy, client)
    if unauthorized(cause):
        remedy = "Use a Kafka user that may create and describe topics"
    elif cause.code() == KafkaError.INVALID_REPLICATION_FACTOR:
        remedy = "Give --replication no more than there are brokers"
    return BrokerError(f"Kafka, {thing}", reason, remedy)
