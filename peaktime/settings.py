"""The settings of every process, from ``PEAKTIME_*`` environment variables.

For: one typed, frozen object that the composition roots hand down. Must not: be read anywhere else, open anything but
the certificate that TLS trusts, or show a secret. This is the only module that looks at the environment.
"""

from __future__ import annotations

import difflib
import os
import ssl
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from peaktime.errors import SettingsError

ENV_PREFIX = "PEAKTIME_"
_HIDDEN = "(hidden)"
#: As far ahead as anything may be asked for (s): no time before or after an event that is longer means anything.
_YEAR = 365 * 86400

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]


class Settings(BaseSettings):
    """Everything that can be set. Each field ``name`` is the variable ``PEAKTIME_<NAME>``; durations are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    kafka_bootstrap: str = Field("127.0.0.1:9092", min_length=1, description="Kafka's host:port, comma-separated")
    kafka_security_protocol: SecurityProtocol = Field("PLAINTEXT", description="how Kafka is spoken to")
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None,
        description="how one logs in to Kafka; SCRAM-SHA-512 if SASL is used and nothing is said",
    )
    kafka_username: str | None = Field(None, description="Kafka user")
    kafka_password: SecretStr | None = Field(None, description="Kafka password")
    kafka_ca_file: Path | None = Field(None, description="certificate authority of Kafka's TLS; the system's if unset")

    topic_prefix: str = Field("peaktime.", pattern=r"^[a-zA-Z0-9._-]*$", description="prefix of every topic")
    group_prefix: str = Field("peaktime-", description="prefix of every consumer group")
    worker_id: str | None = Field(None, description="name of this worker, for static group membership")
    session_timeout: float = Field(10.0, ge=1, le=300, description="silence after which a worker is given up (s)")
    heartbeat_interval: float | None = Field(None, gt=0, description="sign of life (s); session / 5 if unset")
    commit_interval: float = Field(1.0, gt=0, description="how often positions are committed (s)")
    grace: float = Field(
        60.0, ge=0, le=_YEAR, description="how long capacity may differ before an owed run is started (s)"
    )
    resync_interval: float = Field(60.0, gt=0, description="how often every target is looked at, whatever happens (s)")
    embedded: bool = Field(default=False, description="tuned for the embedded broker of the sandbox")

    zone: str = Field("Asia/Seoul", description="zone of dates, weekdays and cron fields")
    profiles: Path | None = Field(None, description="profiles file; the sample of the package if unset")
    calendars: Path | None = Field(None, description="calendars file; the sample of the package if unset")

    ready_before: float = Field(
        30.0, ge=0, le=_YEAR / 60, description="minutes before a firing at which all it needs must be there"
    )
    remind_before: float = Field(
        60.0, ge=0, le=_YEAR / 60, description="minutes before an event at which people are reminded; 0: never"
    )
    digest_at: str = Field(
        "18:00",
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^never$",
        description="time of day at which the coming days are told, or never",
    )
    digest_days: int = Field(7, ge=1, le=60, description="how many days that are")

    cluster: str = Field("kubernetes", description="kubernetes, or directory:<path> for a folder of manifests")
    namespace: str = Field("peaktime", min_length=1, max_length=63, description="namespace of the CronWorkflows")
    kubeconfig: Path | None = Field(None, description="kubeconfig file; in-cluster, else the default one, if unset")
    kubernetes_qps: float = Field(200.0, gt=0, description="writes a second to the API server")
    kubernetes_burst: int = Field(400, ge=1, description="writes at once above that rate")
    kubernetes_in_flight: int = Field(32, ge=1, description="writes at the same time")

    schema_registry_url: str | None = Field(None, pattern=r"^https?://", description="schema registry; none if unset")
    schema_registry_username: str | None = Field(None, description="its user")
    schema_registry_password: SecretStr | None = Field(None, description="its password")
    schema_registry_ca_file: Path | None = Field(None, description="certificate authority of its TLS")

    slack: Literal["console", "web"] = Field("console", description="where messages go")
    slack_token: SecretStr | None = Field(None, description="bot token, for web")
    slack_channel: str = Field("#peaktime", min_length=1, description="channel of the messages")
    slack_url: str = Field("https://slack.com/api/", pattern=r"^https?://", description="base of Slack's Web API")

    data_go_kr_key: SecretStr | None = Field(None, description="service key of Korea's special-day API")

    gateway_host: str = Field("127.0.0.1", description="address that the gateway listens on")
    gateway_port: int = Field(8080, ge=0, le=65535, description="its port; 0 takes a free one")
    publish_timeout: float = Field(10.0, gt=0, description="how long a sender waits for Kafka (s)")
    metrics_host: str = Field("127.0.0.1", description="address that the metrics are served on")
    metrics_port: int | None = Field(None, ge=0, le=65535, description="their port; not served if unset")
    log_format: Literal["console", "json"] = Field("console", description="how log lines look")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    debug: bool = Field(default=False, description="show tracebacks of errors on the command line")

    clock_file: Path | None = Field(None, description="sandbox only: a file that holds the time")
    failpoints: str = Field("", description="tests only: places at which a worker fails on purpose")
    link_template: str = Field("", description="link to a run, with {namespace} and {workflow}")

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError(f"{zone!r} is no time zone") from error
        return zone

    @field_validator("cluster")
    @classmethod
    def _cluster_is_known(cls, cluster: str) -> str:
        kind, _, path = cluster.partition(":")
        if cluster != "kubernetes" and not (kind == "directory" and path):
            raise ValueError("must be 'kubernetes' or 'directory:<path>'")
        return cluster

    @field_validator("link_template")
    @classmethod
    def _link_can_be_filled(cls, template: str) -> str:
        try:
            filled = template.format(namespace="n", workflow="w")
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise ValueError("may name {namespace} and {workflow} only") from error
        if "{" in filled or "}" in filled:
            raise ValueError("may name {namespace} and {workflow} only, each in single braces")
        return template

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.kafka_security_protocol.startswith("SASL") and not (self.kafka_username and self.kafka_password):
            kafka = f"{ENV_PREFIX}KAFKA_"
            needed = f"{kafka}USERNAME and {kafka}PASSWORD"
            raise ValueError(f"{kafka}SECURITY_PROTOCOL asks for SASL, so {needed} are needed")
        if self.heartbeat >= self.session_timeout / 2:
            raise ValueError(f"{ENV_PREFIX}HEARTBEAT_INTERVAL must be under half of {ENV_PREFIX}SESSION_TIMEOUT")
        return self

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """The settings of this process.

        Args:
            overrides: field values that win over the environment; None means: not overridden.

        Raises:
            SettingsError: naming every variable that is wrong, without its value.
        """
        try:
            return cls(**{name: value for name, value in overrides.items() if value is not None})
        except ValidationError as error:
            raise _explained(error) from None

    @property
    def heartbeat(self) -> float:
        """Seconds between signs of life to Kafka."""
        return self.heartbeat_interval if self.heartbeat_interval is not None else self.session_timeout / 5

    @property
    def tz(self) -> ZoneInfo:
        """The zone of dates, weekdays and cron fields."""
        return ZoneInfo(self.zone)

    def group(self, name: str) -> str:
        """The consumer group id of a part, e.g. ``fold`` → ``peaktime-fold``."""
        return f"{self.group_prefix}{name}"

    def confluent_options(self) -> dict[str, str]:
        """The connection of every confluent-kafka client: bootstrap servers and security. It holds the password.

        Raises:
            SettingsError: the file of Kafka's certificate authority cannot be used.
        """
        options = {"bootstrap.servers": self.kafka_bootstrap, "security.protocol": self.kafka_security_protocol}
        if self.kafka_security_protocol.startswith("SASL"):
            options["sasl.mechanism"] = self.sasl_mechanism
            options["sasl.username"] = self.kafka_username or ""
            options["sasl.password"] = self.kafka_password.get_secret_value() if self.kafka_password else ""
        if self.kafka_ca_file is not None and self.kafka_tls() is not None:
            options["ssl.ca.location"] = str(self.kafka_ca_file)
        return options

    def kafka_tls(self) -> ssl.SSLContext | None:
        """What TLS with Kafka trusts, host names checked; None if TLS is not asked for.

        Raises:
            SettingsError: the file of Kafka's certificate authority cannot be used.
        """
        if not self.kafka_security_protocol.endswith("SSL"):
            return None
        try:
            return ssl.create_default_context(cafile=self.kafka_ca_file)
        except OSError as error:
            raise SettingsError(
                "PEAKTIME_KAFKA_CA_FILE",
                f"{self.kafka_ca_file} cannot be used ({error.strerror or error})",
                "Name a readable file with the certificate of Kafka's authority, as PEM",
            ) from error

    @property
    def sasl_mechanism(self) -> str:
        """How one logs in to Kafka, if SASL is used at all."""
        return self.kafka_sasl_mechanism or "SCRAM-SHA-512"

    def redacted(self) -> dict[str, Any]:
        """Every field and its value in effect; a secret that is set shows as ``(hidden)``, credentials in URLs too."""
        shown: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                value = _HIDDEN
            elif isinstance(value, str) and "://" in value:
                value = _without_credentials(value)
            elif isinstance(value, Path):
                value = str(value)
            shown[name] = value
        shown["heartbeat_interval"] = self.heartbeat
        return shown


def unknown_variables() -> dict[str, str]:
    """The variables of this environment that look like settings and are none, so that nothing reads them.

    Returns:
        Their names, each with the name of the setting that was probably meant, or "" if none is like it; no values.
    """
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    # As pydantic reads them: upper and lower case are the same.
    names = sorted(name for name in os.environ if name.upper().startswith(ENV_PREFIX) and name.upper() not in known)
    return {name: _meant(name.upper().removeprefix(ENV_PREFIX)) for name in names}


def _meant(word: str) -> str:
    names = [name.upper() for name in Settings.model_fields]
    ending = [name for name in names if name.endswith(f"_{word}")]
    found = ending if len(ending) == 1 else difflib.get_close_matches(word, names, n=1, cutoff=0.75)
    return ENV_PREFIX + found[0] if found else ""


def _without_credentials(url: str) -> str:
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    _, at, host = authority.rpartition("@")
    return f"{scheme}://{_HIDDEN}@{host}{slash}{path}" if at else url


def _explained(error: ValidationError) -> SettingsError:
    problems = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        name = ENV_PREFIX + str(problem["loc"][0]).upper() if problem["loc"] else ""
        message = problem["msg"].removeprefix("Value error, ")
        problems.append(f"{name} {message}" if name else message)
    return SettingsError("settings", "; ".join(problems), "Mend or unset it; `peaktime settings` tells what each means")
