"""Exports of the log: the same log gives the same bytes, and a manifest says what was exported and proves it later.

Must not: read Kafka, write anywhere but to the folder that is named, or put a time of its own into a file.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from peaktime.errors import DecodeError, PeaktimeError
from processors.replay.findings import Log
from processors.replay.log import Raw, Span
from processors.replay.views import instant
from schemas.codec import REGISTRY_MAGIC, SINGLE_OBJECT_MAGIC, Codec
from schemas.readable import to_json

MANIFEST = "manifest.json"
FORMATS = ("jsonl", "csv")
#: Columns of an exported topic.
TOPIC_COLUMNS = ("topic", "partition", "offset", "time", "key", "headers", "value", "error")
_BLOCK = 1 << 20
#: What a spreadsheet takes for the beginning of a formula, some also in full width.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_REGISTRY_SIZE, _SINGLE_SIZE = 5, 10


class ExportError(PeaktimeError):
    """An export cannot be written, or is not what its manifest says."""


@dataclass(slots=True)
class Seen:
    """What an export covers, for the manifest: log times, the ids of the schemas that wrote it, and where it ends.

    Attributes:
        until: nothing of a later log time counts; None for all. What comes to the log after that changes no export.
    """

    until: datetime | None = None
    first: int | None = None
    last: int | None = None
    schemas: set[str] = field(default_factory=set)
    _ends: dict[tuple[str, int], int] = field(default_factory=dict)

    def take(self, raw: Raw) -> bool:
        """Take a record; whether it counts."""
        if self.until is not None and raw.log_time > self.until:
            place = raw.topic, raw.partition
            self._ends[place] = min(raw.offset, self._ends.get(place, raw.offset))
            return False
        self.first = raw.timestamp if self.first is None else min(self.first, raw.timestamp)
        self.last = raw.timestamp if self.last is None else max(self.last, raw.timestamp)
        schema = schema_id(raw.value)
        if schema is not None:
            self.schemas.add(schema)
        return True

    def end(self, span: Span) -> int:
        """The first offset of a span that does not count."""
        return min(span.end, self._ends.get((span.topic, span.partition), span.end))


class NotedLog:
    """A log that notes whatever is read of it.

    Args:
        log: the log.
        seen: where it is noted.
    """

    def __init__(self, log: Log, seen: Seen) -> None:
        self._log, self._seen = log, seen
        self.partitions, self.spans, self.committed = log.partitions, log.spans, log.committed

    def read(self, spans: Iterable[Span], progress: Callable[[int], None] | None = None) -> Iterator[Raw]:
        """Every record of the spans."""
        for raw in self._log.read(spans, progress):
            self._seen.take(raw)
            yield raw


def schema_id(value: bytes | None) -> str | None:
    """Which schema wrote a value: ``id/7`` of a registry, or ``fingerprint/…``; None if its framing is neither."""
    if value is None:
        return None
    if value[:1] == REGISTRY_MAGIC and len(value) >= _REGISTRY_SIZE:
        return f"id/{struct.unpack_from('>I', value, 1)[0]}"
    if value[:2] == SINGLE_OBJECT_MAGIC and len(value) >= _SINGLE_SIZE:
        return f"fingerprint/{struct.unpack_from('<Q', value, 2)[0]:016x}"
    return None


def topic_row(raw: Raw, record: type[Any] | None, codec: Codec) -> dict[str, Any]:
    """A record of a topic as a row; what cannot be read is kept as base64, with the reason."""
    shown: Any = None
    error = ""
    if raw.value is not None and record is not None:
        try:
            shown = to_json(codec.decode(record, raw.value))
        except DecodeError as broken:
            error = str(broken)
    if raw.value is not None and shown is None:
        shown = {"base64": base64.b64encode(raw.value).decode()}
    return {
        "topic": raw.topic,
        "partition": raw.partition,
        "offset": raw.offset,
        "time": instant(raw.log_time),
        "key": _text(raw.key),
        "headers": [[name, _text(value)] for name, value in raw.headers or ()],
        "value": shown,
        "error": error,
    }


def _text(value: bytes | None) -> str | dict[str, str] | None:
    """Bytes as a text, if they are one; otherwise so that nothing of them is lost."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], shape: str) -> Iterator[bytes]:
    """Rows as the lines of a file.

    Args:
        rows: each with all columns.
        columns: their order.
        shape: ``jsonl`` or ``csv``; in CSV what is no text or number is written as JSON.
    """
    if shape == "jsonl":
        for row in rows:
            yield (_json({name: row[name] for name in columns}) + "\n").encode()
        return
    yield _csv(columns)
    for row in rows:
        yield _csv([row[name] if isinstance(row[name], (str, int)) else _json(row[name]) for name in columns])


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _csv(cells: Sequence[object]) -> bytes:
    out = io.StringIO()
    # A spreadsheet must not take somebody's title for a formula.
    safe = [f"'{cell}" if isinstance(cell, str) and cell[:1] in _FORMULA else cell for cell in cells]
    csv.writer(out, lineterminator="\r\n").writerow(safe)
    return out.getvalue().encode()


