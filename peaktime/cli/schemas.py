"""``peaktime schemas``: register, check and release the schemas.

For: whoever changes a record, and CI. Must not: hold a rule of its own; ``schemas.evolution`` has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from peaktime.cli.tables import show
from peaktime.cli.wiring import open_registry
from peaktime.errors import CatalogueError, SettingsError
from peaktime.logs import configure
from peaktime.settings import Settings
from schemas.catalogue import Catalogue, TopicSpec, load_catalogue
from schemas.definitions import (
    released,
    schema_files,
    schema_json,
    self_contained,
    todays_fingerprint,
    version_key,
)
from schemas.evolution import compare, lint
from schemas.registry import SchemaRegistry

EXIT_BROKEN = 1

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Register, check and release the schemas.")


@app.command(name="list")
def list_schemas() -> None:
    """Show every record, its fingerprint, its topics, and the releases that have it."""
    catalogue = load_catalogue(Settings.load().topic_prefix)
    table = Table("record", "fingerprint", "topic", "released in")
    for name in schema_files():
        topics = ", ".join(spec.name for spec in _with_records(catalogue) if _record_name(spec) == name)
        versions = ", ".join(version for version, schemas in released().items() if name in schemas)
        table.add_row(name, f"{todays_fingerprint(name):016x}", topics, versions)
    show(table)


@app.command()
def register() -> None:
    """Register every subject of the catalogue, FULL_TRANSITIVE. Doing it again changes nothing."""
    settings = Settings.load()
    configure(settings)
    with _registry(settings) as registry:
        for spec in _with_records(load_catalogue(settings.topic_prefix)):
            found = registry.register(spec.subject, schema_json(_record_name(spec)))
            typer.echo(f"{spec.subject}: version {found.version}, id {found.id}")


@app.command()
def check() -> None:
    """Hold the working tree against its own rules, every release, and the registry if one is set.

    Ends with 1 if anything must not be as it is; each line names the field, the rule and the remedy.
    """
    settings = Settings.load()
    configure(settings)
    complaints = [*tree_complaints(), *(_registry_complaints(settings) if settings.schema_registry_url else ())]
    for complaint in complaints:
        typer.echo(complaint, err=True)
    if complaints:
        raise typer.Exit(EXIT_BROKEN)
    against = f"{len(released())} releases" + (" and the registry" if settings.schema_registry_url else "")
    typer.echo(f"{len(schema_files())} schemas keep their word to {against}")


@app.command()
def release(
    version: Annotated[str, typer.Argument(help="The version to freeze, e.g. 1.2.0.")],
    into: Annotated[Path | None, typer.Option(help="Folder of releases. [default: schemas/released]")] = None,
) -> None:
    """Freeze today's schemas as a version that every later one must get on with."""
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version):
        raise typer.BadParameter("must be <major>.<minor>.<patch>", param_hint="VERSION")
    complaints = list(tree_complaints())
    if complaints:
        for complaint in complaints:
            typer.echo(complaint, err=True)
        raise typer.Exit(EXIT_BROKEN)
    releases = into or Path(str(files("schemas").joinpath("released")))
    folder = releases / version
    there = sorted((path.name for path in releases.glob("*.*.*") if path.is_dir()), key=version_key)
    if there and version_key(version) <= version_key(there[-1]):
        raise CatalogueError(
            f"release {version}",
            f"is there already, or older than the last, {there[-1]}, in {releases}",
            "Releases never change: take the next",
        )
    folder.mkdir(parents=True)
    for name in schema_files():
        (folder / f"{name}.avsc").write_text(schema_json(name) + "\n", encoding="utf-8")
    typer.echo(f"{version}: {len(schema_files())} schemas in {folder}")


def tree_complaints() -> Iterator[str]:
    """What the working tree breaks: its own rules, and its word to each release."""
    for name in schema_files():
        yield from (f"{finding}" for finding in lint(self_contained(name)))
    for version, schemas in released().items():
        for name, old in schemas.items():
            if name not in schema_files():
                yield f"{name}: the record is gone, and {version} has it. Keep it: year-old records must be readable"
            else:
                yield from (f"{finding} (against {version})" for finding in compare(old, self_contained(name)))


def _registry_complaints(settings: Settings) -> Iterator[str]:
    with _registry(settings) as registry:
        for spec in _with_records(load_catalogue(settings.topic_prefix)):
            schema = schema_json(_record_name(spec))
            refused = registry.incompatibilities(spec.subject, schema)
            yield from (f"{spec.subject}: {reason}. Make the change compatible" for reason in refused)
            if not refused and registry.lookup(spec.subject, schema) is None:
                yield f"{spec.subject}: today's schema is not registered. Run `peaktime schemas register`"


def _registry(settings: Settings) -> SchemaRegistry:
    registry = open_registry(settings)
    if registry is None:
        remedy = "Set it to the registry's address; without one, records carry their schema's fingerprint"
        raise SettingsError("PEAKTIME_SCHEMA_REGISTRY_URL", "is not set", remedy)
    return registry


def _with_records(catalogue: Catalogue) -> list[TopicSpec]:
    return [spec for spec in catalogue if spec.record is not None]


def _record_name(spec: TopicSpec) -> str:
    return spec.record.__name__ if spec.record is not None else ""
