import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peaktime.core import requests as fold
from peaktime.core.capacity import Profiles
from peaktime.errors import RequestError
from peaktime.profiles import DAYS, load_profiles, parse_profiles
from producers.pa.folder import read_folder
from producers.pa.mapping import (
    Endpoint,
    canonical_event_date,
    known_endpoints,
    parse_endpoint,
    request_from_pa,
    unknown,
)
from schemas.records import RequestAction, ScaleRequest

SEOUL = "Asia/Seoul"
NOW = datetime(2026, 5, 1, 3, 4, 5, 678901, tzinfo=UTC)
PROFILES = load_profiles(None)
ABROAD = parse_profiles(
    """
zone: America/New_York
bands:
  common: {from: 09:00, to: 18:00}
  early: {from: 02:30, to: 04:00}
profiles:
  - target: infra
    days: [common]
    bands: [common, early]
    level: 1
    scaleOut: {stages: [[{service: app, workflowTemplate: app, template: out}]]}
    scaleIn: {stages: [[{service: app, workflowTemplate: app, template: in}]]}
""",
    "abroad.yaml",
)


def asked(endpoint: str = "create-infra-common-common", profiles: Profiles = PROFILES, **message) -> ScaleRequest:
    body = {"message": {"title": "Sale", "eventDate": "2026-05-04T09:00"} | message}
    return request_from_pa(body, parse_endpoint(endpoint), profiles=profiles, now=NOW, new_id=lambda: "fresh")


def reasons(body, endpoint: str = "create-infra-common-common", profiles: Profiles = PROFILES) -> str:
    with pytest.raises(RequestError) as caught:
        request_from_pa(body, parse_endpoint(endpoint), profiles=profiles, now=NOW)
    return "; ".join(caught.value.reasons)


def why(endpoint: str = "create-infra-common-common", profiles: Profiles = PROFILES, **message) -> str:
    return reasons({"message": {"title": "Sale", "eventDate": "2026-05-04T09:00"} | message}, endpoint, profiles)


def seoul(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(SEOUL)).astimezone(UTC)


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("create-infra-mon-night", Endpoint(action=RequestAction.SCALE_OUT, target="infra", day="mon", band="night")),
        ("/delete-infra-common-common", Endpoint(action=RequestAction.SCALE_IN, target="infra")),
        ("create-my-app-2-holiday-b2", Endpoint(action=RequestAction.SCALE_OUT, target="my-app-2", day="holiday", band="b2")),
        ("create-infra-mon-mon-mon", Endpoint(action=RequestAction.SCALE_OUT, target="infra-mon", day="mon", band="mon")),
        ("delete-create-mon-night", Endpoint(action=RequestAction.SCALE_IN, target="create", day="mon", band="night")),
        ("event-delete-infra", Endpoint(action=RequestAction.DELETE, target="infra")),
        ("event-delete-infra-mon-night", Endpoint(action=RequestAction.DELETE, target="infra-mon-night")),
    ],
)  # fmt: skip
def test_an_endpoint_is_read_from_the_right(name: str, endpoint: Endpoint):
    assert parse_endpoint(name) == endpoint
    assert endpoint.name == name.strip("/")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "infra-mon-night",
        "create",
        "create-infra",
        "create-infra-night",
        "create-mon-night",
        "create--mon-night",
        "create-infra-mon-",
        "create-infra-monday-night",
        "create-Infra-mon-night",
        "create-infra-mon-Night",
        "create-2infra-mon-night",
        "create-infra--mon-night",
        f"create-{'a' * 31}-mon-night",
        "event-delete-",
        "event-delete-in_fra",
        "update-infra-mon-night",
        "create-infra-mon-night\n",
        "create-infra\n-mon-night",
    ],
)
def test_what_is_no_endpoint_is_refused_with_the_forms(name: str):
    with pytest.raises(RequestError, match="event-delete-<target>"):
        parse_endpoint(name)


targets = st.from_regex(r"[a-z]([-a-z0-9]{0,28}[a-z0-9])?", fullmatch=True)


