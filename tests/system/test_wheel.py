"""The wheel, built and installed into an environment of its own: what an editable install hides would show here."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_schemas_catalogue_and_samples(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for pattern in ("schemas/avsc/*.avsc", "schemas/topics.yaml", "peaktime/samples/*.yaml", "peaktime/py.typed")
        for path in ROOT.glob(pattern)
    }
    assert len(wanted) >= 12
    assert wanted <= names
    assert not {name for name in names if name.startswith(("tests/", "bench/", "k8s/"))}


@pytest.mark.slow
def test_the_command_works_from_a_clean_environment(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, "--require-hashes", "-r", ROOT / "requirements" / "runtime.txt")
    run(*pip, "--no-deps", wheel)
    command = tmp_path / "env" / "bin" / "peaktime"
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    assert run(command, "--version", env=bare, cwd=tmp_path).startswith("peaktime ")
    assert "peaktime.requests.v1" in run(command, "topics", "list", env=bare, cwd=tmp_path)
    dry = run(
        command, "request", "scale-out", "--target", "infra", "--event-date", "2099-01-01", "--starts-at", "2099-01-01T09:00", "--title", "x",
        "--owner", "y", "--force", "--dry-run", "--json", env=bare, cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(dry)
    preview = run(
        command,
        "calendar",
        "preview",
        "--feed",
        "holidays:KR",
        "--from",
        "2025-01-01",
        "--to",
        "2025-12-31",
        "--json",
        env=bare,
        cwd=tmp_path,
    )
    assert {"2025-01-31", "2025-10-10"} <= {peak["eventDate"] for peak in json.loads(preview)}
    assert "worker" in run(command, "--help", env=bare, cwd=tmp_path)
    run(command, "worker", "--help", env=bare, cwd=tmp_path)
