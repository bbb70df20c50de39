"""Settings: what the environment says, what is wrong with it, and what must never show."""

import os
from pathlib import Path

import certifi
import pytest
from pydantic import ValidationError

from peaktime.errors import SettingsError
from peaktime.settings import ENV_PREFIX, Settings

SECRETS = {
    "PEAKTIME_KAFKA_PASSWORD": "hunter2-kafka",
    "PEAKTIME_SLACK_TOKEN": "hunter2-slack",
    "PEAKTIME_SCHEMA_REGISTRY_PASSWORD": "hunter2-registry",
    "PEAKTIME_SCHEMA_REGISTRY_URL": "https://user:hunter2-url@registry.example:8081/base",
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in os.environ:
        if name.startswith(ENV_PREFIX):
            monkeypatch.delenv(name)


def test_defaults_work():
    settings = Settings.load()
    assert settings.kafka_bootstrap == "127.0.0.1:9092"
    assert settings.heartbeat == 2.0
    assert settings.group("fold") == "peaktime-fold"
    assert settings.confluent_options() == {"bootstrap.servers": "127.0.0.1:9092", "security.protocol": "PLAINTEXT"}
    assert str(settings.tz) == "Asia/Seoul"


def test_the_environment_is_read_and_overrides_win(monkeypatch):
    monkeypatch.setenv("PEAKTIME_TOPIC_PREFIX", "t.")
    monkeypatch.setenv("PEAKTIME_SESSION_TIMEOUT", "6")
    monkeypatch.setenv("PEAKTIME_PROFILES", "/etc/profiles.yaml")
    monkeypatch.setenv("PEAKTIME_NAMESPACE", "")
    settings = Settings.load(session_timeout=8, zone=None)
    assert (settings.topic_prefix, settings.session_timeout, settings.heartbeat) == ("t.", 8.0, 1.6)
    assert settings.profiles == Path("/etc/profiles.yaml")
    assert settings.namespace == "peaktime"


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Settings.load().zone = "UTC"


def test_sasl_and_tls_become_client_options(monkeypatch):
    monkeypatch.setenv("PEAKTIME_KAFKA_PASSWORD", SECRETS["PEAKTIME_KAFKA_PASSWORD"])
    authority = certifi.where()
    settings = Settings.load(kafka_security_protocol="SASL_SSL", kafka_username="u", kafka_ca_file=authority)
    assert settings.confluent_options() == {
        "bootstrap.servers": "127.0.0.1:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "u",
        "sasl.password": "hunter2-kafka",
        "ssl.ca.location": authority,
    }


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"zone": "Mars/Olympus"}, "PEAKTIME_ZONE"),
        ({"gateway_port": 70000}, "PEAKTIME_GATEWAY_PORT"),
        ({"cluster": "directory:"}, "PEAKTIME_CLUSTER"),
        ({"cluster": "nomad"}, "PEAKTIME_CLUSTER"),
        ({"slack": "pigeon"}, "PEAKTIME_SLACK"),
        ({"link_template": "{host}"}, "PEAKTIME_LINK_TEMPLATE"),
        ({"link_template": "https://argo/{workflow.name}"}, "PEAKTIME_LINK_TEMPLATE"),
        ({"link_template": "https://argo/{workflow[name]}"}, "PEAKTIME_LINK_TEMPLATE"),
        ({"link_template": "https://argo/{{workflow}}"}, "PEAKTIME_LINK_TEMPLATE"),
        ({"grace": 1e12}, "PEAKTIME_GRACE"),
        ({"ready_before": "inf"}, "PEAKTIME_READY_BEFORE"),
        ({"remind_before": 1e12}, "PEAKTIME_REMIND_BEFORE"),
        ({"resync_interval": "inf"}, "PEAKTIME_RESYNC_INTERVAL"),
        ({"kafka_security_protocol": "SASL_SSL"}, "KAFKA_USERNAME"),
        ({"heartbeat_interval": 9}, "HEARTBEAT_INTERVAL"),
        ({"grace": -1}, "PEAKTIME_GRACE"),
    ],
)
def test_what_is_wrong_is_named(overrides, named):
    with pytest.raises(SettingsError) as caught:
        Settings.load(**overrides)
    assert named in str(caught.value)
    assert "peaktime settings" in caught.value.remedy


def test_all_that_is_wrong_is_named_at_once():
    with pytest.raises(SettingsError, match=r"PEAKTIME_ZONE.*PEAKTIME_GRACE|PEAKTIME_GRACE.*PEAKTIME_ZONE"):
        Settings.load(zone="x", grace=-1)


def test_secrets_never_show(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    shown = f"{settings!r} {settings} {settings.redacted()}"
    assert "hunter2-kafka" not in shown
    assert "hunter2-slack" not in shown
    assert "hunter2-registry" not in shown
    assert "hunter2" not in str(settings.redacted())
    assert settings.redacted()["kafka_password"] == "(hidden)"
    assert settings.redacted()["schema_registry_url"] == "https://(hidden)@registry.example:8081/base"


def test_a_wrong_secret_is_not_repeated_in_the_error(monkeypatch):
    monkeypatch.setenv("PEAKTIME_SCHEMA_REGISTRY_URL", "ftp://user:hunter2@registry")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert "hunter2" not in str(caught.value)


def test_every_setting_has_a_meaning():
    assert all(field.description for field in Settings.model_fields.values())