@given(targets, st.sampled_from(DAYS), st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True), st.booleans())
def test_every_endpoint_is_read_back(target: str, day: str, band: str, out: bool):
    endpoint = Endpoint(
        action=RequestAction.SCALE_OUT if out else RequestAction.SCALE_IN,
        target=target,
        day=day,
        band=band,
    )
    assert parse_endpoint(endpoint.name) == endpoint
    deletion = Endpoint(action=RequestAction.DELETE, target=target)
    assert parse_endpoint(deletion.name) == deletion


def test_unknown_endpoints_are_told_what_is_known():
    assert unknown(parse_endpoint("create-infra-mon-night"), PROFILES) is None
    assert unknown(parse_endpoint("event-delete-infra"), PROFILES) is None
    assert unknown(parse_endpoint("event-delete-web"), PROFILES) == "there is no target web; known are infra"
    assert unknown(parse_endpoint("create-web-mon-night"), PROFILES) == "there is no target web; known are infra"
    assert (
        unknown(parse_endpoint("create-infra-mon-noon"), PROFILES)
        == "infra has no band noon on mon; known are common, dawn, morning, lunch, afternoon, evening, night"
    )
    assert unknown(parse_endpoint("create-infra-mon-early"), ABROAD) == "infra has no day mon; known are common"


def test_the_known_endpoints_are_all_answered_for():
    names = known_endpoints(PROFILES)
    assert len(names) == len(set(names)) == 2 * 63 + 1
    assert all(unknown(parse_endpoint(name), PROFILES) is None for name in names)


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        ("2026-05-04", "2026-05-04"),
        ("20260504", "2026-05-04"),
        (20260504, "2026-05-04"),
        (" 2026-05-04 ", "2026-05-04"),
        ("2026-05-04T09:00", "2026-05-04T09:00"),
        ("2026-05-04t09:00", "2026-05-04T09:00"),
        ("2026-05-04 09:00", "2026-05-04T09:00"),
        ("2026-05-04T09:00:00", "2026-05-04T09:00"),
        ("2026-05-04T09:00:00.000", "2026-05-04T09:00"),
        ("202605040900", "2026-05-04T09:00"),
        (202605040900, "2026-05-04T09:00"),
        ("20260504T0900", "2026-05-04T09:00"),
        ("20260504090000", "2026-05-04T09:00"),
        ("2026-05-04T09:00+09:00", "2026-05-04T09:00"),
        ("2026-05-04T09:00+0900", "2026-05-04T09:00"),
        ("2026-05-04T09:00+09", "2026-05-04T09:00"),
        ("2026-05-04T00:00:00Z", "2026-05-04T09:00"),
        ("2026-05-03T20:30:00-03:30", "2026-05-04T09:00"),
        ("2026-05-03T15:00:00.000z", "2026-05-04T00:00"),
        ("2024-02-29", "2024-02-29"),
    ],
)
def test_event_dates_have_one_form(value: object, canonical: str):
    assert canonical_event_date(value, SEOUL) == canonical


@pytest.mark.parametrize(
    "value",
    [
        "", "tomorrow", "2026-5-4", "2026/05/04", "04.05.2026", "2026-0504", "2026-02-30", "2026-13-01", "2025-02-29",
        "2026-05-04T24:00", "2026-05-04T09:60", "2026-05-04T09", "2026-05-04T09:00:30", "2026-05-04T09:00:00.5",
        "2026-05-04Z", "2026-05-04T09:00+15:00", "2026-05-04T09:00+09:75", "2026-05-04T09:00 KST", "1999-12-31",
        "0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00", "2026-05-04\n2026-05-05", "\uff12026-05-04", "2026-05-04T09:00{{x}}",
        0, -20260504, 2026, 20260504.0, True, None, [], {}, ["2026-05-04"], 10**15,
    ],
)  # fmt: skip
def test_what_is_no_event_date_is_refused(value: object):
    with pytest.raises(RequestError, match="eventDate"):
        canonical_event_date(value, SEOUL)


