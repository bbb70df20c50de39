"""``peaktime topics``: create and check the topics of the catalogue, and the rights on them.

For: whoever sets up or looks after the broker. Must not: change a topic that is there, or take a right away.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from peaktime.cli.tables import show
from peaktime.settings import Settings
from schemas import strimzi
from schemas.catalogue import DAY_MS, FOREVER_MS, Catalogue, load_catalogue

EXIT_DIFFERENT = 2

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Create and check the topics of the catalogue.")

_Principals = Annotated[
    list[str] | None,
    typer.Option(
        "--principal",
        metavar="ROLE=User:NAME",
        help="Who a role is; may be repeated. [default: User:peaktime-<role>]",
    ),
]


@app.command()
def ensure(
    *,
    replication: Annotated[
        int | None,
        typer.Option(min=1, help="Copies of each topic. [default: 3, or as many as there are brokers]"),
    ] = None,
    acls: Annotated[bool, typer.Option("--acls", help="Give each role its rights, too.")] = False,
    principal: _Principals = None,
) -> None:
    """Create the topics that are missing; report, and never change, what is different.

    With --acls the rights that are missing are given as well; those that the catalogue does not know are reported.

    Ends with 0 if all is as the catalogue says, 2 if something that was there is different, 1 if Kafka says no.
    """
    from producers.topics import ensure_topics  # noqa: PLC0415  (imported when it is needed, so that starting stays quick)

    settings = Settings.load()
    catalogue = load_catalogue(settings.topic_prefix)
    plan, created = ensure_topics(settings.confluent_options(), catalogue, replication)
    for name in created:
        typer.echo(f"{name}: created")
    for name in plan.same:
        typer.echo(f"{name}: as it should be")
    for difference in plan.differences:
        typer.echo(str(difference), err=True)
    unknown = _ensure_acls(settings, catalogue, principal or []) if acls else 0
    if plan.differences or unknown:
        raise typer.Exit(EXIT_DIFFERENT)


def _ensure_acls(settings: Settings, catalogue: Catalogue, given: list[str]) -> int:
    """Give the rights that are missing; returns how many there are that the catalogue does not know."""
    from producers import acls  # noqa: PLC0415  (imported when it is needed, so that starting stays quick)

    who = acls.principals(catalogue, given)
    wanted = acls.wanted(acls.rights(catalogue, settings.group_prefix), who)
    plan = acls.ensure_acls(settings.confluent_options(), wanted)
    for acl in plan.create:
        typer.echo(f"{acl}: created")
    typer.echo(f"rights: {len(plan.create)} created, {len(plan.same)} as they should be")
    for acl in plan.unknown:
        remedy = "Left as it is; remove it with kafka-acls --remove if nobody needs it"
        typer.echo(f"{acl}: the catalogue does not know it. {remedy}", err=True)
    return len(plan.unknown)


@app.command(name="acls")
def list_acls(*, principal: _Principals = None) -> None:
    """Show who may do what: every role, its principal, and its rights on topics and consumer groups."""
    from producers import acls  # noqa: PLC0415  (imported when it is needed, so that starting stays quick)

    settings = Settings.load()
    catalogue = load_catalogue(settings.topic_prefix)
    who = acls.principals(catalogue, principal or [])
    table = Table("role", "principal", "operation", "on", "name")
    for right in acls.rights(catalogue, settings.group_prefix):
        for name in who[right.role]:
            table.add_row(right.role, name, right.operation, right.kind, right.name)
    show(table)


@app.command(name="list")
def list_topics() -> None:
    """Show the catalogue: every topic, its key, its record, and who may write and read it."""
    catalogue = load_catalogue(Settings.load().topic_prefix)
    table = Table("topic", "key", "record", "partitions", "kept", "time", "written by", "read by")
    for spec in catalogue:
        table.add_row(
            spec.name,
            spec.key,
            spec.record.__name__ if spec.record else "raw bytes",
            str(spec.partitions),
            kept(spec.cleanup, spec.retention_ms),
            spec.timestamp_type,
            ", ".join(spec.writers),
            ", ".join(spec.readers),
        )
    show(table)


@app.command()
def manifests(
    cluster: Annotated[str, typer.Option(help="Name of the Kafka resource that Strimzi runs.")] = strimzi.CLUSTER,
    namespace: Annotated[
        str | None,
        typer.Option(help="Namespace that the topic operator watches.", show_default="left open"),
    ] = None,
) -> None:
    """Print the catalogue as Strimzi KafkaTopic manifests."""
    catalogue = load_catalogue(Settings.load().topic_prefix)
    command = "peaktime topics manifests"
    if cluster != strimzi.CLUSTER:
        command += f" --cluster {cluster}"
    if namespace is not None:
        command += f" --namespace {namespace}"
    typer.echo(strimzi.render(strimzi.manifests(catalogue, cluster, namespace), command), nl=False)


def kept(cleanup: str, retention_ms: int) -> str:
    """How long records stay, in words."""
    time = "" if retention_ms == FOREVER_MS else f"{retention_ms // DAY_MS} days"
    return ", ".join(part for part in ("compacted" if "compact" in cleanup else "", time) if part)
