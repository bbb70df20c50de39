"""The profiles file: what each target, day and band scales to, and by which WorkflowTemplates.

Reads YAML, judges it whole, and gives the plain values of ``peaktime.core.capacity``. It must not look at the cluster
(whether a WorkflowTemplate exists is reconcile's business) nor at the environment, and it keeps nothing between calls.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Hashable, Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, PydanticCustomError

from peaktime.core.capacity import Band, Profile, Profiles, Step, Way
from peaktime.core.requests import DAYS
from peaktime.errors import ProfilesError

_LONGEST_TARGET = 30
_LONGEST_BAND = 20
_MOST_SECONDS = 2**31 - 1  # Kubernetes keeps a ttl as int32
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_ARGO_NAME = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")

Problem = tuple[str, str]  # where in the file, and what is wrong there


def load_profiles(path: Path | None) -> Profiles:
    """The profiles of a YAML file; of the sample that ships with the package if ``path`` is None.

    Raises:
        ProfilesError: the file cannot be read, or is not a valid profiles file; it names every fault with its place.
    """
    if path is None:
        source = resources.files("peaktime") / "samples" / "profiles.yaml"
        return parse_profiles(source.read_text(encoding="utf-8"), "peaktime/samples/profiles.yaml")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ProfilesError(
            str(path),
            f"cannot be read: {error.strerror}",
            "Name a readable profiles file in PEAKTIME_PROFILES",
        ) from error
    except UnicodeDecodeError as error:
        raise ProfilesError(str(path), "is not UTF-8 text", "Save it as UTF-8") from error
    return parse_profiles(text, str(path))


def parse_profiles(text: str, name: str) -> Profiles:
    """The profiles that a YAML text states; ``name`` stands for the file in errors.

    Raises:
        ProfilesError: as for `load_profiles`.
    """
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506  (a safe loader)
        problems = [*_expressions("", data)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise _refused(name, [("", f"is not valid YAML: {where}{error.problem}")]) from error
    except yaml.YAMLError as error:
        raise _refused(name, [("", f"is not valid YAML: {' '.join(str(error).split())}")]) from error
    except RecursionError as error:
        raise _refused(name, [("", "nests itself or is nested too deeply")]) from error
    except ValueError as error:  # an explicit tag on a value that is none of its kind
        raise _refused(name, [("", f"is not valid YAML: {error}")]) from error
    if not isinstance(data, dict):
        raise _refused(name, [("", "must be a mapping with zone, bands and profiles")])
    head = _validated(_Head, data, "", problems)
    raw_items = data.get("profiles")
    items: dict[int, _Item] = {}
    for number, raw in enumerate(raw_items if isinstance(raw_items, list) else ()):
        item = _validated(_Item, raw, f"profiles[{number}]", problems)
        if item is not None:
            items[number] = item
    bands = data.get("bands")
    problems += _between_items(items, set(bands) if isinstance(bands, dict) else None)
    if head is None or problems:
        raise _refused(name, problems)
    return _profiles(head, items.values())


def _refused(name: str, problems: list[Problem]) -> ProfilesError:
    told = "; ".join(f"{where}: {why}" if where else why for where, why in problems)
    return ProfilesError(name, told, "Correct the file; peaktime/samples/profiles.yaml shows the format")


class _Loader(yaml.SafeLoader):
    """YAML without the surprises of version 1.1: no 18:00 as 1080, no dates, no `on` as true, no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be plain text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark)
            if key.tag != "tag:yaml.org,2002:merge":
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in {"null", "merge"}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"-?(?:0|[1-9][0-9]{0,17})$"), list("-0123456789"))


def _expressions(where: str, value: object) -> Iterator[Problem]:
    """Every place with an Argo expression: Argo would evaluate it, and there is no way to escape it."""
    if isinstance(value, str) and "{{" in value:
        yield where, "must not contain {{, which Argo would evaluate"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _expressions(where, key)
            yield from _expressions(_join(where, key), inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _expressions(_join(where, number), inner)


def _join(where: str, part: object) -> str:
    if isinstance(part, int):
        return f"{where}[{part}]"
    return f"{where}.{part}" if where else str(part)


def _clock(value: object) -> int:
    match = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", value) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError("clock", 'must be a time of day like "09:00", up to "23:59"')
    return int(match[1]) * 60 + int(match[2])


def _duration(value: object) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,9})([smhd])", value) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError("duration", "must be a duration like 90s, 10m, 2h or 7d")
    seconds = int(match[1]) * _UNIT_SECONDS[match[2]]
    if seconds > _MOST_SECONDS:
        raise PydanticCustomError("duration", "is too long")
    return seconds


