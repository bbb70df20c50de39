from itertools import product
from pathlib import Path

import pytest
import yaml

from peaktime.core.capacity import Band, Step, Way
from peaktime.errors import ProfilesError
from peaktime.profiles import DAYS, load_profiles, parse_profiles

ALL_BANDS = ("common", "dawn", "morning", "lunch", "afternoon", "evening", "night")

SMALL = """
zone: Asia/Seoul
bands:
  common: {from: "09:00", to: 18:00}
  night: {from: 22:00, to: 06:00}
defaults: {namespace: peaks, ttl: 2d, startingDeadline: 90s}
profiles:
  - target: infra
    days: [common, mon]
    bands: [common, night]
    level: 2
    returnsTo: 1
    scaleOut: {stages: [[{service: account, workflowTemplate: dd-account, template: scaleOut, parameters: {size: "3"}}], [{service: app, workflowTemplate: dd-app.v2, template: out}]]}
    scaleIn: {stages: [[{service: app, workflowTemplate: dd-app.v2, template: in}, {service: account, workflowTemplate: dd-account, template: in}]]}
  - target: shop-2
    days: [holiday]
    bands: [common]
    level: 1
    serviceAccount: runs
    expectedDuration: 1h
    ttl: 10m
    scaleOut: {stages: [[{service: web, workflowTemplate: web, template: out}]]}
    scaleIn: {stages: [[{service: web, workflowTemplate: web, template: in}]]}
"""


def faults(change=None, text=SMALL):
    """What the file is refused for, after a change of the parsed file."""
    data = yaml.safe_load(text.replace("18:00", '"18:00"').replace("22:00", '"22:00"').replace("06:00", '"06:00"'))
    if change is not None:
        change(data)
        text = yaml.safe_dump(data)
    with pytest.raises(ProfilesError) as caught:
        parse_profiles(text, "my.yaml")
    assert str(caught.value).startswith("my.yaml: ")
    return caught.value.reason.split("; ")


def test_a_small_file_becomes_profiles():
    profiles = parse_profiles(SMALL, "my.yaml")

    assert profiles.zone == "Asia/Seoul"
    assert profiles.bands["night"] == Band(name="night", start_minute=22 * 60, end_minute=6 * 60)
    assert set(profiles.by_name) == {
        "infra-common-common",
        "infra-common-night",
        "infra-mon-common",
        "infra-mon-night",
        "shop-2-holiday-common",
    }
    infra = profiles.find("infra", "mon", "night")
    assert infra is not None
    assert infra.name == "infra-mon-night"
    assert infra.scale_out == Way(
        level=2,
        stages=(
            (Step(service="account", workflow_template="dd-account", template="scaleOut", parameters={"size": "3"}),),
            (Step(service="app", workflow_template="dd-app.v2", template="out"),),
        ),
    )
    assert infra.scale_in.level == 1
    assert [step.service for step in infra.scale_in.stages[0]] == ["app", "account"]
    assert (infra.namespace, infra.service_account, infra.ttl_seconds) == ("peaks", "", 2 * 24 * 3600)
    assert (infra.starting_deadline_seconds, infra.expected_seconds) == (90, 600)


def test_a_profile_states_its_own_instead_of_the_defaults():
    shop = parse_profiles(SMALL, "my.yaml").find("shop-2", "holiday", "common")
    assert shop is not None
    assert (shop.namespace, shop.service_account, shop.ttl_seconds, shop.expected_seconds) == (
        "peaks",
        "runs",
        600,
        3600,
    )
    assert shop.scale_in.level == 0


def test_the_sample_covers_infra_on_every_day_in_every_band():
    profiles = load_profiles(None)

    assert {(p.target, p.day, p.band) for p in profiles.by_name.values()} == set(product(["infra"], DAYS, ALL_BANDS))
    assert set(profiles.bands) == set(ALL_BANDS)
    for profile in profiles.by_name.values():
        out = [[step.workflow_template for step in stage] for stage in profile.scale_out.stages]
        back = [[step.workflow_template for step in stage] for stage in profile.scale_in.stages]
        assert out == [["dd-account-batch-start"], ["dd-app-batch-start"]]
        assert back == [["dd-account-batch-stop"], ["dd-app-batch-stop"]]


def test_in_the_sample_mornings_and_holidays_are_higher():
    level = {name: profile.scale_out.level for name, profile in load_profiles(None).by_name.items()}
    assert level["infra-mon-night"] < level["infra-mon-morning"] < level["infra-holiday-morning"]
    assert level["infra-common-common"] < level["infra-holiday-common"] < level["infra-holiday-morning"]


def test_a_file_is_read_from_its_path(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(SMALL)
    assert load_profiles(path) == parse_profiles(SMALL, "mine.yaml")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ProfilesError, match=r"none\.yaml: cannot be read: No such file"):
        load_profiles(tmp_path / "none.yaml")


def test_a_file_that_is_not_text_is_named(tmp_path: Path):
    path = tmp_path / "profiles.yaml"
    path.write_bytes(b"zone: \xff")
    with pytest.raises(ProfilesError, match="is not UTF-8 text"):
        load_profiles(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must be a mapping"),
        ("- a", "must be a mapping"),
        ("a: [", "is not valid YAML: line 1"),
        ("zone: a\nzone: b", "is not valid YAML: line 2, column 1: the key 'zone' is there twice"),
        ("? [a]\n: b", "a key must be plain text"),
        ("zone: !!int x", "is not valid YAML"),
        ("zone: !!python/object:os.system x", "is not valid YAML"),
        ("zone: \x00", "is not valid YAML"),
        ("&a [*a]", "nests itself"),
    ],
)
def test_what_is_no_profiles_file_at_all(text: str, reason: str):
    with pytest.raises(ProfilesError) as caught:
        parse_profiles(text, "my.yaml")
    assert reason in caught.value.reason


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(data):
        for part in path:
            data = data[part]
        data[last] = value

    return change


