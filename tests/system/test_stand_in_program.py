"""The stand-in for Argo's controller as a program of its own, run as a user runs it."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from peaktime.sandbox.clock import SandboxClock

NAME = "peaktime-create-infra-common-common-20260504"
STOP_ONCE = {"expression": "cronworkflow.succeeded + cronworkflow.failed >= 1"}
LATER = datetime(2099, 5, 4, 0, 0, tzinfo=UTC)
LATER_CHILD = f"{NAME}-{int(LATER.timestamp())}"


def cron(status=None, labels=None, annotations=None, called=NAME, **spec):
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "CronWorkflow",
        "metadata": {
            "name": called,
            "namespace": "peaktime",
            "uid": f"uid-{called}",
            "resourceVersion": "1",
            "labels": {"app.kubernetes.io/managed-by": "peaktime"} | (labels or {}),
            "annotations": annotations or {},
        },
        "spec": {
            "schedules": ["0 9 4 5 *"],
            "timezone": "Asia/Seoul",
            "concurrencyPolicy": "Forbid",
            "stopStrategy": STOP_ONCE,
            "workflowMetadata": {"labels": {"app.kubernetes.io/part-of": "peaktime"}},
            "workflowSpec": {
                "entrypoint": "main",
                "arguments": {"parameters": [{"name": "title", "value": "May"}]},
                "templates": [
                    {
                        "name": "main",
                        "steps": [[{"name": "a", "templateRef": {"name": "dd-app", "template": "start"}}]],
                    },
                ],
            },
        }
        | spec,
        **({"status": status} if status else {}),
    }


def put(folder, thing):
    metadata = thing["metadata"]
    (folder / f"{thing['kind'].lower()}.{metadata['namespace']}.{metadata['name']}.yaml").write_text(
        yaml.safe_dump(thing),
    )


@pytest.fixture
def clock(tmp_path):
    clock = SandboxClock(tmp_path / "clock.json")
    clock.advance_to(datetime(2099, 5, 3, 23, 0, tzinfo=UTC))
    return clock


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cluster").mkdir()
    return tmp_path / "cluster"


class TestProgram:
    def start(self, *options):
        return subprocess.Popen(
            [sys.executable, "-m", "peaktime.sandbox.argo", *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
        )

    @pytest.mark.usefixtures("clock")
    def test_it_fast_forwards_and_tells_each_step_as_json(self, folder, tmp_path):
        put(folder, cron())
        program = self.start(
            "--directory", folder, "--clock-file", tmp_path / "clock.json", "--fast-forward", "--settle", 0.02,
            "--run-seconds", 60, "--json",
        )  # fmt: skip
        out, err = program.communicate(timeout=30)
        assert (program.returncode, err) == (0, "")
        lines = [json.loads(line) for line in out.splitlines()]
        assert [line["event"] for line in lines] == [
            "ready", "advanced", "fired", "running", "advanced", "succeeded", "summary",
        ]  # fmt: skip
        assert {line["by"] for line in lines} == {"stand-in for Argo, no pod is run"}
        assert (lines[2]["cronWorkflow"], lines[2]["workflow"]) == (NAME, LATER_CHILD)
        assert datetime.fromisoformat(lines[2]["at"]) - LATER < timedelta(seconds=30)

    def test_it_ends_in_order_when_told_to(self, folder):
        program = self.start("--directory", folder)
        assert "ready" in program.stdout.readline()
        program.send_signal(signal.SIGTERM)
        out, err = program.communicate(timeout=30)
        assert (program.returncode, err) == (0, "")
        assert out.startswith("[stand-in for Argo, no pod is run]")
        assert "ended: stopped" in out

    @pytest.mark.parametrize(
        "options",
        [(), ("--directory", "x", "--in-cluster"), ("--directory", "x", "--fast-forward")],
    )
    def test_options_that_make_no_sense(self, options):
        program = self.start(*options)
        _, err = program.communicate(timeout=30)
        assert program.returncode == 2
        assert "give one of" in err or "needs --clock-file" in err

    def test_help_says_what_it_is(self):
        out, _ = self.start("--help").communicate(timeout=30)
        assert "STAND-IN for Argo" in out
        assert "No pod is run" in out