minutes = st.integers(0, 200 * 365 * 24 * 60).map(
    lambda n: (datetime(2000, 1, 2, tzinfo=UTC) + timedelta(minutes=n)).replace(tzinfo=None),
)
zones = st.sampled_from([SEOUL, "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "UTC"])


@given(minutes, zones)
def test_the_canonical_form_is_its_own(minute: datetime, zone: str):
    for text in (f"{minute:%Y-%m-%dT%H:%M}", f"{minute:%Y-%m-%d}"):
        assert canonical_event_date(text, zone) == text == fold.canonical_event_date(text)


@given(minutes, zones)
def test_all_forms_of_a_minute_are_the_same_event_for_us_and_for_the_fold(minute: datetime, zone: str):
    canonical = f"{minute:%Y-%m-%dT%H:%M}"
    for form in ("%Y%m%d%H%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:00", "%Y%m%dT%H%M", "%Y%m%d%H%M00"):
        assert canonical_event_date(f"{minute:{form}}", zone) == canonical
        assert fold.canonical_event_date(f"{minute:{form}}") == canonical
    assert canonical_event_date(int(f"{minute:%Y%m%d%H%M}"), zone) == canonical


@given(minutes, zones, st.integers(-14 * 4, 14 * 4))
def test_an_offset_changes_how_an_instant_is_written_and_not_which_it_is(minute: datetime, zone: str, quarters: int):
    instant = minute.replace(tzinfo=UTC)
    offset = timedelta(minutes=15 * quarters)
    sign = "-" if quarters < 0 else "+"
    text = f"{minute + offset:%Y-%m-%dT%H:%M}{sign}{abs(quarters) // 4:02}:{abs(quarters) % 4 * 15:02}"
    if 2000 <= (minute + offset).year < 2200:
        assert canonical_event_date(text, zone) == f"{instant.astimezone(ZoneInfo(zone)):%Y-%m-%dT%H:%M}"


def test_the_two_keys_that_are_sure_to_be_there_are_enough():
    assert asked() == ScaleRequest(
        request_id="fresh",
        action=RequestAction.SCALE_OUT,
        target="infra",
        event_date="2026-05-04T09:00",
        starts_at=seoul("2026-05-04T09:00"),
        title="Sale",
        requested_at=NOW.replace(microsecond=678000),
    )
    back = asked("delete-infra-common-common")
    assert (back.action, back.starts_at, back.ends_at) == (RequestAction.SCALE_IN, None, seoul("2026-05-04T09:00"))


def test_every_key_has_its_field():
    wanted = asked(
        "create-infra-mon-night",
        startsAt="2026-05-04 22:00",
        endsAt="2026-05-05T02:00+09:00",
        description=" Two lines\nof text ",
        owner="marketing",
        requestId="r-1",
        revision=3,
        requestedAt="2026-05-01T09:00:00.123456",
        nickname="left out",
    )
    assert (wanted.day, wanted.band, wanted.owner, wanted.request_id, wanted.revision) == (
        "mon",
        "night",
        "marketing",
        "r-1",
        3,
    )
    assert (wanted.starts_at, wanted.ends_at) == (seoul("2026-05-04T22:00"), seoul("2026-05-05T02:00"))
    assert wanted.description == "Two lines\nof text"
    assert wanted.requested_at == seoul("2026-05-01T09:00:00.123")
    assert "left out" not in repr(wanted)


def test_empty_optional_fields_are_absent():
    assert (
        asked(startsAt="", endsAt=None, description="", owner=" ", requestId="", revision="", requestedAt=None)
        == asked()
    )


@pytest.mark.parametrize(
    ("endpoint", "message", "starts", "ends"),
    [
        ("create-infra-mon-morning", {"eventDate": "2026-05-04"}, "2026-05-04T07:00", None),
        ("create-infra-mon-morning", {"eventDate": 20260504, "endsAt": "2026-05-04"}, "2026-05-04T07:00", "2026-05-04T11:00"),
        ("create-infra-mon-morning", {"eventDate": "x", "startsAt": "20260504"}, None, None),
        ("delete-infra-mon-morning", {"eventDate": "2026-05-04"}, None, "2026-05-04T11:00"),
        ("delete-infra-mon-night", {"eventDate": "2026-05-04"}, None, "2026-05-05T04:00"),
        ("delete-infra-mon-night", {"eventDate": "2026-05-04", "endsAt": "2026-05-04T23:30"}, None, "2026-05-04T23:30"),
        ("create-infra-mon-night", {"eventDate": "2026-12-31", "endsAt": "2026-12-31"}, "2026-12-31T22:00", "2027-01-01T04:00"),
        ("create-infra-mon-night", {"startsAt": "2026-05-04T22:30"}, "2026-05-04T22:30", None),
    ],
)  # fmt: skip
def test_a_date_alone_is_completed_by_the_hours_of_the_band(endpoint, message, starts, ends):
    if message["eventDate" if "eventDate" in message else "startsAt"] == "x":
        assert "eventDate 'x' is not a date" in why(endpoint, **message)
        return
    wanted = asked(endpoint, **message)
    assert (wanted.starts_at, wanted.ends_at) == (starts and seoul(starts), ends and seoul(ends))


def test_a_band_without_hours_needs_a_time():
    assert "there is no band noon" in why("create-infra-mon-noon", eventDate="2026-05-04")
    assert asked("create-infra-mon-noon", eventDate="2026-05-04T12:00").band == "noon"


def test_a_minute_that_clocks_skip_is_refused():
    told = why(profiles=ABROAD, startsAt="2026-03-08T02:30")
    assert told == "startsAt is 2026-03-08 02:30, but clocks in America/New_York skip that minute; choose another"
    assert "skip that minute" in why("create-infra-common-early", ABROAD, eventDate="2026-03-08")
    # As a mere name it does no harm, and an event under it must be possible to withdraw.
    assert asked("event-delete-infra", ABROAD, eventDate="2026-03-08T02:30").event_date == "2026-03-08T02:30"
    assert asked(profiles=ABROAD, startsAt="2026-03-08T03:00", eventDate="2026-03-08T02:30").starts_at is not None


def test_of_an_hour_that_is_there_twice_the_first_is_meant_unless_an_offset_says_otherwise():
    first = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert asked(profiles=ABROAD, eventDate="2026-11-01T01:30").starts_at == first
    second = asked(profiles=ABROAD, eventDate="2026-11-01T06:30Z")
    assert (second.event_date, second.starts_at) == ("2026-11-01T01:30", first + timedelta(hours=1))


@given(minutes, zones, st.sampled_from(["create", "delete"]))
def test_a_local_time_means_what_clocks_show_or_is_refused(minute: datetime, zone: str, verb: str):
    profiles = Profiles(zone=zone, bands=PROFILES.bands, by_name=PROFILES.by_name)
    text = f"{minute:%Y-%m-%dT%H:%M}"
    try:
        wanted = asked(f"{verb}-infra-common-common", profiles, eventDate=text)
    except RequestError as error:
        assert "skip that minute" in str(error)  # noqa: PT017
        aware = minute.replace(tzinfo=ZoneInfo(zone))
        assert aware.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) != minute
        return
    instant = wanted.starts_at if verb == "create" else wanted.ends_at
    assert instant is not None
    assert instant.utcoffset() == timedelta(0)
    assert f"{instant.astimezone(ZoneInfo(zone)):%Y-%m-%dT%H:%M}" == text == wanted.event_date


def test_a_deletion_needs_the_event_date_only():
    wanted = request_from_pa(
        {"message": {"eventDate": 20260504, "startsAt": "whatever"}},
        parse_endpoint("event-delete-infra"),
        profiles=PROFILES,
        now=NOW,
        origin="operator",
    )
    assert (wanted.action, wanted.event_date, wanted.title, wanted.origin) == (
        RequestAction.DELETE,
        "2026-05-04",
        "",
        "operator",
    )
    assert (wanted.starts_at, wanted.ends_at, wanted.day, wanted.band) == (None, None, "common", "common")
    assert reasons({"message": {"title": "x"}}, "event-delete-infra") == "eventDate is missing"


@pytest.mark.parametrize("body", [None, [], "text", 3, {}, {"message": None}, {"message": []}, {"Message": {}}])
def test_a_body_without_a_message_is_told_what_one_looks_like(body):
    assert '{"message": {"title":' in reasons(body)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"title": ""}, "title is missing"),
        ({"title": None}, "title is missing"),
        ({"title": 5}, "title must be text"),
        ({"title": "half \ud83d"}, "title contains half a character; type it again"),
        ({"owner": ["a"]}, "owner must be text"),
        ({"description": {}}, "description must be text"),
        ({"eventDate": None}, "eventDate is missing"),
        ({"eventDate": "2026-02-30"}, "eventDate '2026-02-30' does not exist; write it like 2026-05-04 or 2026-05-04T09:00"),
        ({"startsAt": "soon"}, "startsAt 'soon' is not a date; write it like 2026-05-04 or 2026-05-04T09:00"),
        ({"endsAt": "2026-05-04T10:00:30"}, "endsAt '2026-05-04T10:00:30' has seconds; only whole minutes can be planned"),
        ({"endsAt": "1026-05-04"}, "endsAt '1026-05-04' is not within 2000 to 2199"),
        ({"requestId": 1.5}, "requestId must be text"),
        ({"revision": "3"}, "revision '3' is not a whole number from 0"),
        ({"revision": True}, "revision 'True' is not a whole number from 0"),
        ({"revision": -1}, "revision '-1' is not a whole number from 0"),
        ({"revision": 2**63}, "revision '9223372036854775808' is not a whole number from 0"),
        ({"requestedAt": "now"}, "requestedAt 'now' is not a time; write it like 2026-05-04T09:00:00+09:00"),
        ({"requestedAt": 1777900000}, "requestedAt '1777900000' is not a time"),
        ({"requestedAt": "0001-01-01T00:00+14:00"}, "requestedAt '0001-01-01T00:00+14:00' is not a time"),
    ],
)  # fmt: skip
def test_each_wrong_field_is_told_in_words(message, reason: str):
    assert reason in why(**message)