STEP = ("profiles", 0, "scaleOut", "stages", 1, 0)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (put("zone", "Asia/Soul"), "zone: is not a known time zone; write it like Asia/Seoul"),
        (put("zone", "../etc"), "zone: is not a time zone; write it like Asia/Seoul"),
        (put("colour", "red"), "colour: is not a known key"),
        (put("profiles", []), "profiles: must not be empty"),
        (put("profiles", {}), "profiles: must be a list"),
        (put("profiles", 1, "infra"), "profiles[1]: must be a mapping"),
        (put("bands", "common", "from", "9:00"), 'bands.common.from: must be a time of day like "09:00", up to "23:59"'),
        (put("bands", "common", "to", "24:00"), 'bands.common.to: must be a time of day like "09:00", up to "23:59"'),
        (put("bands", "early-bird", {"from": "06:00", "to": "07:00"}), "bands.early-bird: a band's name must be lower-case letters and digits without a hyphen, at most 20"),
        (put("defaults", "ttl", "0s"), "defaults.ttl: must be a duration like 90s, 10m, 2h or 7d"),
        (put("defaults", "ttl", 600), "defaults.ttl: must be a duration like 90s, 10m, 2h or 7d"),
        (put("defaults", "ttl", "999999d"), "defaults.ttl: is too long"),
        (put("defaults", "namespace", "Peaks"), "defaults.namespace: must be a name by RFC 1123: lower-case letters, digits and inner hyphens, at most 63"),
        (put("profiles", 1, "serviceAccount", "a_b"), "profiles[1].serviceAccount: must be a name by RFC 1123: lower-case letters, digits, inner hyphens and dots, at most 253"),
        (put("profiles", 0, "target", "Infra"), "profiles[0].target: must be lower-case letters, digits and inner hyphens, begin with a letter, at most 30"),
        (put("profiles", 0, "target", "a" * 31), "profiles[0].target: must be lower-case letters, digits and inner hyphens, begin with a letter, at most 30"),
        (put("profiles", 0, "days", ["monday"]), f"profiles[0].days[0]: must be one of {', '.join(DAYS)}"),
        (put("profiles", 0, "days", []), "profiles[0].days: must not be empty"),
        (put("profiles", 0, "bands", ["common", "noon"]), "profiles[0].bands[1]: noon is not among the file's bands"),
        (put("profiles", 0, "level", -1), "profiles[0].level: should be greater than or equal to 0"),
        (put("profiles", 0, "level", 1.5), "profiles[0].level: must be a whole number"),
        (put("profiles", 0, "level", 1), "profiles[0].level: must be above returnsTo, which is 1"),
        (put(*STEP, "template", "a b"), "profiles[0].scaleOut.stages[1][0].template: must be letters, digits and hyphens, beginning with a letter or digit"),
        (put(*STEP, "workflowTemplate", "dd_app"), "profiles[0].scaleOut.stages[1][0].workflowTemplate: must be a name by RFC 1123: lower-case letters, digits, inner hyphens and dots, at most 253"),
        (put(*STEP, "parameters", {"size": 3}), "profiles[0].scaleOut.stages[1][0].parameters.size: must be text"),
        (put(*STEP, "parameters", {"size": "{{x}}"}), "profiles[0].scaleOut.stages[1][0].parameters.size: must not contain {{, which Argo would evaluate"),
        (put("profiles", 0, "scaleOut", "stages", [[]]), "profiles[0].scaleOut.stages[0]: must not be empty"),
        (put("profiles", 0, "scaleOut", "stages", []), "profiles[0].scaleOut.stages: must not be empty"),
        (put(*STEP, "service", "account"), "profiles[0].scaleOut: names the service account twice"),
        (put(*STEP, "service", "web"), "profiles[0].scaleIn: covers account, app, but profiles[0].scaleOut covers account, web: all profiles of infra cover the same services"),
        (put("profiles", 0, "days", ["mon", "mon"]), "profiles[0]: infra-mon-common is stated twice (first by profiles[0])"),
    ],
)  # fmt: skip
def test_each_fault_has_its_place_and_reason(change, fault: str):
    told = "; ".join(faults(change))
    assert fault in told


def test_the_same_profile_in_two_items_is_a_fault():
    def change(data):
        data["profiles"][1] |= {"target": "infra", "days": ["mon"]}
        for way in ("scaleOut", "scaleIn"):
            data["profiles"][1][way] = data["profiles"][0][way]

    assert faults(change) == ["profiles[1]: infra-mon-common is stated twice (first by profiles[0])"]


def test_the_band_common_must_be_there():
    def change(data):
        del data["bands"]["common"]

    assert "bands.common: is missing" in faults(change)


def test_all_faults_are_told_at_once():
    def change(data):
        data["zone"] = "Mars"
        data["profiles"][0]["level"] = 0
        data["profiles"][1]["scaleOut"]["stages"][0][0]["template"] = "{{=env}}"
        del data["profiles"][1]["target"]

    told = faults(change)
    for place in (
        "zone: ",
        "profiles[0].level: ",
        "profiles[1].scaleOut.stages[0][0].template: ",
        "profiles[1].target: ",
    ):
        assert any(fault.startswith(place) for fault in told), place


def test_hours_need_no_quotes():
    assert parse_profiles(SMALL, "my.yaml").bands["common"].end_minute == 18 * 60
