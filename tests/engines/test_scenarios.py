"""What on-call engineers meet on a Monday morning, each told in a sentence: one worker, a real Kafka, a real API server.

The stand-in plays Argo's controller, on a clock that the tests put forward. Each test has a target of its own.
"""

import json
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import yaml
from support.rights import grant
from support.site import Site, eventually, request

from peaktime.core.runs import FIRES_AT, HANDS_OFF, PAUSED, TARGET
from peaktime.sandbox.argo_rules import OUTCOME, REFUSED, RUN_SECONDS
from peaktime.sandbox.clock import SandboxClock
from schemas.records import OutcomeKind, RequestAction, VerdictKind

API = "/apis/argoproj.io/v1alpha1/namespaces/{}/"
MERGE = "application/merge-patch+json"
GRACE = 2
LEVELS = {"common": 1, "morning": 2, "lunch": 2, "night": 3}
LONG = "a-target-with-a-really-long-n"
TARGETS = [
    "late", "missed", "refused", "argo", "suspended", "handsoff", "paused", "failing", "slow", "prolonged",
    "shortened", "deleted", "moved", "nested", "touching", "equal", "shared", "unready", "told", "alone", "variants",
    LONG,
]  # fmt: skip


def stamp(instant):
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def profiles_of(path, zone):
    """A profile for each target and band; one target's template is not there, another's runs are soon slow."""

    def stages(target):
        template = "not-there-yet" if target == "unready" else "scale-app"
        return {
            "stages": [
                [{"service": "account", "workflowTemplate": "scale-account", "template": "scale"}],
                [
                    {"service": "app", "workflowTemplate": template, "template": "scale"},
                    {"service": "web", "workflowTemplate": template, "template": "scale"},
                ],
            ],
        }

    profiles = [
        {
            "target": target,
            "days": ["common", "mon"],
            "bands": [band],
            "level": level,
            "expectedDuration": "2s" if target == "slow" else "10m",
            "scaleOut": stages(target),
            "scaleIn": stages(target),
        }
        for target in TARGETS
        for band, level in LEVELS.items()
    ]
    bands = {band: {"from": "09:00", "to": "18:00"} for band in LEVELS}
    path.write_text(yaml.safe_dump({"zone": zone, "bands": bands, "profiles": profiles}), encoding="utf-8")
    return path


class World(Site):
    """A site with a cluster, a controller and a clock."""

    def open(self, api, namespace):
        self.api, self.namespace = api, namespace
        self.clock = SandboxClock(self.folder / "clock.json")
        self.controller = None
        self.ensure_topics()
        for name in ("scale-account", "scale-app"):
            self.template(name, "scale")
        self.argo_starts()
        self.worker = self.start("worker")
        return self

    def argo_starts(self):
        arguments = ["--namespace", self.namespace, "--clock-file", str(self.folder / "clock.json")]
        self.controller = self.start(
            "stand-in", "--kubeconfig", str(self.api.kubeconfig()), *arguments, "--run-seconds", "0.2"
        )  # fmt: skip

    def template(self, name, *templates):
        body = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "WorkflowTemplate",
            "metadata": {"name": name},
            "spec": {"templates": [{"name": one, "suspend": {"duration": "1"}} for one in templates]},
        }
        self.api.call("POST", API.format(self.namespace) + "workflowtemplates", body)

    def _items(self, plural, target):
        found = self.api.call("GET", API.format(self.namespace) + plural)["items"]
        return {obj["metadata"]["name"]: obj for obj in found if obj["metadata"]["labels"][TARGET] == target}

    def crons(self, target):
        return self._items("cronworkflows", target)

    def workflows(self, target):
        return self._items("workflows", target)

    def patch(self, name, body):
        path = API.format(self.namespace) + f"cronworkflows/{name}"
        return self.api.call("PATCH", path, body, content_type=MERGE)

    def coming(self, minutes):
        """A whole minute of the world's clock, at least so many ahead."""
        return self.clock.now().replace(second=0, microsecond=0) + timedelta(minutes=minutes + 1)

    def at(self, instant):
        """Put the clock to just before an instant, so that it comes by itself."""
        self.clock.advance_to(instant - timedelta(seconds=1))

    def ask(self, target, starts, ends=None, **fields):
        asked = request(target=target, starts_at=starts, ends_at=ends, **fields)
        self.publish(asked)
        return asked

    def scale_in(self, target, at, **fields):
        self.ask(target, at, at, action=RequestAction.SCALE_IN, **fields)

    def delete(self, asked):
        self.publish(request(target=asked.target, starts_at=asked.starts_at, action=RequestAction.DELETE))

    def outcomes(self, target, kind=None):
        found = {o.outcome_id: o for o in self.records(self.catalogue.outcomes) if o.target == target}
        return [o for o in found.values() if kind in (None, o.kind)]

    def runs(self, target):
        """What began, in order: (level, action), as the log tells it."""
        begun = sorted(self.outcomes(target, OutcomeKind.STARTED), key=lambda o: o.fires_at)
        return [(o.level, "out" if o.action is RequestAction.SCALE_OUT else "in") for o in begun]

    def until_runs(self, target, *expected):
        assert eventually(f"{len(expected)} runs of {target}", lambda: len(self.runs(target)) >= len(expected))
        assert self.runs(target) == list(expected)

    def problem(self, target, code):
        """The message of an open problem."""
        facts = self.latest(self.catalogue.facts).values()
        found = [f for f in facts if f.target == target and f.outcome.code == code and f.state == "OPEN"]
        return found[0].outcome.message if found else None

    def has_problem(self, target, code):
        return eventually(f"the problem {code} of {target}", lambda: self.problem(target, code))

    def is_mended(self, target, code):
        eventually(f"the end of the problem {code} of {target}", lambda: self.problem(target, code) is None)

    def verdicts(self, target):
        return [e.verdict.kind for e in self.records(self.catalogue.entries) if e.target == target]