def test_all_reasons_are_told_at_once():
    told = reasons({"message": {"eventDate": "someday", "endsAt": "later", "owner": 1, "revision": "x"}})
    for name in ("title", "eventDate", "endsAt", "owner", "revision"):
        assert name in told


def test_braces_and_control_characters_are_left_to_the_fold():
    wanted = asked(title="Sale {{x}}", description="a\x00b")
    assert (wanted.title, wanted.description) == ("Sale {{x}}", "a\x00b")
    refused = fold.refusal(wanted, NOW)
    assert refused is not None
    assert refused[0] == "template"


def test_a_sender_whose_clock_is_ahead_asked_now():
    assert asked(requestedAt="2030-01-01T00:00Z").requested_at == NOW.replace(microsecond=678000)


def test_request_ids():
    body = {"message": {"title": "Sale", "eventDate": "2026-05-04", "requestId": 17}}
    endpoint = parse_endpoint("create-infra-common-common")
    assert request_from_pa(body, endpoint, profiles=PROFILES, now=NOW).request_id == "17"
    assert request_from_pa(body, endpoint, profiles=PROFILES, now=NOW, request_id="header").request_id == "header"
    del body["message"]["requestId"]
    ids = {request_from_pa(body, endpoint, profiles=PROFILES, now=NOW).request_id for _ in range(3)}
    assert len(ids) == 3  # the same wish uttered again is a new request


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
keys = ["title", "eventDate", "startsAt", "endsAt", "owner", "description", "requestId", "revision", "requestedAt"]
messages = st.fixed_dictionaries(
    {},
    optional={key: json_values | st.sampled_from(["2026-05-04", "2026-05-04T09:00Z", 20260504, "x"]) for key in keys},
)


