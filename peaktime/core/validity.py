"""What makes a request valid, judged alone: the words it uses and the times it names.

Pure: standard library and ``schemas.records`` only. No clock (the caller gives the time), no zone, no configuration.
"""

from __future__ import annotations

import operator
import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from schemas.records import RequestAction, ScaleRequest

#: A cron field has no year, so nothing further ahead can be told from this year's.
FURTHEST = timedelta(days=365)
#: A scale-out without an end must have started within this time.
OPEN_ENDED_FOR = timedelta(hours=24)
#: What stands for the event date in requests about a whole target.
PAUSE_EVENT = "pause"
#: Whose requests may pause and resume.
OPERATOR = "operator"
#: Requests that operators send; each says who asks, and why.
OPERATORS_ACTIONS = frozenset({RequestAction.RERUN, RequestAction.PAUSE, RequestAction.RESUME})
WHOLE_TARGET = frozenset({RequestAction.PAUSE, RequestAction.RESUME})

DAYS = ("common", "mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday")
LONGEST = {"request_id": 200, "title": 300, "description": 4000, "owner": 200}

_TEXTS = ("request_id", "title", "description", "owner", "target", "origin", "day", "band", "event_date")
_LINES = tuple(name for name in _TEXTS if name != "description")
_LIMITS = tuple(LONGEST.get(name, 64) for name in _LINES)
_texts_of = operator.attrgetter(*_LINES)
_NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,28}[a-z0-9])?")
_BAND = re.compile(r"[a-z0-9]{1,20}")
#: A Workflow's name as Argo makes it: the CronWorkflow's and the firing's unix seconds.
_RUN = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,200})-[0-9]{1,10}")
_HASH_SUFFIX = re.compile(r"(?:.*-)?[0-9a-f]{8}")
_EVENT_DATE = re.compile(
    r"(?P<y>\d{4})(?P<s>-?)(?P<m>\d{2})(?P=s)(?P<d>\d{2})(?:[T ]?(?P<H>\d{2}):?(?P<M>\d{2})(?::?00(?:\.0+)?)?)?",
)
#: The lengths of 2026-05-04T09:00 and of 2026-05-04.
_MINUTE, _DAY = 16, 10
_OFFSET = re.compile(r".*\d(?:Z|[+-]\d{2}:?\d{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")


@lru_cache(maxsize=1024)
def canonical_event_date(text: str) -> str | None:
    """The canonical form of an event date, ``2026-05-04`` or ``2026-05-04T09:00``; None if it is none.

    Also taken: ``20260504``, ``202605040900``, a space for the T, ``:00`` seconds. A date with an offset is none: folds
    know no zone, so the gateway and the CLI convert it.
    """
    if _is_canonical(text):
        return text
    found = _EVENT_DATE.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day = (int(found[name]) for name in ("y", "m", "d"))
    timed = found["H"] is not None
    try:
        # The zone is of no account: it only has to be a date that there is.
        instant = datetime(year, month, day, int(found["H"] or 0), int(found["M"] or 0), tzinfo=UTC)
    except ValueError:
        return None
    return instant.isoformat(timespec="minutes")[:16] if timed else instant.date().isoformat()


def _is_canonical(text: str) -> bool:
    """Whether it is one of the two forms already, as nearly all are."""
    try:
        if len(text) == _MINUTE:
            return datetime.fromisoformat(text).isoformat(timespec="minutes") == text
        return len(text) == _DAY and date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def event_date_of(request: ScaleRequest) -> str:
    """The event date by which a request is filed: canonical if it is a date, else as it was written."""
    if request.action in WHOLE_TARGET:
        return PAUSE_EVENT
    return canonical_event_date(request.event_date) or request.event_date


def refusal(request: ScaleRequest, log_time: datetime, *, ends_open_window: bool = False) -> tuple[str, str] | None:
    """Why a request, judged alone, is not valid: a code and a reason in words; None if it is valid.

    Args:
        request: as it was read.
        log_time: when it reached the log; a gateway gives its own clock for an early answer.
        ends_open_window: whether it would end a window of its entry that is open now.
    """
    return (
        _refused_words(request)
        or _refused_operator(request)
        or _refused_times(request, log_time, ends_open_window=ends_open_window)
    )