def _zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (ValueError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError and is caught below
        raise PydanticCustomError("zone", "is not a time zone; write it like Asia/Seoul") from error
    except KeyError as error:
        raise PydanticCustomError("zone", "is not a known time zone; write it like Asia/Seoul") from error
    return value


def _target(value: str) -> str:
    if len(value) > _LONGEST_TARGET or not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", value):
        raise PydanticCustomError(
            "target",
            f"must be lower-case letters, digits and inner hyphens, begin with a letter, at most {_LONGEST_TARGET}",
        )
    return value


def _day(value: str) -> str:
    if value not in DAYS:
        raise PydanticCustomError("day", f"must be one of {', '.join(DAYS)}")
    return value


def _band_name(value: str) -> str:
    if len(value) > _LONGEST_BAND or not re.fullmatch(r"[a-z0-9]+", value):
        raise PydanticCustomError(
            "band",
            f"a band's name must be lower-case letters and digits without a hyphen, at most {_LONGEST_BAND}",
        )
    return value


def _label(value: str) -> str:
    if len(value) > 63 or not _DNS_LABEL.fullmatch(value):  # noqa: PLR2004  (its meaning stands beside it)
        raise PydanticCustomError(
            "name",
            "must be a name by RFC 1123: lower-case letters, digits and inner hyphens, at most 63",
        )
    return value


def _subdomain(value: str) -> str:
    if len(value) > 253 or not all(_DNS_LABEL.fullmatch(part) for part in value.split(".")):  # noqa: PLR2004  (its meaning stands beside it)
        raise PydanticCustomError(
            "name",
            "must be a name by RFC 1123: lower-case letters, digits, inner hyphens and dots, at most 253",
        )
    return value


def _template_name(value: str) -> str:
    if len(value) > 128 or not _ARGO_NAME.fullmatch(value):  # noqa: PLR2004  (its meaning stands beside it)
        raise PydanticCustomError("name", "must be letters, digits and hyphens, beginning with a letter or digit")
    return value


_Clock = Annotated[int, BeforeValidator(_clock)]
_Seconds = Annotated[int, BeforeValidator(_duration)]
_BandName = Annotated[str, AfterValidator(_band_name)]
_Day = Annotated[str, AfterValidator(_day)]
_Label = Annotated[str, AfterValidator(_label)]
_Subdomain = Annotated[str, AfterValidator(_subdomain)]
_Level = Annotated[int, Field(ge=0, le=1_000_000)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel)


class _Hours(_Model):
    start: _Clock = Field(alias="from")
    end: _Clock = Field(alias="to")


class _Common(_Model):
    """What `defaults` may state for all profiles, and a profile for itself."""

    namespace: _Label | None = None
    service_account: _Subdomain | None = None
    ttl: _Seconds | None = None
    expected_duration: _Seconds | None = None
    starting_deadline: _Seconds | None = None


class _Step(_Model):
    service: _Label
    workflow_template: _Subdomain
    template: Annotated[str, AfterValidator(_template_name)]
    parameters: dict[Annotated[str, AfterValidator(_template_name)], str] = {}


class _Way(_Model):
    stages: Annotated[list[Annotated[list[_Step], Field(min_length=1)]], Field(min_length=1)]


class _Item(_Common):
    target: Annotated[str, AfterValidator(_target)]
    days: Annotated[list[_Day], Field(min_length=1)]
    bands: Annotated[list[_BandName], Field(min_length=1)]
    level: _Level
    returns_to: _Level = 0
    scale_out: _Way
    scale_in: _Way


class _Head(_Model):
    """The file without a look into its profiles, which are judged one by one so that every fault is found."""

    zone: Annotated[str, AfterValidator(_zone)]
    bands: dict[_BandName, _Hours]
    defaults: _Common = _Common()
    profiles: Annotated[list[Any], Field(min_length=1)]


M = TypeVar("M", bound=BaseModel)


def _validated(model: type[M], data: object, where: str, problems: list[Problem]) -> M | None:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems += [_told(where, fault) for fault in error.errors()]
        return None


def _told(where: str, fault: ErrorDetails) -> Problem:
    """One of pydantic's faults as a place in the file and words about it."""
    for part in fault["loc"]:
        if part != "[key]":
            where = _join(where, part)
    return where, _WORDS.get(fault["type"], fault["msg"].removeprefix("Input "))


_WORDS = {
    "dict_type": "must be a mapping",
    "extra_forbidden": "is not a known key",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "missing": "is missing",
    "model_type": "must be a mapping",
    "string_type": "must be text; put it in quotes",
    "too_short": "must not be empty",
}


def _between_items(items: dict[int, _Item], bands: set[object] | None) -> Iterator[Problem]:
    """What no item shows by itself: unknown bands, profiles stated twice, targets with changing services."""
    if bands is not None and "common" not in bands:
        yield "bands.common", "is missing"
    stated: dict[tuple[str, str, str], int] = {}
    covered: dict[str, tuple[str, frozenset[str]]] = {}
    for number, item in items.items():
        where = f"profiles[{number}]"
        if item.level <= item.returns_to:
            yield f"{where}.level", f"must be above returnsTo, which is {item.returns_to}"
        for place, band in enumerate(item.bands):
            if bands is not None and band not in bands:
                yield f"{where}.bands[{place}]", f"{band} is not among the file's bands"
        for day in item.days:
            for band in item.bands:
                first = stated.setdefault((item.target, day, band), number)
                if first != number or item.days.count(day) > 1 or item.bands.count(band) > 1:
                    yield where, f"{item.target}-{day}-{band} is stated twice (first by profiles[{first}])"
        for side, way in (("scaleOut", item.scale_out), ("scaleIn", item.scale_in)):
            yield from _services(f"{where}.{side}", item.target, way, covered)


def _services(where: str, target: str, way: _Way, covered: dict[str, tuple[str, frozenset[str]]]) -> Iterator[Problem]:
    services = [step.service for stage in way.stages for step in stage]
    for service in sorted({service for service in services if services.count(service) > 1}):
        yield where, f"names the service {service} twice"
    first, expected = covered.setdefault(target, (where, frozenset(services)))
    if expected != set(services):
        here, there = ", ".join(sorted(set(services))), ", ".join(sorted(expected))
        yield where, f"covers {here}, but {first} covers {there}: all profiles of {target} cover the same services"


def _profiles(head: _Head, items: Iterable[_Item]) -> Profiles:
    profiles = [_profile(head.defaults, item, day, band) for item in items for day in item.days for band in item.bands]
    return Profiles(
        zone=head.zone,
        bands={name: Band(name=name, start_minute=b.start, end_minute=b.end) for name, b in head.bands.items()},
        by_name={profile.name: profile for profile in profiles},
    )


def _profile(defaults: _Common, item: _Item, day: str, band: str) -> Profile:
    # Keys that neither states keep the dataclass's own defaults.
    stated = defaults.model_dump(include=set(_PROFILE_FIELDS), exclude_none=True)
    stated |= item.model_dump(include=set(_PROFILE_FIELDS), exclude_none=True)
    return Profile(
        target=item.target,
        day=day,
        band=band,
        scale_out=_way(item.level, item.scale_out),
        scale_in=_way(item.returns_to, item.scale_in),
        **{_PROFILE_FIELDS[key]: value for key, value in stated.items()},
    )


_PROFILE_FIELDS = {
    "namespace": "namespace",
    "service_account": "service_account",
    "ttl": "ttl_seconds",
    "expected_duration": "expected_seconds",
    "starting_deadline": "starting_deadline_seconds",
}


def _way(level: int, way: _Way) -> Way:
    return Way(level=level, stages=tuple(tuple(Step(**step.model_dump()) for step in stage) for stage in way.stages))
