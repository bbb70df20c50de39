"""Rights on a broker, held against the catalogue.

For: ``peaktime topics ensure --acls`` and ``peaktime topics acls``: work out who may do what, gather what the broker
has, create what is missing. Must not: remove a right, even one that the catalogue does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)

from peaktime.errors import BrokerError, SettingsError
from peaktime.kafka import Trouble, unauthorized
from producers.topics import admin_client
from schemas.catalogue import Catalogue

_TIMEOUT_SECONDS = 15.0
_LOOK_AGAIN_SECONDS = 0.2
_ANYWHERE = "*"
TOPIC, GROUP = "topic", "group"
READ, WRITE, DESCRIBE = "READ", "WRITE", "DESCRIBE"
ALL = "ALL"
ALLOW = "ALLOW"
EVERYBODY = "User:*"
_SHOW = frozenset({READ, WRITE, "DELETE", "ALTER"})
LITERAL, PREFIXED = "LITERAL", "PREFIXED"
_KINDS = {TOPIC: ResourceType.TOPIC, GROUP: ResourceType.GROUP}


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """What a role may do to one topic or group. READ and WRITE each give DESCRIBE as well: Kafka sees to that."""

    role: str
    kind: str
    name: str
    operation: str


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Acl:
    """One ACL as a broker keeps it; without more than a principal, an ALLOW from anywhere for exactly that name."""

    principal: str
    kind: str
    name: str
    operation: str
    pattern: str = LITERAL
    permission: str = ALLOW
    host: str = _ANYWHERE

    def __str__(self) -> str:
        name = f"{self.name}*" if self.pattern == PREFIXED else self.name
        host = "" if self.host == _ANYWHERE else f" from {self.host}"
        return f"{self.principal} {self.permission} {self.operation} on {self.kind} {name}{host}"

    def gives(self, other: Acl) -> bool:
        """Whether this ACL alone allows what another one would: by a prefix, for everybody, or with more rights."""
        return (
            self.permission == ALLOW
            and self.host == _ANYWHERE
            and self.principal in (other.principal, EVERYBODY)
            and self.touches(other.kind, other.name)
            and (self.operation in (other.operation, ALL) or (other.operation == DESCRIBE and self.operation in _SHOW))
        )

    def touches(self, kind: str, name: str) -> bool:
        """Whether it says something about that topic or group."""
        if self.kind != kind:
            return False
        if self.pattern == PREFIXED:
            return name.startswith(self.name)
        return self.name in (name, _ANYWHERE)


@dataclass(frozen=True, slots=True)
class AclsPlan:
    """What is to be created, what is there, and what is there on our topics and groups without the catalogue's word."""

    create: tuple[Acl, ...]
    same: tuple[Acl, ...]
    unknown: tuple[Acl, ...]


def rights(catalogue: Catalogue, group_prefix: str) -> list[Right]:
    """Every right that the catalogue gives, by role in its order. Pure.

    An idempotent producer needs no right of its own: since Kafka 2.8 the right to write to any topic is enough.
    """
    given = [
        *(Right(role, TOPIC, spec.name, WRITE) for spec in catalogue for role in spec.writers),
        *(Right(role, TOPIC, spec.name, READ) for spec in catalogue for role in spec.readers),
        *(Right(role, GROUP, group_prefix + group.name, READ) for group in catalogue.groups for role in group.members),
        *(
            Right(role, GROUP, group_prefix + group.name, DESCRIBE)
            for group in catalogue.groups
            for role in group.watchers
            if role not in group.members
        ),
    ]
    order = list(catalogue.roles)
    return sorted(given, key=lambda right: order.index(right.role))


def default_principal(role: str) -> str:
    """Who a role is, if nothing else is said."""
    return f"User:peaktime-{role}"


