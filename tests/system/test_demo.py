"""`peaktime demo` as a user runs it: a program, its exit status, what it prints and what it leaves behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psutil
import pytest
import yaml
from hera.workflows.models import CronWorkflow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "pa"
DEMO = [sys.executable, "-m", "peaktime", "demo"]
SEOUL = ZoneInfo("Asia/Seoul")
LINE = re.compile(r"\d\d-\d\d \d\d:\d\d:\d\d  (?P<kind>[A-Za-z]+) ")
#: A real set-up in the environment must not be reached by a demo.
ELSEWHERE = {"PEAKTIME_KAFKA_BOOTSTRAP": "127.0.0.1:1", "PEAKTIME_SLACK": "web", "PEAKTIME_SLACK_TOKEN": "xoxb-real"}


class Result:
    def __init__(self, process, output):
        self.status, self.text, self.output = process.returncode, process.stdout, output
        self.kinds = [found["kind"] for line in self.text.splitlines() if (found := LINE.match(line))]

    @property
    def summary(self):
        return json.loads((self.output / "summary.json").read_text(encoding="utf-8"))

    def lines(self, *parts):
        return [line for line in self.text.splitlines() if all(part in line for part in parts)]


def demo(folder, *arguments):
    output = folder / "demo-output"
    process = subprocess.run(
        [*DEMO, "--output", str(output), *arguments],
        cwd=folder,
        env={**os.environ, **ELSEWHERE},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    return Result(process, output)


def body(folder, name, **message):
    (folder / name).write_text(json.dumps({"message": message}, ensure_ascii=False), encoding="utf-8")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A demo with bodies and a feed of its own."""
    folder = tmp_path_factory.mktemp("own")
    pa = folder / "pa"
    pa.mkdir()
    now = datetime.now(SEOUL).replace(second=0, microsecond=0)
    day = now + timedelta(days=20)

    def at(instant):
        return instant.strftime("%Y-%m-%dT%H:%M")

    body(
        pa,
        "01-create-infra-common-common.json",
        title="열려 있는 행사",
        eventDate=at(now - timedelta(minutes=5)),
        endsAt=at(now + timedelta(hours=3)),
    )
    body(
        pa,
        "02-delete-infra-common-common.json",
        title="열려 있는 행사",
        eventDate=at(now - timedelta(minutes=5)),
        endsAt=at(now + timedelta(hours=3)),
    )
    body(pa, "03.json", title="no endpoint 🎉", eventDate=f"{day:%Y%m%d}")
    body(
        pa,
        "04-delete-infra-common-common.json",
        title="no endpoint 🎉",
        eventDate=int(f"{day:%Y%m%d}"),
        endsAt=f"{day:%Y-%m-%d}T20:00:00+09:00",
    )
    body(
        pa,
        "05-create-infra-mon-night.json",
        title="mine",
        eventDate=at(day + timedelta(days=1)),
        endsAt=at(day + timedelta(days=1, hours=1)),
        owner="kim",
    )
    body(pa, "06-create-infra-mon-night.json", title="theirs", eventDate=at(day + timedelta(days=1)), owner="lee")
    body(pa, "07-create-infra-common-common.json", title="long ago", eventDate="2024-01-01")
    body(pa, "08-create-infra-common-common.json", title="far", eventDate=at(now + timedelta(days=400)))
    body(pa, "09-create-infra-common-common.json", title="x" * 301, eventDate=at(day))
    body(pa, "10-create-infra-common-common.json", title="a {{b}}", eventDate=at(day + timedelta(days=3)))
    body(pa, "11-create-infra-common-common.json", title="no such day", eventDate="2026-13-45")
    body(pa, "12-create-infra-mon-brunch.json", title="no such band", eventDate=at(day))
    (pa / "13.json").write_text("{broken")
    (pa / "14.json").write_text("[1]")
    # On a Wednesday: a holiday at a weekend closes no clinic that was open, so it makes no peak.
    soon = now.date() + timedelta(days=7)
    holiday = soon + timedelta(days=(2 - soon.weekday()) % 7)
    (folder / "feed.ics").write_text(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\n"
        f"DTSTART;VALUE=DATE:{holiday:%Y%m%d}\r\nSUMMARY:창립기념일\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        encoding="utf-8",
    )
    return demo(folder, "--pa", "pa", "--feed", "feed.ics")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A demo with the examples."""
    return demo(tmp_path_factory.mktemp("plain"), "--pa", str(EXAMPLES))


def planned(result):
    return {
        file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in (result.output / "cluster").iterdir()
    }


def check_manifests(result):
    manifests = planned(result)
    assert set(manifests) == {one["name"] for one in result.summary["cronWorkflows"]}
    for name, manifest in manifests.items():
        model = CronWorkflow.model_validate(manifest)
        assert model.metadata.name == name
        assert not {"uid", "resourceVersion", "creationTimestamp"} & set(manifest["metadata"])
    for one in result.summary["cronWorkflows"]:
        assert manifests[one["name"]]["spec"]["schedules"] == [one["schedule"]]
        local = datetime.fromisoformat(one["firesAt"]).astimezone(ZoneInfo(one["timezone"]))
        assert one["schedule"] == f"{local.minute} {local.hour} {local.day} {local.month} *"
    return manifests


@pytest.mark.slow
def test_the_examples_go_the_whole_way(plain):
    summary = plain.summary
    assert summary["ok"]
    assert summary["faults"] == []
    assert summary["seconds"] < 60
    assert summary["requests"]["fromPa"] == len(list(EXAMPLES.glob("*.json"))) == summary["inputs"]["published"]
    assert summary["requests"]["fromCalendars"] == 2 * len(summary["peaks"])
    assert all(summary["verdicts"][kind] for kind in ("ACCEPTED", "REPLACED", "DUPLICATE", "WITHDRAWN", "REJECTED"))
    assert sum(summary["verdicts"].values()) == summary["requests"]["total"]
    assert {event["state"] for event in summary["events"]} >= {"withdrawn", "rejected"}
    assert summary["peaks"]
    assert summary["runs"]["started"] == summary["runs"]["succeeded"] >= 6
    assert summary["deadLetters"] == 0
    assert sum(summary["notifications"].values()) == summary["deliveries"]
    check_manifests(plain)


@pytest.mark.slow
def test_the_timeline_tells_the_way_of_an_event_in_order(plain):
    told = plain.lines("Spring sale")
    kinds = [LINE.match(line)["kind"] for line in told if LINE.match(line)]
    first = {kind: kinds.index(kind) for kind in ("request", "verdict", "CronWorkflow", "message", "run")}
    assert first["request"] < first["verdict"] < first["CronWorkflow"] < first["run"]
    assert first["verdict"] < first["message"] < first["run"]
    assert set(plain.kinds) >= {"request", "verdict", "CronWorkflow", "run", "message", "peak", "clock", "calendar"}
    assert plain.lines("STAND-IN", "FAST-FORWARDED")
    assert plain.lines("어린이날 선착순 쿠폰", "REPLACED")
    columns = {line.index(" REPLACED") for line in plain.lines("verdict", "REPLACED")}
    assert columns


@pytest.mark.slow
def test_cron_workflows_of_finished_runs_are_gone_and_their_workflows_stay(plain):
    live = {file.name.split(".")[0] for file in (plain.output / "live-cluster").glob("*.yaml")}
    counts, runs = plain.summary["cronWorkflowCounts"], plain.summary["runs"]
    crons = list((plain.output / "live-cluster").glob("cronworkflow.*.yaml"))
    workflows = list((plain.output / "live-cluster").glob("workflow.*.yaml"))
    assert "workflow" in live
    assert len(crons) == counts["stillScheduled"]
    assert len(workflows) == runs["started"]
    assert plain.lines("CronWorkflow", "removed", "its Workflow stays")


@pytest.mark.slow
def test_own_bodies_and_feed_whatever_is_in_them(own):
    summary = own.summary
    assert summary["faults"] == []
    events = {event["title"]: event for event in summary["events"]}
    assert events["열려 있는 행사"]["state"] == "done"
    assert events["no endpoint 🎉"]["state"] == "done"
    assert events["mine"]["verdicts"][-1]["verdict"] == "REJECTED"
    for title in ("long ago", "far", "x" * 301, "a {{b}}"):
        assert events[title]["state"] == "rejected"
        assert events[title]["verdicts"][0]["reason"]
    refused = {one["file"]: one["reason"] for one in summary["refused"]}
    assert len(refused) == 4 == summary["inputs"]["refusedAtGateway"]
    assert "no band brunch" in refused["12-create-infra-mon-brunch.json"]
    assert "does not exist" in refused["11-create-infra-common-common.json"]
    assert "is not JSON" in refused["13.json"]
    (peak,) = summary["peaks"]
    assert "창립기념일" in [day["name"] for day in peak["holidays"]]
    assert own.lines("note", "the feed ends with") or summary["calendars"]
    check_manifests(own)


@pytest.mark.slow
def test_a_run_that_is_late_is_started_once_the_clock_has_passed_its_grace(own):
    assert own.lines("clock", "so that what is late starts")
    started = own.lines("run", "열려 있는 행사", "started: scale-out")
    assert len(started) == 1
    assert own.lines("run", "열려 있는 행사", "succeeded: scale-in")


@pytest.mark.slow
def test_nothing_is_left_behind_when_it_is_interrupted(tmp_path):
    process = subprocess.Popen(
        [*DEMO, "--pa", str(EXAMPLES), "--output", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
        # A shell lets what it runs in the background ignore SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  (nothing else runs here)
    )
    children = []
    deadline = time.monotonic() + 60
    while len(children) < 2:
        assert time.monotonic() < deadline
        children = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


@pytest.mark.slow
def test_its_programs_end_even_if_it_is_killed(tmp_path):
    process = subprocess.Popen(
        [*DEMO, "--pa", str(EXAMPLES), "--output", str(tmp_path / "out")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    children = []
    deadline = time.monotonic() + 60
    while len(children) < 2:
        assert time.monotonic() < deadline
        children = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.05)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pa", "nowhere"], "nowhere: there is no such folder. Name a folder of PA bodies with --pa"),
        (
            ["--pa", "pa", "--feed", "nowhere.ics"],
            "feed nowhere.ics: there is no such file. Name an ICS file with --feed",
        ),
        (["--pa", "pa", "--output", "full"], "full: holds files that no demo left there, so it is not emptied"),
    ],
)
def test_a_wrong_input_is_one_line_and_nothing_is_touched(tmp_path, arguments, said):
    (tmp_path / "pa").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis").write_text("x")
    process = subprocess.run([*DEMO, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert process.returncode == 1
    assert said in process.stderr
    assert len(process.stderr.splitlines()) == 1
    assert (tmp_path / "full" / "thesis").exists()
