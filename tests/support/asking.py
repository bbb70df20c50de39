"""Short ways to ask for things in tests: minutes instead of instants, and a log that folds what is appended."""

from datetime import UTC, datetime, timedelta

from peaktime.core.capacity import Band, Profile, Profiles, Step, Way
from peaktime.core.requests import Entries
from schemas.records import Entry, RequestAction, ScaleRequest

#: Minute 0 of all tests: 09:00 in Seoul, long after the day's midnight in every zone that the tests use.
START = datetime(2026, 5, 4, 0, 0, tzinfo=UTC)
DATE = "2026-05-04"


def at(minute: float) -> datetime:
    """The instant of a minute."""
    return START + timedelta(minutes=minute)


def minute_of(instant: datetime) -> float:
    """The minute of an instant."""
    return (instant - START) / timedelta(minutes=1)


def asked(action, request_id, start=None, end=None, *, requested=-60.0, date=DATE, **fields) -> ScaleRequest:
    values = {"target": "infra", "title": "Sale", "owner": "mina", **fields}
    return ScaleRequest(
        request_id=request_id,
        action=action,
        event_date=date,
        starts_at=None if start is None else at(start),
        ends_at=None if end is None else at(end),
        requested_at=at(requested),
        **values,
    )


def scale_out(request_id="out-1", start=60.0, end=None, **fields) -> ScaleRequest:
    return asked(RequestAction.SCALE_OUT, request_id, start, end, **fields)


def scale_in(request_id="in-1", end=120.0, **fields) -> ScaleRequest:
    return asked(RequestAction.SCALE_IN, request_id, None, end, **fields)


def delete(request_id="del-1", **fields) -> ScaleRequest:
    return asked(RequestAction.DELETE, request_id, **fields)


def operators(action, request_id, *, why="load test", owner="jun", origin="operator", **fields) -> ScaleRequest:
    return asked(action, request_id, owner=owner, title="", origin=origin, description=why, **fields)


def pause(request_id="p-1", **fields) -> ScaleRequest:
    return operators(RequestAction.PAUSE, request_id, **fields)


def resume(request_id="r-1", **fields) -> ScaleRequest:
    return operators(RequestAction.RESUME, request_id, **fields)


def rerun(run, request_id="again-1", origin="pa", **fields) -> ScaleRequest:
    return operators(RequestAction.RERUN, request_id, origin=origin, run=run, **fields)


class Log:
    """The requests of one target, folded as they are appended."""

    def __init__(self) -> None:
        self.entries = Entries()
        self.end = 0
        self.records: list[tuple[ScaleRequest, int, datetime]] = []
        self.changes: dict[str, Entry | None] = {}

    def append(self, request: ScaleRequest, minute: float = 0.0) -> Entry:
        """Fold a request that reaches the log at a minute; its entry afterwards."""
        position, self.end = self.end, self.end + 1
        self.records.append((request, position, at(minute)))
        self.changes = self.entries.fold(request, position, at(minute))
        entry = next(entry for entry in self.changes.values() if entry is not None)
        assert entry.position == position
        return entry

    def verdict(self, request: ScaleRequest, minute: float = 0.0):
        """What became of a request."""
        return self.append(request, minute).verdict


def profile(name: str = "common", level: int = 1, *, day: str = "common", back: int = 0, **fields) -> Profile:
    """A profile of the target ``infra`` whose band is named for its level."""
    steps = ((Step(service="app", workflow_template="app-batch", template="scale"),),)
    return Profile(
        target="infra",
        day=day,
        band=name,
        scale_out=Way(level=level, stages=steps),
        scale_in=Way(level=back, stages=steps),
        **fields,
    )


#: Bands by name: two of the same level, three levels, and different levels to return to.
LEVELS = {"common": 1, "morning": 2, "lunch": 2, "night": 3}


def profiles(*more: Profile, zone: str = "Asia/Seoul") -> Profiles:
    found = [*(profile(name, level, back=level % 2) for name, level in LEVELS.items()), *more]
    bands = {one.band: Band(name=one.band, start_minute=0, end_minute=60) for one in found}
    return Profiles(zone=zone, bands=bands, by_name={one.name: one for one in found})


def level_of(_entry: Entry, action) -> int | None:
    """The level of an action's band; unknown bands have none."""
    return LEVELS.get(action.band)