def principals(catalogue: Catalogue, given: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Who each role is.

    Args:
        catalogue: the roles.
        given: ``role=User:name``; a role may come more than once.

    Raises:
        SettingsError: naming what is no such mapping.
    """
    said: dict[str, list[str]] = {}
    for text in given:
        role, equals, principal = text.partition("=")
        kind, colon, name = principal.partition(":")
        if role not in catalogue.roles:
            raise SettingsError("--principal", f"{role!r} is no role", f"Use one of {', '.join(catalogue.roles)}")
        if not (equals and kind and colon and name) or name == _ANYWHERE:
            raise SettingsError("--principal", f"{text!r} names nobody", "Write it as pa=User:name")
        said.setdefault(role, []).append(principal)
    return {role: tuple(said.get(role, [default_principal(role)])) for role in catalogue.roles}


def wanted(given: Iterable[Right], who: Mapping[str, tuple[str, ...]]) -> list[Acl]:
    """The ACLs that give these rights to these principals, each once. Pure."""
    acls = [
        Acl(principal=principal, kind=right.kind, name=right.name, operation=right.operation)
        for right in given
        for principal in who[right.role]
    ]
    return list(dict.fromkeys(acls))


def decide(acls: Iterable[Acl], observed: Iterable[Acl]) -> AclsPlan:
    """Compare wanted ACLs with a broker's. Pure."""
    asked, there = list(acls), set(observed)
    ours = {(acl.kind, acl.name) for acl in asked}
    unknown = [acl for acl in there - set(asked) if any(acl.touches(*resource) for resource in ours)]
    return AclsPlan(
        create=tuple(acl for acl in asked if acl not in there),
        same=tuple(acl for acl in asked if acl in there),
        unknown=tuple(sorted(unknown)),
    )


def ensure_acls(options: Mapping[str, Any], acls: Iterable[Acl]) -> AclsPlan:
    """Create the ACLs that are not there.

    Args:
        options: ``Settings.confluent_options()``.
        acls: what should be there.

    Returns:
        What was created, what was there, and what else touches the same topics and groups.

    Raises:
        BrokerError: Kafka cannot be reached, has no authorizer, or refuses.
    """
    asked = list(acls)
    trouble = Trouble()
    client = admin_client(options, trouble)
    try:
        plan = decide(asked, _observe(client))
        _create(client, plan.create)
        # A broker goes by them a moment after they are made; whoever waits for this command wants to go on at once.
        deadline = monotonic() + _TIMEOUT_SECONDS
        while plan.create and decide(asked, _observe(client)).create and monotonic() < deadline:
            sleep(_LOOK_AGAIN_SECONDS)
    except KafkaException as error:
        raise _explained(error, client, trouble) from error
    return plan


def observe(options: Mapping[str, Any], timeout: float) -> list[Acl] | None:
    """Every ACL on topics and groups; None if the broker has no authorizer, and asks nobody for rights.

    Args:
        options: ``Settings.confluent_options()``.
        timeout: seconds that one question may take.

    Raises:
        BrokerError: Kafka cannot be reached, or does not let this user look.
    """
    trouble = Trouble()
    client = admin_client(options, trouble)
    try:
        return _every(client, timeout)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.SECURITY_DISABLED:
            return None
        raise _explained(error, client, trouble) from error


def _every(client: AdminClient, timeout: float) -> list[Acl] | None:
    found = _observe(client, timeout)
    if found:
        return found
    # The client shows no ACL, and no error either, where there is no authorizer, and where it refuses to show any.
    if not _may_look(client, timeout):
        raise KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED))
    return found if _has_authorizer(client, timeout) else None


def _may_look(client: AdminClient, timeout: float) -> bool:
    asked = client.describe_cluster(include_authorized_operations=True, request_timeout=timeout)
    return AclOperation.DESCRIBE in (asked.result(2 * timeout).authorized_operations or ())


def _has_authorizer(client: AdminClient, timeout: float) -> bool:
    brokers = client.list_topics(timeout=timeout).brokers
    resource = ConfigResource(ResourceType.BROKER, str(next(iter(brokers))))
    try:
        found = client.describe_configs([resource], request_timeout=timeout)[resource].result(2 * timeout)
    except KafkaException as error:
        if unauthorized(error.args[0]):
            return True  # who else would refuse
        raise
    entry = found.get("authorizer.class.name")
    return entry is None or bool(entry.value)


def missing(plan: AclsPlan) -> list[Acl]:
    """What a plan would create, without that which something else on the broker gives already. Pure."""
    there = (*plan.same, *plan.unknown)
    return [acl for acl in plan.create if not any(other.gives(acl) for other in there)]


def _observe(client: AdminClient, timeout: float = _TIMEOUT_SECONDS) -> list[Acl]:
    found = []
    for kind, resource in _KINDS.items():
        everything = AclBindingFilter(
            resource,
            None,
            ResourcePatternType.ANY,
            None,
            None,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        asked = client.describe_acls(everything, request_timeout=timeout)
        found += [
            Acl(
                principal=binding.principal,
                kind=kind,
                name=binding.name,
                operation=binding.operation.name,
                pattern=binding.resource_pattern_type.name,
                permission=binding.permission_type.name,
                host=binding.host,
            )
            for binding in asked.result(2 * timeout)
        ]
    return found


def _create(client: AdminClient, acls: Iterable[Acl]) -> None:
    bindings = [
        AclBinding(
            _KINDS[acl.kind],
            acl.name,
            ResourcePatternType.LITERAL,
            acl.principal,
            acl.host,
            AclOperation[acl.operation],
            AclPermissionType.ALLOW,
        )
        for acl in acls
    ]
    if bindings:
        for done in client.create_acls(bindings, request_timeout=_TIMEOUT_SECONDS).values():
            done.result(2 * _TIMEOUT_SECONDS)


def _explained(error: KafkaException, client: AdminClient, trouble: Trouble) -> BrokerError:
    reason, remedy = trouble.explain(error, "Check PEAKTIME_KAFKA_BOOTSTRAP, and that Kafka is up", client)
    cause = error.args[0]
    if unauthorized(cause):
        remedy = "Use a Kafka user that may describe and alter the cluster, or a super user"
    elif cause.code() == KafkaError.SECURITY_DISABLED:
        remedy = "Set authorizer.class.name on every broker and controller, or leave --acls out"
    return BrokerError("Kafka, ACLs", reason, remedy)
