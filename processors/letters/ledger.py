"""Which dead letters there are, and what became of each.

A letter is known by the place where its record was found, so that one that was put aside twice, because it was
delivered twice, counts once. What became of it stands in the same topic, as a record under the letter's id.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from processors.replay.log import (
    FORWARDED_FROM,
    LETTER_CODE,
    LETTER_MESSAGE,
    LETTER_STAGE,
    Place,
    Raw,
    place_of_letter,
)
from schemas.catalogue import Catalogue
from schemas.headers import (
    CONNECT,
    LETTER_FATE,
    LETTER_REASON,
    REDRIVE_ROUND,
    REDRIVEN_FROM,
    tells_fate,
)

#: A record that still cannot be understood after that many rounds has another cause than bad luck.
MOST_ROUNDS = 3
#: The role of whoever sends letters again; it may write only where the catalogue lets it.
ROLE = "operator"


class State(StrEnum):
    """What became of a letter."""

    OPEN = "open"
    REDRIVEN = "redriven"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What somebody did with a letter.

    Attributes:
        state: redriven or discarded.
        who: who did it, in their own words.
        why: why.
        round: for the how-manieth time it was sent again; 0 if it was discarded.
        to: where it was sent, ``topic/partition/offset``; empty if it was discarded.
        at: when (UTC); when the record was written, for one that is read.
    """

    state: State
    who: str
    why: str
    at: datetime
    round: int = 0
    to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter, without its bytes.

    Attributes:
        id: place where the record was found, ``topic/partition/offset``; its own place if it does not say.
        source: the same as a place; None if it does not say.
        place: where the letter stands.
        log_time: when it was put aside (UTC).
        key: the record's key.
        size: bytes of the record.
        code: the short word for the reason.
        reason: the reason in words.
        stage: which part put it aside.
        round: how often it had been sent again.
        redriven_from: id of the letter that was sent again and became this one; empty if none was.
        times: how often it was put aside.
        fate: what became of it; None while it is open.
    """

    id: str
    source: Place | None
    place: Place
    log_time: datetime
    key: bytes | None
    size: int
    code: str
    reason: str
    stage: str
    round: int
    redriven_from: str
    times: int = 1
    fate: Fate | None = None

    @property
    def state(self) -> State:
        """What became of it."""
        return self.fate.state if self.fate is not None else State.OPEN


class Ledger:
    """All letters and fates of a topic; give it every record, of one partition in order."""

    def __init__(self) -> None:
        self._letters: dict[str, Letter] = {}
        self._fates: dict[str, Fate] = {}

    def take(self, raw: Raw) -> None:
        """Take a record of the dead letters; its bytes are not kept."""
        if tells_fate({name for name, _ in raw.headers or ()}):
            fate = fate_of(raw)
            if fate is not None:
                self._fates[(raw.key or b"").decode(errors="replace")] = fate
            return
        letter = letter_of(raw)
        known = self._letters.get(letter.id)
        self._letters[letter.id] = letter if known is None else replace(known, times=known.times + 1)

    def letters(self) -> list[Letter]:
        """Every letter with its fate, the oldest first."""
        known = (replace(letter, fate=self._fates.get(letter.id)) for letter in self._letters.values())
        return sorted(known, key=lambda letter: (letter.log_time, letter.place))

    def get(self, letter_id: str) -> Letter | None:
        """The letter of an id, with its fate."""
        letter = self._letters.get(letter_id)
        return letter if letter is None else replace(letter, fate=self._fates.get(letter_id))


def letter_of(raw: Raw) -> Letter:
    """A record of the dead letters as a letter."""
    source = place_of_letter(raw)
    again = raw.header(REDRIVE_ROUND) or ""
    return Letter(
        id=str(source or raw.place),
        source=source,
        place=raw.place,
        log_time=raw.log_time,
        key=raw.key,
        size=len(raw.value or b""),
        code=raw.header(LETTER_CODE) or "",
        reason=raw.header(LETTER_MESSAGE) or "",
        stage=raw.header(LETTER_STAGE) or "",
        round=int(again) if again.isdecimal() else 0,
        redriven_from=raw.header(REDRIVEN_FROM) or "",
    )


def fate_of(raw: Raw) -> Fate | None:
    """What a record of a fate says; None if it makes no sense."""
    try:
        said = json.loads(raw.value or b"{}")
        return Fate(
            state=State(raw.header(LETTER_FATE) or ""),
            who=str(said.get("who", "")),
            why=str(said.get("why", "")),
            at=raw.log_time,
            round=int(said.get("round", 0)),
            to=str(said.get("to", "")),
        )
    except (AttributeError, RecursionError, TypeError, ValueError):
        return None


def fate_record(letter_id: str, fate: Fate) -> tuple[bytes, bytes, dict[str, str]]:
    """Key, value and headers of the record that says what became of a letter."""
    said = {
        "letter": letter_id,
        "fate": str(fate.state),
        "who": fate.who,
        "why": fate.why,
        "at": fate.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **({"round": fate.round, "to": fate.to} if fate.state is State.REDRIVEN else {}),
    }
    headers = {LETTER_FATE: str(fate.state), "content-type": "application/json"}
    return letter_id.encode(), json.dumps(said, ensure_ascii=False).encode(), headers


def why_not_again(letter: Letter, catalogue: Catalogue) -> str | None:
    """Why a letter may not be sent again, with what to do instead; None if it may."""
    if letter.source is None:
        return "it does not say where it was found. Discard it"
    spec = catalogue.by_name(letter.source.topic)
    if spec is None:
        return f"{letter.source.topic} is no topic of the catalogue. Set PEAKTIME_TOPIC_PREFIX as it was then"
    if ROLE not in spec.writers:
        because = ", where an old row would undo newer ones" if "compact" in spec.cleanup else ""
        return f"only {', '.join(spec.writers)} may write {spec.name}{because}. Discard it"
    if letter.round >= MOST_ROUNDS:
        return f"it was sent again {letter.round} times. Have its sender send what they mean anew, and discard it"
    if letter.state is State.REDRIVEN:
        to = letter.fate.to if letter.fate is not None else ""
        return f"it was sent again already, as {to}; if that cannot be read either, it is a letter of its own"
    return None


def headers_again(raw: Raw) -> dict[str, bytes | None]:
    """The headers with which a letter is sent again: those it was found with, the round, and which letter it was.

    Where it was forwarded from is left out: if it is still misplaced it is forwarded anew.
    """
    ours = {LETTER_STAGE, LETTER_REASON, FORWARDED_FROM}
    kept = {name: value for name, value in raw.headers or () if name not in ours and not name.startswith(CONNECT)}
    letter = letter_of(raw)
    return {**kept, REDRIVE_ROUND: str(letter.round + 1).encode(), REDRIVEN_FROM: letter.id.encode()}


def counts(letters: Iterable[Letter]) -> dict[str, Counter[State]]:
    """How many letters there are, by reason and state; reasons in order."""
    found: dict[str, Counter[State]] = {}
    for letter in letters:
        found.setdefault(letter.code or "unknown", Counter())[letter.state] += 1
    return dict(sorted(found.items()))


def rows(letters: Iterable[Letter]) -> Iterator[dict[str, Any]]:
    """Letters as values for JSON."""
    for letter in letters:
        fate = letter.fate
        yield {
            "id": letter.id,
            "state": str(letter.state),
            "code": letter.code,
            "reason": letter.reason,
            "stage": letter.stage,
            "key": None if letter.key is None else letter.key.decode(errors="replace"),
            "bytes": letter.size,
            "putAsideAt": letter.log_time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "times": letter.times,
            "round": letter.round,
            "redrivenFrom": letter.redriven_from or None,
            "place": str(letter.place),
            "fate": None
            if fate is None
            else {
                "who": fate.who,
                "why": fate.why,
                "at": fate.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "round": fate.round,
                "to": fate.to or None,
            },
        }
