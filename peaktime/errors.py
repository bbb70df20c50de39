"""Every error that peaktime raises on purpose.

For: one tree, so that callers catch what they mean and people read what to do next. Must not: log, exit, or know who
catches it.

    PeaktimeError
    ├── SettingsError            an environment variable or option is wrong
    ├── ProfilesError            profiles.yaml is wrong
    ├── CalendarsError           calendars.yaml is wrong
    ├── CatalogueError           schemas/topics.yaml or an .avsc file is wrong
    ├── DecodeError              bytes are not a record (``code`` says how)
    ├── SchemaUnavailableError   the schema registry is away: wait, the record is not at fault
    ├── SchemaRefusedError       the schema registry answered, and said no
    ├── PublishError             a record could not be written durably
    ├── RequestError             a request of PA or of the command line is wrong (``reasons`` says all that is)
    ├── FeedError                a holiday feed cannot be read or believed
    ├── ClusterError             the cluster cannot be read or written
    └── BrokerError              Kafka cannot be reached or refuses
"""

from __future__ import annotations

from collections.abc import Sequence


class PeaktimeError(Exception):
    """What is wrong, why, and what to do next, each in plain words.

    Attributes:
        thing: what it is about: a file and path, a topic, a setting.
        reason: why, without a full stop.
        remedy: what to do next; empty only if there is nothing that the reader could do.
    """

    def __init__(self, thing: str, reason: str, remedy: str = "") -> None:
        super().__init__(thing, reason, remedy)
        self.thing = thing
        self.reason = reason.rstrip(". ")
        self.remedy = remedy

    def __str__(self) -> str:
        """``thing: reason. remedy``, on one line."""
        text = f"{self.thing}: {self.reason}. {self.remedy}" if self.remedy else f"{self.thing}: {self.reason}"
        return " ".join(text.split())


class SettingsError(PeaktimeError):
    """A setting is missing or wrong."""


class ProfilesError(PeaktimeError):
    """The profiles file is missing or wrong."""


class CalendarsError(PeaktimeError):
    """The calendars file is missing or wrong."""


class CatalogueError(PeaktimeError):
    """The topic catalogue or a schema file is wrong."""


class DecodeError(PeaktimeError):
    """The bytes are not a record that can be read.

    Attributes:
        code: ``empty``, ``magic``, ``unknown-schema``, ``truncated``, ``invalid`` or ``too-large``.
    """

    def __init__(self, thing: str, reason: str, remedy: str = "", *, code: str = "invalid") -> None:
        super().__init__(thing, reason, remedy)
        self.code = code


class SchemaUnavailableError(PeaktimeError):
    """The schema registry cannot be asked now. Whoever reads waits: it is not the record's fault."""


class SchemaRefusedError(PeaktimeError):
    """The schema registry answered, and refused."""


class PublishError(PeaktimeError):
    """A record is not known to be on the log. Sending it again under the same id is safe."""


class RequestError(PeaktimeError):
    """A request is wrong.

    Attributes:
        reasons: everything that is wrong with it, in words that a marketer understands.
    """

    def __init__(self, thing: str, reasons: str | Sequence[str], remedy: str = "") -> None:
        self.reasons = (reasons,) if isinstance(reasons, str) else tuple(reasons)
        super().__init__(thing, "; ".join(reason.rstrip(". ") for reason in self.reasons), remedy)


class FeedError(PeaktimeError):
    """A holiday feed cannot be read, or says what cannot be believed."""


class ClusterError(PeaktimeError):
    """The cluster cannot be read or written."""


class BrokerError(PeaktimeError):
    """Kafka cannot be reached, or refuses."""
