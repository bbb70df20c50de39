"""Hypothesis strategies for the records, built from their type hints: every field, every branch."""

import types
import typing
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache

from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
INSTANTS = st.integers(0, 253_000_000_000_000 // 60).map(
    lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms),
)
DATES = st.dates(date(1900, 1, 1), date(2999, 12, 31))


@cache
def records(cls):
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{f.name: _values(f.name, hints[f.name]) for f in fields(cls)})


def _values(name, hint):
    origin = typing.get_origin(hint)
    if origin is types.UnionType:
        (inner,) = (arg for arg in typing.get_args(hint) if arg is not types.NoneType)
        return st.none() | _values(name, inner)
    if origin is tuple:
        return st.lists(_values(name, typing.get_args(hint)[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(TEXT, TEXT, max_size=3)
    if is_dataclass(hint):
        return records(hint)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    small = -(2**31), 2**31 - 1
    return {
        str: TEXT,
        bool: st.booleans(),
        int: st.integers(*small),
        datetime: INSTANTS,
        date: DATES,
    }[hint]