@given(
    json_values | st.fixed_dictionaries({"message": json_values | messages}),
    st.sampled_from(["create-infra-mon-night", "delete-infra-mon-night", "event-delete-infra"]),
)
def test_any_json_becomes_a_request_or_reasons(body, endpoint: str):
    try:
        wanted = request_from_pa(body, parse_endpoint(endpoint), profiles=PROFILES, now=NOW)
    except RequestError as error:
        assert error.reasons  # noqa: PT017  (either way is right)
        json.dumps(error.reasons, ensure_ascii=False).encode()
        return
    assert fold.canonical_event_date(wanted.event_date) == wanted.event_date
    assert wanted.requested_at <= NOW
    wanted.title.encode()


def write(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))


def body_of(title: str, **more):
    return {"message": {"title": title, "eventDate": "2026-05-04"}} | more


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    write(
        tmp_path,
        **{
            "02-create-infra-mon-night-retry": body_of("b"),
            "01-create-infra-mon-night": body_of("a"),
            "03_event-delete-infra-again": body_of("c"),
            "04-whatever": body_of("d"),
            "05-whatever": body_of("e", endpoint="/delete-infra-sun-dawn"),
            "06-delete-my-app-fri-lunch": [body_of("f"), body_of("g", endpoint="event-delete-my-app")],
        },
    )
    (tmp_path / "README.md").write_text("not a body")
    found = read_folder(tmp_path, date(2026, 5, 1), profiles=PROFILES)

    assert [(item.file, item.endpoint and item.endpoint.name, item.body["message"]["title"]) for item in found] == [
        ("01-create-infra-mon-night.json", "create-infra-mon-night", "a"),
        ("02-create-infra-mon-night-retry.json", "create-infra-mon-night", "b"),
        ("03_event-delete-infra-again.json", "event-delete-infra", "c"),
        ("04-whatever.json", "create-infra-common-common", "d"),
        ("05-whatever.json", "delete-infra-sun-dawn", "e"),
        ("06-delete-my-app-fri-lunch.json[1]", "delete-my-app-fri-lunch", "f"),
        ("06-delete-my-app-fri-lunch.json[2]", "event-delete-my-app", "g"),
    ]
    assert [item.note for item in found if item.note] == [
        "names no endpoint, so it is taken as create-infra-common-common",
    ]


