"""A folder of PA bodies, for people who want to see what their own events would lead to.

For: reading files into (endpoint, body) pairs in the order of their names. Must not: judge the bodies
(``producers.pa.mapping`` does) or let one bad file hide the others.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from peaktime.core.capacity import Profiles
from peaktime.errors import RequestError
from producers.pa.mapping import Endpoint, parse_endpoint, unknown

#: What a body without an endpoint and without a telling file name is sent to.
DEFAULT_ENDPOINT = "create-infra-common-common"
#: What a name stands for that tells only what is wanted: ``02-delete.json`` must not scale out.
_BY_VERB = {"delete": "delete-infra-common-common", "event-delete": "event-delete-infra"}

_TODAY = re.compile(r"\$\{today(?:([+-])(\d{1,4}))?\}", re.ASCII)
_LEADING_NUMBER = re.compile(r"^\d+[-_. ]*", re.ASCII)
_VERB = re.compile(r"(create|delete|event-delete)(?:-|$)")
_BETWEEN_WORDS = re.compile(r"[_. ]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderItem:
    """One body of a folder.

    Attributes:
        file: the file's name; ``name[2]`` for the second body of a file with several.
        endpoint: what it is sent to; None if ``error`` says why there is nothing to send.
        body: the parsed JSON, with ``${today+N}`` filled in.
        note: what was assumed about it; empty if nothing.
        error: why it cannot be sent; empty if it can.
    """

    file: str
    endpoint: Endpoint | None = None
    body: Any = None
    note: str = ""
    error: str = ""


def read_folder(path: Path, today: date, *, profiles: Profiles | None = None) -> list[FolderItem]:
    """The bodies of the ``*.json`` files in a folder (or of one file), in the order of their names.

    A body's endpoint is its own ``endpoint``; else what the file name says, without a leading number and any ending
    that is no part of an endpoint (``07-create-infra-mon-night-retry.json``), in any case and with ``_`` for ``-``;
    else, with a note, the one that goes with the name's first word (``02-delete.json``), or `DEFAULT_ENDPOINT`.
    Hidden files are left alone.

    Args:
        path: the folder, or a single file.
        today: the local date that ``${today}``, ``${today+5}`` and ``${today-1}`` in texts count from.
        profiles: if given, tell where the endpoint ends in a file name and the ending begins.

    Raises:
        RequestError: there is no such folder, or no JSON file in it.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if _is_body(file))
    else:
        files = [path] if path.is_file() else []
    if not files:
        raise RequestError(str(path), "has no PA body in it", "Name a folder with *.json files")
    return [item for file in files for item in _read_file(file, today, profiles)]


def _is_body(file: Path) -> bool:
    """Whether it is one of the folder's bodies; a hidden one is what a system keeps beside it (``._01.json``)."""
    return file.suffix.lower() == ".json" and not file.name.startswith(".") and file.is_file()


def _read_file(file: Path, today: date, profiles: Profiles | None) -> list[FolderItem]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
        content = _filled(content, today)
    except OSError as error:
        return [FolderItem(file=file.name, error=f"cannot be read: {error.strerror}")]
    except json.JSONDecodeError as error:
        return [FolderItem(file=file.name, error=f"is not JSON: line {error.lineno}: {error.msg}")]
    except UnicodeDecodeError:
        return [FolderItem(file=file.name, error="is not UTF-8 text")]
    except RecursionError:
        return [FolderItem(file=file.name, error="is nested deeper than any event")]
    except (ValueError, OverflowError) as error:
        return [FolderItem(file=file.name, error=f"cannot be understood: {error}")]
    if not isinstance(content, list):
        return [_item(file.name, file.stem, content, profiles)]
    if not content:
        return [FolderItem(file=file.name, error="is an empty list")]
    return [_item(f"{file.name}[{n}]", file.stem, body, profiles) for n, body in enumerate(content, start=1)]


def _item(name: str, stem: str, body: object, profiles: Profiles | None) -> FolderItem:
    stated = body.get("endpoint") if isinstance(body, dict) else None
    if stated is not None:
        try:
            return FolderItem(file=name, endpoint=parse_endpoint(str(stated)), body=body)
        except RequestError as error:
            return FolderItem(file=name, body=body, error=str(error))
    name_of_it = _LEADING_NUMBER.sub("", _BETWEEN_WORDS.sub("-", stem).lower())
    verb = _VERB.match(name_of_it)
    endpoint = _from_file_name(name_of_it, profiles) if verb else None
    if endpoint is not None:
        return FolderItem(file=name, endpoint=endpoint, body=body)
    assumed = _BY_VERB.get(verb[1], DEFAULT_ENDPOINT) if verb else DEFAULT_ENDPOINT
    note = f"names no endpoint, so it is taken as {assumed}"
    return FolderItem(file=name, endpoint=parse_endpoint(assumed), body=body, note=note)


def _from_file_name(name: str, profiles: Profiles | None) -> Endpoint | None:
    """The endpoint that a file name begins with: the longest known one, else the longest of the right form."""
    parts = name.split("-")
    possible = []
    for count in range(len(parts), 0, -1):
        try:
            possible.append(parse_endpoint("-".join(parts[:count])))
        except RequestError:
            continue
    known = (e for e in possible if profiles is not None and unknown(e, profiles) is None)
    return next(known, possible[0] if possible else None)


def _filled(value: Any, today: date) -> Any:
    if isinstance(value, str):
        return _TODAY.sub(lambda found: _day(found, today), value)
    if isinstance(value, list):
        return [_filled(inner, today) for inner in value]
    if isinstance(value, dict):
        return {key: _filled(inner, today) for key, inner in value.items()}
    return value


def _day(found: re.Match[str], today: date) -> str:
    days = int(found[2] or 0)
    return (today + timedelta(days=-days if found[1] == "-" else days)).isoformat()