def dataclass_rows(rows: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Rows of ``processors.replay.views`` as mappings."""
    return (asdict(row) for row in rows)


def columns_of(row: type[Any]) -> tuple[str, ...]:
    """The columns of such rows."""
    return tuple(f.name for f in fields(row))


def write(
    folder: Path,
    name: str,
    content: Iterable[bytes],
    *,
    what: str,
    spans: Iterable[Span],
    seen: Seen,
    version: str,
    asked: Mapping[str, str] | None = None,
) -> Path:
    """Write one file and the manifest that speaks for it; the folder must be new or empty.

    Args:
        folder: where to.
        name: of the file.
        content: its lines.
        what: is exported, in a word.
        spans: what was read; looked at when the content is written.
        seen: what counts of it.
        version: of the program.
        asked: what else was asked for, by option.

    Returns:
        The manifest's path.

    Raises:
        ExportError: the folder holds something, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ExportError(str(folder), "is not empty", "Name a new folder: an export never overwrites anything")
        digest, size, count = hashlib.sha256(), 0, 0
        with (folder / name).open("wb") as file:
            for line in content:
                digest.update(line)
                size += len(line)
                count += 1
                file.write(line)
        covered = sorted(spans, key=lambda span: (span.topic, span.partition))
        manifest = {
            "what": what,
            "asked": dict(asked or {}),
            "version": version,
            "files": [{"name": name, "sha256": digest.hexdigest(), "bytes": size, "lines": count}],
            "from": instant(_time(seen.first)),
            "to": instant(_time(seen.last)),
            "schemas": sorted(seen.schemas),
            "topics": sorted({span.topic for span in covered}),
            "offsets": {f"{span.topic}/{span.partition}": [span.start, seen.end(span)] for span in covered},
        }
        path = folder / MANIFEST
        path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        raise ExportError(str(folder), error.strerror or str(error), "Name a folder that can be written") from error
    return path


def _time(millis: int | None) -> datetime | None:
    return None if millis is None else Raw("", 0, 0, millis, None, None).log_time


def check(folder: Path) -> list[str]:
    """What of an export is not as its manifest says, one sentence for each file; nothing if all is.

    Raises:
        ExportError: there is no manifest that can be read.
    """
    path = folder / MANIFEST
    try:
        files = json.loads(path.read_text("utf-8"))["files"]
        told = {str(entry["name"]): str(entry["sha256"]) for entry in files}
    except OSError as error:
        raise ExportError(str(path), error.strerror or str(error), "Name the folder of an export") from error
    except (ValueError, LookupError, TypeError) as error:
        raise ExportError(str(path), f"is no manifest ({error})", "Export again") from error
    wrong = []
    for name, expected in sorted(told.items()):
        file = folder / name
        if Path(name).name != name or not file.is_file():
            wrong.append(f"{name}: is not there")
        elif _sha256(file) != expected:
            wrong.append(f"{name}: is not what was exported")
    wrong += [
        f"{extra.name}: was not exported" for extra in sorted(folder.iterdir()) if extra.name not in {*told, MANIFEST}
    ]
    return wrong


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