def _refused_words(request: ScaleRequest) -> tuple[str, str] | None:
    if request.action is RequestAction.UNKNOWN:
        known = ", ".join(action for action in RequestAction if action is not RequestAction.UNKNOWN)
        return "action", f"what is asked for is not known to this version; use one of {known}"
    found = _refused_text(request)
    if found is not None:
        return found
    if not request.request_id:
        return "request-id", "there is no request id; a retry could not be recognised"
    if not _NAME.fullmatch(request.target):
        return "target", f"'{request.target}' is no target: lower case letters, digits and hyphens, at most 30"
    if not _NAME.fullmatch(request.origin) or _HASH_SUFFIX.fullmatch(request.origin):
        return "origin", f"'{request.origin}' is no origin: lower case letters, digits and hyphens, at most 30"
    if request.day not in DAYS:
        return "day", f"'{request.day}' is no day; use one of {', '.join(DAYS)}"
    if not _BAND.fullmatch(request.band):
        return "band", f"'{request.band}' is no band: lower case letters and digits, at most 20"
    if request.action not in WHOLE_TARGET and canonical_event_date(request.event_date) is None:
        if _OFFSET.fullmatch(request.event_date.strip()):
            return "event-date", f"the event date '{request.event_date}' has an offset; give the local time"
        return "event-date", f"'{request.event_date}' is no date; use 2026-05-04 or 2026-05-04T09:00"
    return None


def _refused_text(request: ScaleRequest) -> tuple[str, str] | None:
    texts = _texts_of(request)
    # Nearly all are fine, and need not be looked at one by one. What is printable has no control characters.
    together = " ".join((*texts, request.description.replace("\n", " ")))
    fit = len(request.description) <= LONGEST["description"] and all(map(operator.le, map(len, texts), _LIMITS))
    if fit and "{{" not in together and together.isprintable():
        return None
    for name in _TEXTS:
        text = getattr(request, name)
        if "{{" in text:
            return "template", f"the {name.replace('_', ' ')} contains '{{{{', which Argo would evaluate; leave it out"
        if (_CONTROL_IN_TEXT if name == "description" else _CONTROL).search(text):
            return "control", f"the {name.replace('_', ' ')} contains control characters; leave them out"
        if len(text) > LONGEST.get(name, 64):
            return "too-long", f"the {name.replace('_', ' ')} is longer than {LONGEST.get(name, 64)} characters"
    return None


def _refused_operator(request: ScaleRequest) -> tuple[str, str] | None:
    if request.action not in OPERATORS_ACTIONS:
        return None
    verb = request.action.lower()
    if not request.owner.strip():
        return "no-owner", f"a {verb} must say who asks; give the owner"
    if not request.description.strip():
        return "no-why", f"a {verb} must say why; give it as the description"
    if request.action is RequestAction.RERUN:
        if not _RUN.fullmatch(request.run or ""):
            return "run", f"'{request.run or ''}' names no run; give the Workflow's name, <cronworkflow>-<unix seconds>"
    elif request.origin != OPERATOR:
        return "origin", f"only operators {verb} a target; '{request.origin}' may withdraw its own events"
    return None


def _refused_times(request: ScaleRequest, log_time: datetime, *, ends_open_window: bool) -> tuple[str, str] | None:
    starts, ends = request.starts_at, request.ends_at
    if request.action not in (RequestAction.SCALE_OUT, RequestAction.SCALE_IN):
        return None
    if request.action is RequestAction.SCALE_OUT and starts is None:
        return "no-start", "a scale-out must say when it starts"
    if request.action is RequestAction.SCALE_IN and ends is None:
        return "no-end", "a scale-in must say when it happens"
    for name, instant in (("start", starts), ("end", ends)):
        if instant is None:
            continue
        if instant.second or instant.microsecond:
            return "not-minutes", f"the {name} {instant:%Y-%m-%d %H:%M:%S} UTC is not a whole minute"
        if instant > log_time + FURTHEST:
            return "too-far", f"the {name} {instant:%Y-%m-%d %H:%M} UTC is more than 365 days ahead; ask again later"
    if starts is not None and ends is not None and ends <= starts:
        return (
            "end-before-start",
            f"the end {ends:%Y-%m-%d %H:%M} UTC is not after the start {starts:%Y-%m-%d %H:%M} UTC",
        )
    if request.action is RequestAction.SCALE_OUT and starts is not None:
        if ends is not None and ends <= log_time and not ends_open_window:
            return "over", f"the event ended at {ends:%Y-%m-%d %H:%M} UTC, which is over"
        if ends is None and starts < log_time - OPEN_ENDED_FOR:
            return "over", f"the event started at {starts:%Y-%m-%d %H:%M} UTC, over 24 hours ago, and has no end"
    return None