@pytest.fixture(scope="module")
def world(kafka, kubernetes_api, tmp_path_factory):
    with opened_world(kafka, kubernetes_api, tmp_path_factory.mktemp("scenarios")) as opened:
        yield opened


@contextmanager
def opened_world(kafka, kubernetes_api, folder, zone="Asia/Seoul", *, ahead=True):
    with kubernetes_api.new_namespace() as namespace:
        grant(kubernetes_api, namespace)
        opened = World(
            kafka.bootstrap,
            f"t{uuid.uuid4().hex[:8]}.",
            folder,
            namespace=namespace,
            kubeconfig=kubernetes_api.kubeconfig("peaktime"),
            **({"clock_file": folder / "clock.json"} if ahead else {}),
            zone=zone,
            profiles=profiles_of(folder / "profiles.yaml", zone),
            grace=GRACE,
            resync_interval=2,
            ready_before=30,
            remind_before=60,
            digest_at="00:00",
            link_template="https://argo.example/{namespace}/{workflow}",
        )
        try:
            yield opened.open(kubernetes_api, namespace)
        finally:
            opened.close()


def test_an_event_asked_for_when_it_is_under_way_is_started_at_once_under_argos_own_name(world):
    starts = world.coming(-6)
    world.ask("late", starts, world.coming(60))
    (name,) = eventually("its Workflow", lambda: world.workflows("late"))
    assert name.endswith(f"-{int(starts.timestamp())}")
    world.until_runs("late", (1, "out"))


def test_a_firing_that_the_controller_missed_is_made_good_and_not_repeated_when_it_is_back(world):
    starts = world.coming(5)
    world.ask("missed", starts, starts + timedelta(hours=3))
    eventually("both CronWorkflows", lambda: len(world.crons("missed")) == 1)
    world.controller.kill()
    world.at(starts)
    try:
        (name,) = eventually("its Workflow, from us", lambda: world.workflows("missed"))
        assert name.endswith(f"-{int(starts.timestamp())}")
    finally:
        world.argo_starts()
    eventually("its success", lambda: world.outcomes("missed", OutcomeKind.SUCCEEDED))
    assert list(world.workflows("missed")) == [name]


def test_a_run_that_the_controller_could_not_submit_is_started_by_us(world):
    starts = world.coming(5)
    world.ask("refused", starts, starts + timedelta(hours=3))
    ((name, _),) = eventually("the CronWorkflow", lambda: list(world.crons("refused").items()))
    world.patch(name, {"spec": {"workflowMetadata": {"annotations": {OUTCOME: REFUSED}}}})
    world.at(starts)
    eventually("what Argo says of it to be told", lambda: world.outcomes("refused", OutcomeKind.PROBLEM_OPENED))
    world.until_runs("refused", (1, "out"))
    assert len(world.workflows("refused")) == 1


