"""A client of a schema registry that speaks Confluent's REST API.

For: the codec, which asks it once for each id and keeps the answer for ever, and ``peaktime schemas``. Must not: show
the password, wait without bound, or take "away" for "unknown": the first is nobody's fault and passes.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
import stamina

from peaktime.errors import CatalogueError, SchemaRefusedError, SchemaUnavailableError
from schemas.definitions import compact, inlined, named_types

COMPATIBILITY = "FULL_TRANSITIVE"
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_ATTEMPTS = 3
_WAIT_SECONDS = 0.2
_REMEMBER_UNKNOWN_SECONDS = 5.0
_MAX_REFERENCES = 50
# Error codes that Confluent documents.
_SUBJECT_NOT_FOUND, _VERSION_NOT_FOUND, _SCHEMA_NOT_FOUND = 40401, 40402, 40403
_COMPATIBILITY_NOT_SET = 40408
_NOT_FOUND = frozenset({_SUBJECT_NOT_FOUND, _VERSION_NOT_FOUND, _SCHEMA_NOT_FOUND, _COMPATIBILITY_NOT_SET})


@dataclass(frozen=True, slots=True)
class Registered:
    """A schema under a subject."""

    subject: str
    version: int
    id: int
    schema: str


class _AwayError(Exception):
    """The registry did not give an answer that means anything."""


class SchemaRegistry:
    """Asks a schema registry. Thread-safe.

    Args:
        url: base address.
        username: for basic auth; none if unset.
        password: for basic auth.
        ca_file: certificate authority of its TLS; the system's if unset.
        timeout: seconds for one try.
        attempts: tries before it counts as away.
        transport: stands in for the network, in tests.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        ca_file: Path | None = None,
        timeout: float = 2.0,
        attempts: int = _ATTEMPTS,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        base = httpx.URL(url)
        self._shown = str(base.copy_with(userinfo=b""))
        self._attempts = attempts
        self._clock = clock
        self._client = httpx.Client(
            base_url=base,
            auth=httpx.BasicAuth(username, password or "") if username else None,
            verify=ssl.create_default_context(cafile=ca_file) if ca_file else True,
            timeout=timeout,
            transport=transport,
            headers={"Accept": _CONTENT_TYPE, "Content-Type": _CONTENT_TYPE},
        )
        self._by_id: dict[int, str] = {}
        self._ids: dict[tuple[str, str], int] = {}
        self._unknown: dict[int, float] = {}

    def __repr__(self) -> str:
        return f"SchemaRegistry({self._shown!r})"

    def has(self, schema_id: int) -> bool:
        """Whether ``schema_by_id`` answers at once, without the network."""
        return schema_id in self._by_id or self._is_unknown(schema_id)

    def forget_unknown(self, schema_id: int) -> None:
        """Ask anew about an id that the registry did not know a moment ago: somebody says that it was registered."""
        self._unknown.pop(schema_id, None)

    def schema_by_id(self, schema_id: int) -> str | None:
        """The schema of an id as self-contained JSON, kept for ever; None if the registry knows no such id.

        Raises:
            SchemaUnavailableError: the registry is away.
        """
        if schema_id in self._by_id:
            return self._by_id[schema_id]
        if self._is_unknown(schema_id):
            return None
        answer = self._ask("GET", f"/schemas/ids/{schema_id}")
        if answer is None:
            # Somebody may register it any moment, but a flood of such records must not become a flood of questions.
            self._unknown[schema_id] = self._clock() + _REMEMBER_UNKNOWN_SECONDS
            return None
        self._by_id[schema_id] = schema = self._joined(answer)
        return schema

    def id_of(self, subject: str, schema: str) -> int:
        """The id of a schema under a subject, which is registered if need be; kept for ever.

        Raises:
            SchemaUnavailableError: the registry is away.
            SchemaRefusedError: the registry does not take it.
        """
        known = self._ids.get((subject, schema))
        return known if known is not None else self.register(subject, schema).id

    def register(self, subject: str, schema: str) -> Registered:
        """Make sure that a schema stands under a subject, and that the subject is FULL_TRANSITIVE. Idempotent.

        Raises:
            SchemaUnavailableError: the registry is away.
            SchemaRefusedError: the registry does not take it.
        """
        found = self.lookup(subject, schema)
        if found is None:
            if self.compatibility(subject) != COMPATIBILITY:
                self._ask("PUT", f"/config/{_quoted(subject)}", {"compatibility": COMPATIBILITY})
            answer = self._ask("POST", f"/subjects/{_quoted(subject)}/versions", {"schema": schema})
            found = self.lookup(subject, schema)
            if answer is None or found is None:
                raise self._away(f"took {subject} and then did not know it")
        elif self.compatibility(subject) != COMPATIBILITY:
            self._ask("PUT", f"/config/{_quoted(subject)}", {"compatibility": COMPATIBILITY})
        self._ids[subject, schema] = found.id
        self._by_id.setdefault(found.id, schema)
        return found

    def lookup(self, subject: str, schema: str) -> Registered | None:
        """Where exactly this schema stands under a subject; None if nowhere. Raises SchemaUnavailableError."""
        return _registered(self._ask("POST", f"/subjects/{_quoted(subject)}", {"schema": schema}))

    def latest(self, subject: str) -> Registered | None:
        """The newest schema of a subject; None if it has none. Raises SchemaUnavailableError."""
        return _registered(self._ask("GET", f"/subjects/{_quoted(subject)}/versions/latest"))

    def compatibility(self, subject: str) -> str | None:
        """The subject's own compatibility level; None if it has none. Raises SchemaUnavailableError."""
        answer = self._ask("GET", f"/config/{_quoted(subject)}")
        return None if answer is None else str(answer.get("compatibilityLevel", answer.get("compatibility")))

    def incompatibilities(self, subject: str, schema: str) -> list[str]:
        """What the registry has against a schema, in its own words; empty if nothing, or if the subject is new.

        Raises:
            SchemaUnavailableError: the registry is away.
            SchemaRefusedError: the registry does not understand the schema.
        """
        path = f"/compatibility/subjects/{_quoted(subject)}/versions?verbose=true"
        answer = self._ask("POST", path, {"schema": schema})
        if answer is None or answer.get("is_compatible", False):
            return []
        return [str(message) for message in answer.get("messages") or ["not compatible"]]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _is_unknown(self, schema_id: int) -> bool:
        until = self._unknown.get(schema_id)
        if until is not None and self._clock() >= until:
            self._unknown.pop(schema_id, None)
            return False
        return until is not None

    def _joined(self, answer: dict[str, Any]) -> str:
        """The schema with what it refers to written into it, so that it stands alone."""
        text = str(answer["schema"])
        if not answer.get("references"):
            return text
        found: dict[tuple[str, int], Any] = {}
        self._collect(answer, found)
        try:
            return compact(inlined(json.loads(text), named_types(list(found.values()))))
        except (CatalogueError, LookupError, TypeError, ValueError):
            # Not a schema that makes sense: whoever reads a record with it says so.
            return text

    def _collect(self, answer: dict[str, Any], found: dict[tuple[str, int], Any]) -> None:
        for reference in answer.get("references") or ():
            at = (str(reference["subject"]), int(reference["version"]))
            if at in found or len(found) >= _MAX_REFERENCES:
                continue
            part = self._ask("GET", f"/subjects/{_quoted(at[0])}/versions/{at[1]}")
            if part is None:
                raise self._away(f"refers to {at[0]} version {at[1]} and does not know it")
            found[at] = json.loads(part["schema"])
            self._collect(part, found)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The JSON answer; None for a documented "not found"."""
        try:
            for attempt in stamina.retry_context(
                on=(httpx.TransportError, _AwayError),
                attempts=self._attempts,
                wait_initial=_WAIT_SECONDS,
                wait_max=1.0,
                timeout=None,
            ):
                with attempt:
                    response = self._client.request(method, path, json=body)
                    return self._understood(response)
        except httpx.TransportError as error:
            raise self._away(f"cannot be reached ({type(error).__name__}: {error})") from error
        except _AwayError as error:
            raise self._away(str(error)) from error
        raise AssertionError("retry_context ends by returning or raising")

    def _understood(self, response: httpx.Response) -> dict[str, Any] | None:
        status = response.status_code
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise _AwayError(f"answers {status} without JSON")
        if response.is_success:
            return answer
        code, message = answer.get("error_code"), str(answer.get("message", ""))
        if code in _NOT_FOUND:
            return None
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            remedy = "Check PEAKTIME_SCHEMA_REGISTRY_USERNAME and PEAKTIME_SCHEMA_REGISTRY_PASSWORD"
            raise SchemaUnavailableError(f"schema registry {self._shown}", f"refuses this user ({status})", remedy)
        if status in (httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY):
            remedy = "Run `peaktime schemas check`: it says what to change"
            raise SchemaRefusedError(f"schema registry {self._shown}", f"refuses the schema: {message}", remedy)
        raise _AwayError(f"answers {status}: {message}")

    def _away(self, reason: str) -> SchemaUnavailableError:
        remedy = "Start it, or correct PEAKTIME_SCHEMA_REGISTRY_URL; records wait meanwhile"
        return SchemaUnavailableError(f"schema registry {self._shown}", reason, remedy)


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _registered(answer: dict[str, Any] | None) -> Registered | None:
    if answer is None:
        return None
    return Registered(str(answer["subject"]), int(answer["version"]), int(answer["id"]), str(answer["schema"]))
