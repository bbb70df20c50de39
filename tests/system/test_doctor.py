"""`peaktime doctor` and `peaktime prune` where nothing is there: lines, in time, and no traceback."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest

SECRETS = {
    "PEAKTIME_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "PEAKTIME_KAFKA_USERNAME": "kim",
    "PEAKTIME_KAFKA_PASSWORD": "hunter2-kafka",
    "PEAKTIME_SCHEMA_REGISTRY_USERNAME": "kim",
    "PEAKTIME_SCHEMA_REGISTRY_PASSWORD": "hunter2-registry",
    "PEAKTIME_SLACK_TOKEN": "hunter2-slack",
}


@pytest.fixture
def silent():
    """An address that takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def kubeconfig(folder, address):
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"https://{address}"}}],
        "users": [{"name": "u", "user": {"token": "hunter2-token"}}],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def peaktime(folder, *arguments, **settings):
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PEAKTIME_", "KUBE"))}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "peaktime", *arguments],
        env={**kept, "HOME": str(folder), **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    done.took = time.monotonic() - began
    return done


def wrong(done):
    return {line["check"]: line for line in json.loads(done.stdout)["lines"] if line["status"] == "wrong"}


@pytest.mark.parametrize("there", ["refused", "silent"])
def test_without_anything_it_says_so_in_lines_and_in_time(tmp_path, silent, there):
    address = silent if there == "silent" else "127.0.0.1:1"
    done = peaktime(
        tmp_path,
        "doctor",
        PEAKTIME_KAFKA_BOOTSTRAP=address,
        PEAKTIME_SCHEMA_REGISTRY_URL=f"http://{address}",
        PEAKTIME_KUBECONFIG=str(kubeconfig(tmp_path, address)),
        **SECRETS,
    )
    assert done.returncode == 2, done.stderr
    *lines, total = done.stdout.splitlines()
    assert all(line.startswith(("ok ", "warning ", "wrong ")) for line in lines), done.stdout
    told = [line for line in lines if line.startswith("wrong")]
    assert [line.split()[1] for line in told] == ["Kafka", "schema", "API"]
    assert all(address in line.split(": ")[0] for line in told)
    assert total.startswith("3 wrong, ")
    assert "Traceback" not in done.stdout + done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert done.stderr == ""
    # Five seconds for each check, all side by side, and some for the start of a busy machine.
    assert done.took < 30


def test_as_json(tmp_path):
    settings = {"PEAKTIME_KAFKA_BOOTSTRAP": "127.0.0.1:1", "PEAKTIME_CLUSTER": f"directory:{tmp_path}"}
    done = peaktime(tmp_path, "doctor", "--json", **settings)
    assert done.returncode == 2
    assert set(wrong(done)) == {"Kafka"}
    document = json.loads(done.stdout)
    assert document["counts"]["wrong"] == 1
    (skipped,) = [line for line in document["lines"] if line["check"] == "Kubernetes"]
    assert skipped["status"] == "ok"
    assert "not checked: the cluster is directory:" in skipped["found"]


def test_wrong_files_are_lines_and_hide_nothing(tmp_path):
    (tmp_path / "profiles.yaml").write_text("zone: Moon/Base\n", encoding="utf-8")
    done = peaktime(
        tmp_path,
        "doctor",
        "--json",
        PEAKTIME_KAFKA_BOOTSTRAP="127.0.0.1:1",
        PEAKTIME_PROFILES=str(tmp_path / "profiles.yaml"),
        PEAKTIME_CALENDARS=str(tmp_path / "none.yaml"),
    )
    assert done.returncode == 2
    assert set(wrong(done)) == {"files", "Kafka", "API server"}
    files = [line for line in json.loads(done.stdout)["lines"] if line["check"] == "files"]
    assert [line["about"] for line in files] == ["profiles", "calendars"]
    assert "profiles.yaml" in files[0]["found"]


def test_wrong_settings_are_an_error(tmp_path):
    done = peaktime(tmp_path, "doctor", PEAKTIME_ZONE="Moon/Base")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "PEAKTIME_ZONE" in done.stderr


def test_pruning_a_folder_is_refused(tmp_path):
    done = peaktime(tmp_path, "prune", "x", PEAKTIME_CLUSTER=f"directory:{tmp_path}")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "PEAKTIME_CLUSTER" in done.stderr


def test_pruning_without_a_cluster_is_an_error(tmp_path):
    done = peaktime(tmp_path, "prune", "x")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "PEAKTIME_KUBECONFIG" in done.stderr
