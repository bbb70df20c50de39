"""What several commands build from the settings: registry, codec, publisher.

For: the commands, which are composition roots. Must not: be imported by anything else, or build anything by itself.
"""

from __future__ import annotations

from peaktime.settings import Settings
from producers.publish import Publisher
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.registry import SchemaRegistry


def open_registry(settings: Settings) -> SchemaRegistry | None:
    """The schema registry of the settings; None if there is none."""
    if settings.schema_registry_url is None:
        return None
    password = settings.schema_registry_password
    return SchemaRegistry(
        settings.schema_registry_url,
        username=settings.schema_registry_username,
        password=password.get_secret_value() if password is not None else None,
        ca_file=settings.schema_registry_ca_file,
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
