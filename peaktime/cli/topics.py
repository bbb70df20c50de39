"""``peaktime topics``: create and check the topics of the catalogue.

For: whoever sets up or looks after the broker. Must not: change a topic that is there.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from peaktime.cli.tables import show
from peaktime.settings import Settings
from schemas import strimzi
from schemas.catalogue import DAY_MS, FOREVER_MS, load_catalogue

EXIT_DIFFERENT = 2

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Create and check the topics of the catalogue.")


@app.command()
def ensure(
    replication: Annotated[
        int | None,
        typer.Option(min=1, help="Copies of each topic. [default: 3, or as many as there are brokers]"),
    ] = None,
) -> None:
    """Create the topics that are missing; report, and never change, what is different.

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
    if plan.differences:
        raise typer.Exit(EXIT_DIFFERENT)


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