@pytest.mark.parametrize(
    ("name", "endpoint", "assumed"),
    [
        ("Delete-Infra-Mon-Night", "delete-infra-mon-night", False),
        ("01_delete_infra_mon_night", "delete-infra-mon-night", False),
        ("01 create infra mon night (2)", "create-infra-mon-night", False),
        ("02-delete", "delete-infra-common-common", True),
        ("delete-spring-sale", "delete-infra-common-common", True),
        ("event-delete", "event-delete-infra", True),
        ("create-spring-sale", "create-infra-common-common", True),
        ("deleted-too-late", "create-infra-common-common", True),
    ],
)
def test_a_file_name_never_turns_a_scale_in_or_a_withdrawal_into_a_scale_out(tmp_path, name, endpoint, assumed):
    write(tmp_path, **{name: body_of("a")})
    (item,) = read_folder(tmp_path, date(2026, 5, 1), profiles=PROFILES)
    assert item.endpoint is not None
    assert item.endpoint.name == endpoint
    assert item.note == (f"names no endpoint, so it is taken as {endpoint}" if assumed else "")


def test_hidden_files_are_left_alone(tmp_path):
    write(tmp_path, a=body_of("a"), **{"._a": "what macOS puts beside a file"})
    assert [item.file for item in read_folder(tmp_path, date(2026, 5, 1))] == ["a.json"]


def test_an_unreadable_file_is_an_item_with_an_error(tmp_path):
    write(
        tmp_path,
        a="{",
        b=[],
        c=body_of("c", endpoint="nowhere"),
        e="[" * 100_000,
        f='{"message": {"revision": ' + "9" * 5000 + "}}",
        g=body_of("g"),
    )
    (tmp_path / "d.json").write_bytes(b"\xff\xfe{}")
    found = read_folder(tmp_path, date(2026, 5, 1))
    assert [bool(item.error) for item in found] == [True] * 6 + [False]
    assert found[0].error.startswith("is not JSON: line 1")
    assert [item.error for item in found[3:5]] == ["is not UTF-8 text", "is nested deeper than any event"]
    assert all(item.endpoint is None for item in found[:6])


def test_placeholders_count_from_today(tmp_path):
    write(tmp_path, a={"message": {"eventDate": "${today+5}T09:00", "n": [1, "${today}", "${today-1} ${today+x}"]}})
    (item,) = read_folder(tmp_path / "a.json", date(2026, 12, 30))
    assert item.body == {"message": {"eventDate": "2027-01-04T09:00", "n": [1, "2026-12-30", "2026-12-29 ${today+x}"]}}


def test_a_folder_without_bodies_is_told(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(RequestError, match="has no PA body in it"):
            read_folder(path, date(2026, 5, 1))
