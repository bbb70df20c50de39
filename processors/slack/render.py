"""A notification as Slack shows it: blocks, a fallback text, and metadata that carries its id.

Pure. Whatever a user wrote stays readable and does nothing: it is shown as plain text, ``&``, ``<`` and ``>`` are
escaped, so that no mention, link or command can be formed, and control characters are written out. Must not: post.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from schemas.records import Notification, Severity

EVENT_TYPE = "peaktime_notification"
#: Slack's own limits.
HEADER_LIMIT = 150
SECTION_LIMIT = 3000
BLOCK_LIMIT = 50
FIELDS_A_SECTION = 10
#: Slack answers msg_blocks_too_long somewhere above 13,000 characters in all and states no number; this is below it.
MESSAGE_LIMIT = 10_000
#: Slack advises at most 4,000 characters for the text of a message.
TEXT_LIMIT = 3_500
#: A field takes 2,000 characters, but a long one reads better across the whole width.
_SHORT_FIELD = 300
_FIELDS_ROOM = 4_000
_LONGEST_LINK = 1_000
_DIGITS = 12
_MARKS = {Severity.ERROR: "🔴 ", Severity.WARNING: "🟠 "}
_LINK = re.compile(r"https?://[^\s<>|\x00-\x20\x7f]+")
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
_CUT = "… ({} more characters; the whole text is in the notification's record)"


def visible(text: str) -> str:
    r"""The text with control characters written out (``\x07``) and only ``\n`` and ``\t`` left as they are."""
    return "".join(_shown(c) for c in text)


def _shown(char: str) -> str:
    if char in "\n\t" or (unicodedata.category(char) not in {"Cc", "Cs", "Zl", "Zp"} and char not in _BIDI):
        return char
    return char.encode("unicode_escape").decode("ascii")


def escape(text: str) -> str:
    """The text as Slack wants it, so that it can hold neither a mention nor a link: visible and escaped."""
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def chunks(text: str, limit: int) -> list[str]:
    """The escaped text in pieces of at most ``limit`` characters, cut between lines where that is possible."""
    pieces = [""]
    for line in text.splitlines(keepends=True):
        escaped = [escape(char) for char in line]
        if len(pieces[-1]) + sum(map(len, escaped)) > limit and pieces[-1]:
            pieces.append("")
        for char in escaped:
            if len(pieces[-1]) + len(char) > limit:
                pieces.append("")
            pieces[-1] += char
    return [piece for piece in pieces if piece.strip()]


def shortened(text: str, limit: int) -> str:
    """The first of the escaped text, within ``limit`` characters, saying how much was left out."""
    whole = chunks(text, limit)
    if len(whole) <= 1:
        return "".join(whole)
    room = limit - len(_CUT) - _DIGITS
    first = chunks(text, room)[0].rstrip("\n")
    return first + _CUT.format(max(1, len(escape(text)) - len(first)))


def metadata(notification: Notification) -> dict[str, Any]:
    """What marks a message as this notification, so that it can be found again."""
    return {
        "event_type": EVENT_TYPE,
        "event_payload": {"id": notification.notification_id, "kind": notification.kind.value},
    }


def text(notification: Notification) -> str:
    """The whole notification as one escaped plain text: for screen readers, and where blocks are refused."""
    lines = [_MARKS.get(notification.severity, "") + notification.headline, notification.text]
    lines += [f"{field.name}: {field.value}" for field in notification.fields]
    if notification.link:
        lines.append(notification.link)
    return shortened("\n".join(line for line in lines if line.strip()), TEXT_LIMIT) or "(an empty notification)"


def blocks(notification: Notification) -> list[dict[str, Any]]:
    """The notification as Block Kit blocks, within every limit of Slack; what does not fit is counted in the last."""
    header = chunks(_MARKS.get(notification.severity, "") + notification.headline.replace("\n", " "), HEADER_LIMIT)
    link = _link(notification.link)
    body = [notification.headline] if len(header) > 1 else []
    body.append(notification.text)
    if notification.link and link is None:
        body.append(notification.link)
    pairs: list[str] = []
    room = _FIELDS_ROOM
    long = []
    for field in notification.fields:
        pair = f"{escape(field.name)}\n{escape(field.value)}"
        room -= len(pair)
        if len(pair) <= _SHORT_FIELD and "\n" not in field.value and room >= 0:
            pairs.append(pair)
        else:
            long.append(f"{field.name}:\n{field.value}")
    head = [{"type": "header", "text": _plain(header[0])}] if header else []
    tail: list[dict[str, Any]] = [
        {"type": "section", "fields": [_plain(pair) for pair in pairs[i : i + FIELDS_A_SECTION]]}
        for i in range(0, len(pairs), FIELDS_A_SECTION)
    ]
    if link is not None:
        tail.append({"type": "context", "elements": [{"type": "mrkdwn", "text": link, "verbatim": True}]})
    texts = [piece for part in ("\n".join(body), *long) for piece in chunks(part, SECTION_LIMIT)]
    sections = _sections(texts, BLOCK_LIMIT - len(head) - len(tail), MESSAGE_LIMIT - size(head) - size(tail))
    return [*head, *sections, *tail]


def size(of: list[dict[str, Any]]) -> int:
    """How many characters people see of these blocks."""
    total = 0
    for block in of:
        parts = [block.get("text"), *block.get("fields", []), *block.get("elements", [])]
        total += sum(len(part["text"]) for part in parts if part)
    return total


def _sections(texts: list[str], most: int, room: int) -> list[dict[str, Any]]:
    kept = texts
    if len(texts) > most or sum(map(len, texts)) > room:
        kept = []
        room -= len(_CUT) + _DIGITS
        while texts and len(kept) < most - 1 and len(texts[0]) <= room:
            room -= len(texts[0])
            kept.append(texts[0])
            texts = texts[1:]
        kept.append(_CUT.format(sum(map(len, texts))))
    return [{"type": "section", "text": _plain(piece)} for piece in kept]


def _plain(escaped: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": escaped, "emoji": False}


def _link(url: str) -> str | None:
    if not _LINK.fullmatch(url) or len(url) > _LONGEST_LINK:
        return None
    return f"<{url.replace('&', '&amp;')}|Open the run>"
