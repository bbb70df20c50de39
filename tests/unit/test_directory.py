"""The folder that stands for a cluster, with files in it that people wrote."""

import asyncio

import pytest
import yaml
from structlog.testing import capture_logs

from processors.reconcile.directory import Directory

LABELS = {"app.kubernetes.io/managed-by": "peaktime", "peaktime.io/target": "infra"}
BROKEN = ["{", "", "5", "kind: CronWorkflow\n", "kind: CronWorkflow\nmetadata: {}\n", "metadata: {name: x}\n"]


def write(folder, name, content=None):
    metadata = {"name": name, "namespace": "ns", "resourceVersion": "1", "labels": LABELS}
    text = yaml.safe_dump({"kind": "CronWorkflow", "metadata": metadata}) if content is None else content
    (folder / f"cronworkflow.ns.{name}.yaml").write_text(text, encoding="utf-8")


@pytest.fixture
async def cluster(tmp_path):
    opened = Directory(tmp_path)
    yield opened
    await opened.stop()


async def shows(cluster, *names):
    async with asyncio.timeout(10):
        while set(cluster.observed("infra", []).cron_workflows) != set(names):  # noqa: ASYNC110  (what is waited for is in files)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("content", BROKEN)
async def test_a_file_that_is_no_object_is_told_once_and_hides_no_other(cluster, tmp_path, content):
    write(tmp_path, "a")
    write(tmp_path, "b", content)
    write(tmp_path, "c")
    with capture_logs() as logs:
        await cluster.start(lambda _target: None)
        await shows(cluster, "a", "c")
        write(tmp_path, "d")
        await shows(cluster, "a", "c", "d")
    told = [entry["error"] for entry in logs if entry["event"] == "an object cannot be read"]
    assert len(told) == 1
    assert "cronworkflow.ns.b.yaml" in told[0]
    write(tmp_path, "b")
    await shows(cluster, "a", "b", "c", "d")


async def test_an_object_that_somebody_broke_stays_as_it_was_seen_until_it_is_removed(cluster, tmp_path):
    write(tmp_path, "a")
    write(tmp_path, "b")
    await cluster.start(lambda _target: None)
    await shows(cluster, "a", "b")
    write(tmp_path, "a", "{")
    write(tmp_path, "c")
    await shows(cluster, "a", "b", "c")
    (tmp_path / "cronworkflow.ns.a.yaml").unlink()
    await shows(cluster, "b", "c")