def test_what_argo_does_not_take_is_told_while_it_can_be_mended(world):
    starts = world.coming(600)
    world.ask("argo", starts)
    ((name, _),) = eventually("the CronWorkflow", lambda: list(world.crons("argo").items()))
    world.patch(name, {"spec": {"when": "{{= somebody's}}"}})
    assert "SpecError" in world.has_problem("argo", "refused-by-argo")
    world.patch(name, {"spec": {"when": None}})
    world.is_mended("argo", "refused-by-argo")


def test_one_suspended_by_hand_is_reported_and_never_started(world):
    starts = world.coming(20)
    world.ask("suspended", starts, starts + timedelta(hours=3))
    ((name, _),) = eventually("the CronWorkflow", lambda: list(world.crons("suspended").items()))
    world.patch(name, {"spec": {"suspend": True}})
    assert "suspended by hand" in world.has_problem("suspended", "not-ready")
    world.at(starts + timedelta(seconds=GRACE))
    world.has_problem("suspended", "suspended")
    assert world.workflows("suspended") == {}
    world.patch(name, {"spec": {"suspend": False}})
    world.until_runs("suspended", (1, "out"))
    world.is_mended("suspended", "suspended")


@pytest.mark.parametrize("part", ["labels", "annotations"])
def test_an_object_marked_hands_off_is_left_alone_and_reported_until_the_mark_goes(world, part):
    starts = world.coming(600)
    asked = world.ask("handsoff", starts)
    (name,) = eventually("the CronWorkflow", lambda: world.crons("handsoff"))
    world.patch(name, {"metadata": {part: {HANDS_OFF: "true"}}})
    world.has_problem("handsoff", "hands-off")
    world.patch(name, {"spec": {"timezone": "UTC"}})
    world.delete(asked)
    eventually("the withdrawal", lambda: VerdictKind.WITHDRAWN in world.verdicts("handsoff"))
    assert world.crons("handsoff")[name]["spec"]["timezone"] == "UTC"
    world.patch(name, {"metadata": {part: {HANDS_OFF: None}}})
    eventually("it to be gone, as nobody wants it", lambda: not world.crons("handsoff"))
    world.is_mended("handsoff", "hands-off")


def test_a_paused_target_is_suspended_and_starts_nothing_until_it_is_resumed(world):
    starts = world.coming(10)
    world.ask("paused", starts, starts + timedelta(hours=3))
    eventually("the CronWorkflow", lambda: world.crons("paused"))
    told = world.run("pause", "paused", "--owner", "jun", "--why", "database is down")
    assert told.returncode == 0, told.stderr
    (cron,) = eventually(
        "it to be suspended",
        lambda: [c for c in world.crons("paused").values() if c["spec"].get("suspend")],
    )
    assert cron["metadata"]["annotations"][PAUSED] == "jun: database is down"
    assert "paused by jun" in world.has_problem("paused", "not-ready")
    world.at(starts + timedelta(seconds=GRACE))
    assert "database is down" in world.has_problem("paused", "paused")
    later = world.coming(600)
    world.ask("paused", later)
    eventually("what is asked for meanwhile, suspended", lambda: len(world.crons("paused")) == 1)
    assert [c["spec"]["suspend"] for c in world.crons("paused").values()] == [True]
    assert world.workflows("paused") == {}
    told = world.run("resume", "paused", "--owner", "jun", "--why", "it is up again")
    assert told.returncode == 0, told.stderr
    world.until_runs("paused", (1, "out"))
    eventually("the rest to run again", lambda: not any(c["spec"]["suspend"] for c in world.crons("paused").values()))
    world.is_mended("paused", "paused")


