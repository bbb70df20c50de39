"""Log lines go to stderr without secrets; metrics are served from a registry of their own."""

import json
import logging
import re
import socket
import urllib.request
from pathlib import Path

import pytest
import structlog
from support.asking import Log, at, scale_out

import peaktime
import processors
import producers
from peaktime.core.outcomes import problem_subject, report_id, run_subject
from peaktime.errors import SettingsError
from peaktime.logs import Throttle, configure, hide_secrets
from peaktime.metrics import Metrics
from peaktime.settings import Settings
from processors.fold.counted import count
from processors.fold.rows import EntryRows, FactRows
from processors.health import Health
from schemas.codec import Codec
from schemas.records import Outcome, OutcomeKind


@pytest.fixture(autouse=True)
def logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_json_lines_from_both_worlds(capsys):
    configure(Settings.load(log_format="json"))
    structlog.get_logger("peaktime.t").info("folded", target="infra", slack_token="hunter2", title="특판")
    logging.getLogger("elsewhere").warning("%s is slow", "disk")
    structlog.get_logger("peaktime.t").debug("unseen")
    out, err = capsys.readouterr()
    assert out == ""
    first, second = (json.loads(line) for line in err.splitlines())
    assert (first["event"], first["target"], first["slack_token"], first["title"]) == (
        "folded",
        "infra",
        "(hidden)",
        "특판",
    )
    assert (second["event"], second["level"]) == ("disk is slow", "warning")
    assert first["timestamp"].endswith("Z")


def test_console_lines(capsys):
    configure(Settings.load(log_level="debug"))
    structlog.get_logger().debug("hello", n=1)
    assert "hello" in capsys.readouterr().err


def test_a_library_says_the_same_once_in_a_while_and_how_often_it_wanted_to():
    now = 0.0
    throttle = Throttle("aiokafka", 10, lambda: now)

    def said(name, text, *arguments):
        record = logging.LogRecord(name, logging.ERROR, "", 0, text, arguments, None)
        return record.getMessage() if throttle.filter(record) else None

    away = ("aiokafka.conn", "Unable to connect to %s")
    assert said(*away, "one") == "Unable to connect to one"
    assert [said(*away, "two"), said(*away, "three")] == [None, None]
    assert said("aiokafka.conn", "something else") == "something else"
    assert said("peaktime.x", "ours") == said("peaktime.x", "ours") == "ours"
    now = 10.0
    assert said(*away, "four") == "Unable to connect to four (and 2 times more before)"
    assert said(*away, "five") is None


def test_a_library_that_is_away_for_long_is_throttled_but_not_when_debugging(capsys):
    for level, lines in (("info", 1), ("debug", 3)):
        configure(Settings.load(log_level=level))
        for _ in range(3):
            logging.getLogger("aiokafka").error("Unable to connect")
        assert capsys.readouterr().err.count("Unable to connect") == lines


@pytest.mark.parametrize("name", ["password", "kafka_password", "Authorization", "serviceKey", "api_key"])
def test_names_that_sound_like_secrets_are_hidden(name):
    assert hide_secrets(None, "info", {name: "x", "event": "e"}) == {name: "(hidden)", "event": "e"}


def test_metrics_are_served_and_stopped():
    metrics = Metrics()
    metrics.verdicts.labels("ACCEPTED").inc()
    port, stop = metrics.serve(0)
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    finally:
        stop()
    assert 'peaktime_verdicts_total{verdict="ACCEPTED"} 1.0' in text


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_a_port_that_somebody_else_has_is_told_by_the_sink(taken):
    with pytest.raises(SettingsError, match=f"127.0.0.1:{taken}.*PEAKTIME_METRICS_PORT"):
        Metrics().serve(taken)


async def test_and_by_the_worker(taken):
    health = Health(Metrics(), [], 10.0)
    with pytest.raises(SettingsError, match=f"127.0.0.1:{taken}.*PEAKTIME_METRICS_PORT"):
        await health.start("127.0.0.1", taken)
    await health.stop()


def test_two_sets_of_metrics_do_not_meet():
    one, other = Metrics(), Metrics()
    one.schema_waits.inc()
    assert other.registry.get_sample_value("peaktime_schema_waits_total") == 0.0


def test_every_metric_is_ours_and_said_what_it_is():
    for family in Metrics().registry.collect():
        assert family.name.startswith("peaktime_")
        assert len(family.documentation) > 10


def test_every_metric_is_measured_somewhere():
    packages = [Path(package.__file__).parent for package in (peaktime, processors, producers)]
    sources = [file for package in packages for file in package.rglob("*.py") if file.name != "metrics.py"]
    code = "\n".join(file.read_text("utf-8") for file in sources)
    measured = set(re.findall(r"metrics\.([a-z_]+)", code))
    assert {name for name in vars(Metrics()) if name != "registry"} <= measured


def test_what_a_worker_holds_is_counted_anew_each_time():
    codec, metrics, log = Codec(), Metrics(), Log()
    entries, facts = EntryRows(codec, "entries"), FactRows(codec, "facts")
    log.append(scale_out("a", 60, 90))
    entries._rows[3] = {"infra": log.entries}
    held = facts.of(3, "infra")
    reported = (
        (run_subject("one-1"), OutcomeKind.SCHEDULED, ""),
        (problem_subject("unknown-profile", "x"), OutcomeKind.PROBLEM_OPENED, "unknown-profile"),
        (problem_subject("hands-off", "y"), OutcomeKind.PROBLEM_OPENED, "hands-off"),
        (problem_subject("hands-off", "y"), OutcomeKind.PROBLEM_CLOSED, "hands-off"),
    )
    for position, (subject, kind, code) in enumerate(reported):
        name = report_id(subject, kind, held.by_subject.get(subject))
        outcome = Outcome(outcome_id=name, kind=kind, target="infra", subject=subject, code=code, at=at(0))
        held.fold(outcome, position, at(0))
    count(entries, facts, metrics)

    def shown(name, **labels):
        return metrics.registry.get_sample_value(name, labels)

    assert shown("peaktime_table_rows", table="entries") == 1
    assert shown("peaktime_table_rows", table="facts") == 3
    assert shown("peaktime_scheduled_runs") == 1
    assert shown("peaktime_problems_open", code="unknown-profile") == 1
    assert shown("peaktime_problems_open", code="hands-off") == 0
    facts.clear()
    count(entries, facts, metrics)
    assert shown("peaktime_problems_open", code="unknown-profile") is None
    assert shown("peaktime_scheduled_runs") == 0
