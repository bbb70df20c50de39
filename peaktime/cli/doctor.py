"""``peaktime doctor``: everything that peaktime needs, a line each, with what to do.

For: whoever sets peaktime up, or is called because something is wrong. It changes nothing and shows no secret. Must
not: judge; it wires the probes to the settings, and prints.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr

from peaktime import logs
from peaktime.calendars import load_calendars
from peaktime.cli.wiring import open_codec, registry_at
from peaktime.core.profiles import Profiles
from peaktime.errors import BrokerError, CalendarsError, PeaktimeError, ProfilesError
from peaktime.kafka import Trouble
from peaktime.profiles import load_profiles
from peaktime.settings import Settings, unknown_variables
from processors.doctor import judge_kafka, judge_log, judge_settings
from processors.doctor.api import Api
from processors.doctor.broker import BrokerProbes, Group, read_keys, read_rows, refused_rights
from processors.doctor.checks import PATIENCE, Check, in_thread, run
from processors.doctor.cluster import ClusterProbes
from processors.doctor.judge_cluster import namespaces_of
from processors.doctor.judge_settings import FileSeen
from processors.doctor.lines import Line, Status, as_json, count, hidden, ok, summary, warning
from processors.doctor.registry import Dated, look
from producers import acls, topics
from schemas.catalogue import Catalogue, load_catalogue
from schemas.records import Fact

EXIT_WRONG = 2
#: The log is read to its end, however long it takes while it goes on (s).
_READING = 60.0
#: A group that is behind is watched for a while, and its unread records are counted (s).
_GROUPS = 15.0
_KAFKA, _API = "Kafka", "API server"


def command(
    *,
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    principal: Annotated[
        list[str] | None,
        typer.Option(
            "--principal",
            metavar="ROLE=User:NAME",
            help="Who a role is in Kafka; may be repeated. [default: User:peaktime-<role>]",
        ),
    ] = None,
) -> None:
    """Check everything that peaktime needs: settings, Kafka, schema registry, Kubernetes, Argo, clocks, objects.

    Ends with 0 if all is well (there may be warnings), 2 if something is wrong, 1 if it could not look at all.
    """
    settings = Settings.load()
    logs.configure(settings)
    # What it has to say of a kubeconfig file is in a line of ours.
    logging.getLogger("kubernetes").setLevel(logging.ERROR)
    catalogue = load_catalogue(settings.topic_prefix)
    who = acls.principals(catalogue, principal or [])
    lines = hidden(asyncio.run(_look(settings, catalogue, who)), _secrets(settings))
    if as_json_:
        typer.echo(json.dumps(as_json(lines), indent=2, ensure_ascii=False))
    else:
        for line in lines:
            typer.echo(str(line))
        typer.echo(summary(lines))
    if count(lines, Status.WRONG):
        raise typer.Exit(EXIT_WRONG)


async def _look(settings: Settings, catalogue: Catalogue, who: Mapping[str, tuple[str, ...]]) -> list[Line]:
    profiles, files = _files(settings)
    checks = [
        Check(name="settings", look=_already(_settings_lines(settings))),
        Check(
            name="files", look=_already([line for f in files for line in judge_settings.file_lines(f, settings.zone)])
        ),
        *_kafka_checks(settings, catalogue, who),
        _registry_check(settings, catalogue),
    ]
    if settings.cluster != "kubernetes":
        said = f"not checked: the cluster is {settings.cluster}"
        return await run([*checks, Check(name="Kubernetes", look=_already([ok("Kubernetes", said)]))])
    async with Api(settings.kubeconfig, PATIENCE) as api:
        return await run([*checks, *_cluster_checks(settings, catalogue, profiles, api)])


def _already(lines: Sequence[Line]) -> Callable[[], Any]:
    async def told() -> Sequence[Line]:
        return lines

    return told


def _settings_lines(settings: Settings) -> list[Line]:
    for_tests = [f"PEAKTIME_{name.upper()}" for name in ("clock_file", "failpoints") if getattr(settings, name)]
    return judge_settings.settings_lines(
        settings.zone,
        for_tests,
        {name: meant for name, meant in unknown_variables().items() if meant},
        slack=settings.slack,
        has_token=settings.slack_token is not None,
    )


def _files(settings: Settings) -> tuple[Profiles | None, list[FileSeen]]:
    """The profiles, if they can be read, and what there is to say of the files."""
    profiles: Profiles | None = None
    path = str(settings.profiles) if settings.profiles else None
    first = FileSeen(what="profiles", variable="PEAKTIME_PROFILES", path=path)
    try:
        profiles = load_profiles(settings.profiles)
        first = replace(first, count=len(profiles.by_name), zone=profiles.zone)
    except ProfilesError as error:
        first = replace(first, problem=error.reason, remedy=error.remedy)
    path = str(settings.calendars) if settings.calendars else None
    second = FileSeen(what="calendars", variable="PEAKTIME_CALENDARS", path=path)
    try:
        second = replace(second, count=len(load_calendars(settings.calendars).calendars))
    except CalendarsError as error:
        second = replace(second, problem=error.reason, remedy=error.remedy)
    return profiles, [first, second]


def _kafka_checks(settings: Settings, catalogue: Catalogue, who: Mapping[str, tuple[str, ...]]) -> Iterator[Check]:
    states: Callable[[], Mapping[str, str]] = _once(lambda: BrokerProbes(settings.confluent_options()).states())

    async def reach() -> list[Line]:
        return await in_thread(lambda: BrokerProbes(settings.confluent_options()).reach())

    async def looked_at_topics() -> list[Line]:
        return judge_kafka.topics_lines(await in_thread(lambda: _topics(settings, catalogue)))

    async def looked_at_rights() -> list[Line]:
        return await in_thread(lambda: _rights(settings, catalogue, who))

    async def looked_at_group(group: Group) -> list[Line]:
        probes = BrokerProbes(settings.confluent_options())
        return [judge_kafka.group_line(await in_thread(lambda: probes.group(group, states)))]

    async def looked_at_problems() -> list[Line]:
        try:
            return judge_log.problems_lines(await in_thread(lambda: _problems(settings, catalogue)))
        except PeaktimeError as error:
            # What keeps it from looking is another check's to tell.
            return [
                warning("problems", f"not checked: {error.thing}: {error.reason}", "Mend that, then run this again")
            ]

    yield Check(name=_KAFKA, look=reach)
    if settings.embedded:
        said = "not checked: the embedded broker of the sandbox does not tell"
        yield Check(name="topics", look=_already([ok("topics, rights and consumer groups", said)]))
        return
    yield Check(name="topics", look=looked_at_topics, after=_KAFKA, seconds=2 * PATIENCE + 1)
    yield Check(name="rights in Kafka", look=looked_at_rights, after=_KAFKA, seconds=2 * PATIENCE + 1)
    for group in _groups(settings, catalogue):
        look = partial(looked_at_group, group)
        yield Check(name=f"consumer group {group.group}", look=look, after=_KAFKA, seconds=_GROUPS)
    yield Check(name="problems", look=looked_at_problems, after=_KAFKA, seconds=_READING)


def _topics(settings: Settings, catalogue: Catalogue) -> judge_kafka.TopicsSeen:
    options = settings.confluent_options()
    trouble = Trouble()
    client = topics.admin_client(options, trouble)
    observed = topics.observe(client, catalogue, trouble, timeout=PATIENCE, content=True)
    plan = topics.decide(catalogue, observed)
    absent = [new.spec.name for new in plan.create]
    unseen = BrokerProbes(options).unseen(absent)
    return judge_kafka.TopicsSeen(
        partitions={name: topic.partitions for name, topic in observed.topics.items()},
        missing=[name for name in absent if name not in unseen],
        unseen=unseen,
        unread=[name for name, topic in observed.topics.items() if topic.configs is None],
        differences=plan.differences,
    )


def _problems(settings: Settings, catalogue: Catalogue) -> list[Fact]:
    rows = read_rows(settings.confluent_options(), catalogue.facts.name, prefix=judge_log.PROBLEMS)
    if not rows:
        return []
    codec = open_codec(settings)
    return [codec.decode(Fact, value) for value in rows.values()]


def _rights(settings: Settings, catalogue: Catalogue, who: Mapping[str, tuple[str, ...]]) -> list[Line]:
    try:
        observed = acls.observe(settings.confluent_options(), PATIENCE)
    except BrokerError as error:
        if refused_rights(error):
            return judge_kafka.acls_unseen(error.reason)
        raise
    if observed is None:
        return judge_kafka.acls_none()
    plan = acls.decide(acls.wanted(acls.rights(catalogue, settings.group_prefix), who), observed)
    return judge_kafka.acls_lines([*map(str, acls.missing(plan))], [*map(str, plan.unknown)], len(plan.same))


def _groups(settings: Settings, catalogue: Catalogue) -> list[Group]:
    c = catalogue
    reads = {
        "fold": (c.requests, c.outcomes, c.calendars),
        "announce": (c.entries, c.facts, c.calendar_states, c.dead_letters),
        judge_kafka.SINK: (c.notifications,),
    }
    return [Group(name, settings.group(name), tuple(spec.name for spec in specs)) for name, specs in reads.items()]


def _once(ask: Callable[[], Mapping[str, str]]) -> Callable[[], Mapping[str, str]]:
    """The answer to a question that several threads have, asked once."""
    lock = Lock()
    answers: list[Mapping[str, str]] = []

    def answer() -> Mapping[str, str]:
        with lock:
            if not answers:
                answers.append(ask())
            return answers[0]

    return answer


def _registry_check(settings: Settings, catalogue: Catalogue) -> Check:
    name = "schema registry"
    url = settings.schema_registry_url
    if url is None:
        said = "none is set: each record carries the fingerprint of its schema"
        return Check(name=name, look=_already([ok(name, said)]))
    where = str(settings.redacted()["schema_registry_url"])

    def ask() -> list[Line]:
        dated = Dated(settings.schema_registry_ca_file)
        network = {"transport": dated, "timeout": PATIENCE - 1, "attempts": 1}
        return look(where, lambda: registry_at(url, settings, **network), dated, catalogue)

    async def looked() -> list[Line]:
        return await in_thread(ask)

    return Check(name=name, look=looked)


def _cluster_checks(settings: Settings, catalogue: Catalogue, profiles: Profiles | None, api: Api) -> Iterator[Check]:
    namespaces = namespaces_of(profiles, settings.namespace)
    probes = ClusterProbes(api, namespaces, profiles, settings.namespace)

    def read_entries() -> set[str]:
        return read_keys(settings.confluent_options(), catalogue.entries.name)

    yield Check(name=_API, look=probes.server)
    yield Check(name="Argo's kinds", look=probes.kinds, after=_API)
    yield Check(name="rights in Kubernetes", look=probes.rights, after=_API)
    yield Check(name="WorkflowTemplates", look=probes.templates, after=_API)
    yield Check(name="service accounts", look=probes.accounts, after=_API)
    objects = partial(probes.objects, read_entries)
    yield Check(name="CronWorkflows", look=objects, after=_API, seconds=_READING)


def _secrets(settings: Settings) -> list[str]:
    """Every secret that is set, and a password within the registry's address."""
    values = [getattr(settings, name) for name in type(settings).model_fields]
    url = urlsplit(settings.schema_registry_url or "")
    found = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
    return [*found, *([url.password] if url.password else [])]
