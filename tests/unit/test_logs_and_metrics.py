"""Log lines go to stderr without secrets; metrics are served from a registry of their own."""

import json
import logging
import socket
import urllib.request

import pytest
import structlog

from peaktime.errors import SettingsError
from peaktime.logs import configure, hide_secrets
from peaktime.metrics import Metrics
from peaktime.settings import Settings
from processors.health import Health


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
