"""What several commands build from the settings: registry, codec, publisher; and how a process that stays begins.

For: the commands, which are composition roots. Must not: be imported by anything else, or build anything by itself.
"""

from __future__ import annotations

from typing import Any

import structlog

from peaktime import logs
from peaktime.settings import Settings, unknown_variables
from producers.publish import Publisher
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.registry import SchemaRegistry

log = structlog.get_logger(__name__)


def begin(settings: Settings) -> None:
    """Log as the settings say, and warn of variables that nobody reads and that look like mistyped settings."""
    logs.configure(settings)
    for name, meant in unknown_variables().items():
        if meant:
            log.warning("a variable is not a setting, so nothing reads it", variable=name, may_mean=meant)


def open_registry(settings: Settings) -> SchemaRegistry | None:
    """The schema registry of the settings; None if there is none."""
    return None if settings.schema_registry_url is None else registry_at(settings.schema_registry_url, settings)


def registry_at(url: str, settings: Settings, **more: Any) -> SchemaRegistry:
    """A schema registry at an address, with the login of the settings; ``more`` goes to its client."""
    password = settings.schema_registry_password
    return SchemaRegistry(
        url,
        username=settings.schema_registry_username,
        password=password.get_secret_value() if password is not None else None,
        ca_file=settings.schema_registry_ca_file,
        **more,
    )


def open_codec(settings: Settings) -> Codec:
    """The codec of the settings."""
    return Codec(open_registry(settings))


def open_publisher(settings: Settings, source: str) -> Publisher:
    """A publisher of the settings; close it.

    Args:
        settings: where Kafka is, and how long one waits for it.
        source: which part writes, for the headers.
    """
    catalogue = load_catalogue(settings.topic_prefix)
    options = settings.confluent_options()
    return Publisher(options, open_codec(settings), catalogue, settings.publish_timeout, source=source)
