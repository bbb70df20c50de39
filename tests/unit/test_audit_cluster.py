"""The cluster's part of an audit where there is no cluster: said, and no error; where one is named, an error."""

import pytest
from kubernetes.aio import config

from peaktime.cli.audit_cluster import compare_cluster
from peaktime.errors import ClusterError
from peaktime.settings import Settings
from processors.replay.findings import Report
from processors.replay.report import report_json, report_lines


@pytest.fixture
def nowhere(monkeypatch):
    """No pod, and no default kubeconfig."""

    def missing(**_):
        raise config.ConfigException("nothing is configured")

    async def missing_file(**_):
        missing()

    monkeypatch.setattr(config, "load_incluster_config", missing)
    monkeypatch.setattr(config, "load_kube_config", missing_file)


@pytest.mark.usefixtures("nowhere")
def test_where_no_cluster_is_configured_the_report_says_that_it_was_left_out():
    report = Report()
    compare_cluster(Settings.load(), report)
    assert (report.cluster, report.same) == (None, True)
    assert "no connection is configured" in report_json(report)["clusterLeftOut"]
    assert any("NOT compared" in line for line in report_lines(report, "Asia/Seoul"))


@pytest.mark.usefixtures("nowhere")
def test_a_file_that_is_named_and_cannot_be_used_is_an_error(tmp_path):
    with pytest.raises(ClusterError, match="--no-cluster"):
        compare_cluster(Settings.load(kubeconfig=tmp_path / "none"), Report())