def test_a_failed_run_says_what_failed_with_a_link_and_can_be_run_again(world):
    starts = world.coming(5)
    world.ask("failing", starts, starts + timedelta(hours=3))
    ((name, _),) = eventually("the CronWorkflow", lambda: list(world.crons("failing").items()))
    world.patch(name, {"spec": {"workflowMetadata": {"annotations": {OUTCOME: "Failed"}}}})
    world.at(starts)
    (failed,) = eventually("its failure", lambda: world.outcomes("failing", OutcomeKind.FAILED))
    assert failed.message
    assert failed.finished_at >= failed.started_at
    assert failed.link == f"https://argo.example/{world.namespace}/{failed.workflow}"
    assert world.runs("failing") == [(1, "out")]
    told = world.run("rerun", failed.workflow, "--owner", "jun", "--why", "the quota is raised", "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["target"] == "failing"
    world.until_runs("failing", (1, "out"), (1, "out"))
    eventually("its success", lambda: world.outcomes("failing", OutcomeKind.SUCCEEDED))
    assert len(world.workflows("failing")) == 2


def test_running_again_what_nobody_wants_is_refused_in_words(world):
    starts = world.coming(5)
    asked = world.ask("alone", starts, starts + timedelta(minutes=5))
    world.scale_in("alone", starts + timedelta(minutes=5), event_date=asked.event_date)
    world.at(starts)
    world.until_runs("alone", (1, "out"))
    world.at(starts + timedelta(minutes=5))
    world.until_runs("alone", (1, "out"), (0, "in"))
    (first, _) = sorted(world.workflows("alone"), key=lambda name: name.rpartition("-")[2])
    told = world.run("rerun", first, "--owner", "jun", "--why", "once more")
    assert told.returncode == 0, told.stderr
    assert "undone at once" in world.has_problem("alone", "no-rerun")
    assert len(world.workflows("alone")) == 2
    told = world.run("rerun", "nothing-of-ours-1", "--owner", "jun", "--why", "x")
    assert (told.returncode, told.stdout) == (1, "")
    assert "no such run is known" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_run_that_takes_longer_than_its_profile_expects_is_told_once(world):
    starts = world.coming(5)
    world.ask("slow", starts, starts + timedelta(hours=3))
    ((name, _),) = eventually("the CronWorkflow", lambda: list(world.crons("slow").items()))
    world.patch(name, {"spec": {"workflowMetadata": {"annotations": {RUN_SECONDS: "4"}}}})
    world.at(starts)
    eventually("its success", lambda: world.outcomes("slow", OutcomeKind.SUCCEEDED))
    kinds = [o.kind for o in world.outcomes("slow") if o.subject.startswith("run/")]
    assert kinds == [OutcomeKind.SCHEDULED, OutcomeKind.STARTED, OutcomeKind.SLOW, OutcomeKind.SUCCEEDED]


def test_three_events_within_one_another_step_up_and_down_and_scale_in_once(world):
    starts = world.coming(5)
    minute = timedelta(minutes=1)
    for number, (band, begin, end) in enumerate([("common", 0, 60), ("morning", 10, 50), ("night", 20, 40)]):
        asked = world.ask("nested", starts + begin * minute, starts + end * minute, band=band, title=f"event {number}")
        world.scale_in("nested", starts + end * minute, band=band, event_date=asked.event_date, title=asked.title)
    eventually("all of them", lambda: len(world.crons("nested")) == 6)
    expected = [(1, "out"), (2, "out"), (3, "out"), (2, "out"), (1, "out"), (0, "in")]
    for number, at in enumerate((0, 10, 20, 40, 50, 60), start=1):
        world.at(starts + at * minute)
        world.until_runs("nested", *expected[:number])
    eventually("nothing to be left", lambda: not world.crons("nested"))


def test_events_that_touch_pass_over_to_one_another_without_a_scale_in_between(world):
    starts = world.coming(5)
    middle, ends = starts + timedelta(minutes=10), starts + timedelta(minutes=20)
    for begin, end, band in ((starts, middle, "night"), (middle, ends, "common")):
        asked = world.ask("touching", begin, end, band=band)
        world.scale_in("touching", end, band=band, event_date=asked.event_date)
    eventually("three firings", lambda: len(world.crons("touching")) == 3)
    for at, expected in ((starts, 1), (middle, 2), (ends, 3)):
        world.at(at)
        world.until_runs("touching", *[(3, "out"), (1, "out"), (0, "in")][:expected])


def test_of_equal_levels_the_later_start_is_in_force_and_events_of_other_origins_count_alike(world):
    starts = world.coming(5)
    minute = timedelta(minutes=1)
    asked = world.ask("equal", starts, starts + 20 * minute, band="morning")
    world.scale_in("equal", starts + 20 * minute, band="morning", event_date=asked.event_date)
    world.ask("equal", starts + 5 * minute, starts + 10 * minute, band="lunch", origin="operator", owner="jun")
    eventually("all of them", lambda: len(world.crons("equal")) == 4)
    expected = [(2, "out"), (2, "out"), (2, "out"), (0, "in")]
    for number, at in enumerate((0, 5, 10, 20), start=1):
        world.at(starts + at * minute)
        world.until_runs("equal", *expected[:number])


def test_the_two_actions_of_an_event_may_have_different_variants(world):
    starts = world.coming(5)
    ends = starts + timedelta(minutes=10)
    asked = world.ask("variants", starts, ends, band="night")
    world.scale_in("variants", ends, day="mon", band="lunch", event_date=asked.event_date)
    names = eventually("both", lambda: len(world.crons("variants")) == 2 and sorted(world.crons("variants")))
    assert [name.rsplit("-", 1)[0] for name in names] == [
        "peaktime-create-variants-common-night",
        "peaktime-delete-variants-mon-lunch",
    ]
    world.at(starts)
    world.until_runs("variants", (3, "out"))
    world.at(ends)
    world.until_runs("variants", (3, "out"), (0, "in"))


def test_names_that_would_be_too_long_are_cut_and_run_all_the_same(world):
    starts = world.coming(5)
    world.ask(LONG, starts, starts + timedelta(hours=1), band="morning")
    (name,) = eventually("the CronWorkflow", lambda: world.crons(LONG))
    assert len(name) <= 52
    world.at(starts)
    world.until_runs(LONG, (2, "out"))


def test_fields_of_others_stay_and_what_they_change_of_ours_is_taken_back_by_name(world):
    starts = world.coming(600)
    world.ask("shared", starts)
    ((name, cron),) = eventually("the CronWorkflow", lambda: list(world.crons("shared").items()))
    path = API.format(world.namespace) + f"cronworkflows/{name}"
    change = {
        "spec": {"schedules": ["0 0 1 1 *"], "failedJobsHistoryLimit": 9},
        "metadata": {"labels": {"team": "ops"}},
    }
    world.api.call("PATCH", path, change, content_type=MERGE, fieldManager="team-ops")
    back = eventually(
        "the schedule to be back",
        lambda: (c := world.crons("shared")[name])["spec"]["schedules"] == cron["spec"]["schedules"] and c,
    )
    assert (back["spec"]["failedJobsHistoryLimit"], back["metadata"]["labels"]["team"]) == (9, "ops")
    eventually("the log to name them", lambda: "team-ops" in world.worker.said())


def test_half_an_hour_before_the_peak_a_missing_template_is_a_problem_and_no_more_once_it_is_there(world):
    starts = world.coming(90)
    world.ask("unready", starts, starts + timedelta(hours=1))
    eventually("the CronWorkflow", lambda: world.crons("unready"))
    eventually("SCHEDULED", lambda: world.outcomes("unready", OutcomeKind.SCHEDULED))
    assert world.problem("unready", "not-ready") is None
    world.at(starts - timedelta(minutes=29))
    assert "there is no WorkflowTemplate not-there-yet" in world.has_problem("unready", "not-ready")
    world.template("not-there-yet", "scale")
    world.is_mended("unready", "not-ready")


def test_people_are_told_the_settings_the_coming_days_and_an_hour_before(world):
    starts = world.coming(90)
    world.ask("told", starts, starts + timedelta(hours=1), title="봄 행사")
    (digest,) = eventually("the digest", lambda: world.outcomes("told", OutcomeKind.DIGEST))
    assert "scale-out to level 1: 봄 행사 (kim)" in digest.message
    (configured,) = world.outcomes("told", OutcomeKind.CONFIGURED)
    assert json.loads(configured.details["profiles"])["told-common-night"]["scale_out"]["level"] == 3
    world.at(starts - timedelta(minutes=60))
    (reminder,) = eventually("the reminder", lambda: world.outcomes("told", OutcomeKind.REMINDER))
    assert reminder.fires_at == starts


@pytest.fixture(scope="module")
def present(kafka, kubernetes_api, tmp_path_factory):
    """A world on the real clock: what happens in the midst of a window is judged by the log's own time."""
    with opened_world(kafka, kubernetes_api, tmp_path_factory.mktemp("present"), ahead=False) as opened:
        yield opened


def under_way(world, target):
    """An event that began a minute ago and has been scaled out for, with its scale-in an hour from now."""
    starts = world.coming(-2)
    ends = starts + timedelta(minutes=60)
    asked = world.ask(target, starts, ends)
    world.scale_in(target, ends, event_date=asked.event_date)
    world.until_runs(target, (1, "out"))
    eventually("its success", lambda: world.outcomes(target, OutcomeKind.SUCCEEDED))
    return asked


def test_an_event_prolonged_while_it_goes_on_is_scaled_in_at_its_new_end(present):
    asked = under_way(present, "prolonged")
    later = asked.ends_at + timedelta(minutes=60)
    present.scale_in("prolonged", later, event_date=asked.event_date)

    def only_the_new_one():
        crons = [c for c in present.crons("prolonged").values() if c["metadata"]["name"].startswith("peaktime-delete")]
        return [c["metadata"]["annotations"][FIRES_AT] for c in crons] == [stamp(later)]

    eventually("the new scale-in alone", only_the_new_one)
    assert present.runs("prolonged") == [(1, "out")]


def test_an_event_shortened_into_the_past_is_scaled_in_now(present):
    asked = under_way(present, "shortened")
    present.scale_in("shortened", asked.starts_at + timedelta(minutes=1), event_date=asked.event_date)
    present.until_runs("shortened", (1, "out"), (0, "in"))
    eventually("nothing to be left", lambda: not present.crons("shortened"))


def test_an_event_deleted_while_it_goes_on_is_scaled_in_now(present):
    asked = under_way(present, "deleted")
    present.delete(asked)
    present.until_runs("deleted", (1, "out"), (0, "in"))
    eventually("nothing to be left", lambda: not present.crons("deleted"))


def test_an_event_moved_to_later_while_it_goes_on_is_scaled_in_now_and_out_again_then(present):
    asked = under_way(present, "moved")
    later = present.coming(120)
    ends = later + timedelta(minutes=10)
    present.publish(request(target="moved", event_date=asked.event_date, starts_at=later, ends_at=ends))
    present.until_runs("moved", (1, "out"), (0, "in"))

    def both_again():
        return sorted(c["metadata"]["annotations"][FIRES_AT] for c in present.crons("moved").values()) == [
            stamp(later),
            stamp(ends),
        ]

    eventually("both for the new time", both_again)


def test_where_the_clock_shows_an_hour_twice_or_never_a_run_fires_at_the_instant_that_is_meant(
    kafka, kubernetes_api, tmp_path
):
    zone = ZoneInfo("America/New_York")
    with opened_world(kafka, kubernetes_api, tmp_path, "America/New_York") as world:
        year = world.clock.now().year + 1
        skipped = next_change(zone, datetime(year, 1, 1, tzinfo=UTC))
        world.clock.advance_to(skipped - timedelta(days=20))
        doubled = next_change(zone, skipped + timedelta(days=1))
        spring, first, second = skipped, doubled - timedelta(minutes=30), doubled + timedelta(minutes=30)
        for at, target in ((spring, "told"), (first, "late"), (second, "moved")):
            world.ask(target, at, at + timedelta(minutes=10))
        for at, target in ((spring, "told"), (first, "late"), (second, "moved")):
            ((name, cron),) = eventually("the CronWorkflow", lambda t=target: world.crons(t).items())
            assert cron["spec"]["timezone"] == ("America/New_York" if at is spring else "UTC")
            world.at(at)
            world.until_runs(target, (1, "out"))
            assert list(world.workflows(target)) == [f"{name}-{int(at.timestamp())}"]
        assert first.astimezone(zone).strftime("%H:%M") == second.astimezone(zone).strftime("%H:%M")


def next_change(zone, after):
    """The first whole hour after an instant at which a zone's offset changes (UTC)."""
    hour = timedelta(hours=1)
    while after.astimezone(zone).utcoffset() == (after - hour).astimezone(zone).utcoffset():
        after += hour
    return after
