"""The command line: quick, whole, and one line for each error."""

import json
import subprocess
import sys
import time

import pytest

from peaktime import cli
from peaktime.errors import BrokerError


@pytest.fixture
def fails(monkeypatch):
    """A command that ends in the given error."""

    def install(error):
        def invoke(_arguments):
            raise error

        monkeypatch.setattr(cli, "load", lambda _name: invoke)

    return install


def test_help_lists_just_what_is_installed(capsys, monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "nothing", cli.Command("peaktime.cli.nothing", "Not there."))
    assert cli.run(["--help"]) == 0
    out = capsys.readouterr().out
    assert "settings" in out
    assert "topics" in out
    assert "Not there." not in out
    assert cli.run(["nothing"]) == 2
    assert "no such command" in capsys.readouterr().err


@pytest.mark.parametrize("name", cli.installed())
def test_every_installed_command_can_be_called(name, capsys):
    assert cli.run([name, "--help"]) == 0
    assert f"peaktime {name}" in capsys.readouterr().out


def test_no_arguments_is_wrong_usage(capsys):
    assert cli.run([]) == 2
    assert "Usage" in capsys.readouterr().err


def test_a_wrong_option_is_wrong_usage(capsys):
    assert cli.run(["settings", "--colour"]) == 2
    assert "--colour" in capsys.readouterr().err


def test_version(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("peaktime ")


def test_an_error_is_one_line(fails, capsys):
    fails(BrokerError("Kafka", "is not\nthere", "Start it"))
    assert cli.run(["settings"]) == 1
    assert capsys.readouterr().err == "peaktime: Kafka: is not there. Start it\n"


def test_a_defect_is_one_line_too(fails, capsys):
    fails(RuntimeError("boom"))
    assert cli.run(["settings"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "RuntimeError" in err
    assert "PEAKTIME_DEBUG" in err


def test_debug_shows_the_traceback(fails, capsys, monkeypatch):
    monkeypatch.setenv("PEAKTIME_DEBUG", "true")
    fails(RuntimeError("boom"))
    assert cli.run(["settings"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_ends_with_130(fails):
    fails(KeyboardInterrupt())
    assert cli.run(["settings"]) == 130


@pytest.mark.parametrize(("code", "status"), [(None, 0), (0, 0), (2, 2), ("what", 1)])
def test_exit_statuses_of_commands(fails, code, status):
    fails(SystemExit(code))
    assert cli.run(["settings"]) == status


def test_wrong_settings_are_one_line(capsys, monkeypatch):
    monkeypatch.setenv("PEAKTIME_ZONE", "Mars")
    assert cli.run(["settings"]) == 1
    assert "PEAKTIME_ZONE" in capsys.readouterr().err


def test_settings_hide_secrets(capsys, monkeypatch):
    monkeypatch.setenv("PEAKTIME_SLACK_TOKEN", "hunter2")
    for arguments in (["settings"], ["settings", "--json"]):
        assert cli.run(arguments) == 0
        out = capsys.readouterr().out
        assert "PEAKTIME_SLACK_TOKEN" in out
        assert "hunter2" not in out


def test_topics_list_shows_the_catalogue(capsys):
    assert cli.run(["topics", "list"]) == 0
    assert "peaktime.calendar-states.v1" in capsys.readouterr().out


def test_schemas_check_passes_on_the_tree(capsys):
    assert cli.run(["schemas", "check"]) == 0, capsys.readouterr().err


def test_schemas_register_needs_a_registry(capsys):
    assert cli.run(["schemas", "register"]) == 1
    assert "PEAKTIME_SCHEMA_REGISTRY_URL" in capsys.readouterr().err


def test_schemas_release_freezes_once(capsys, tmp_path):
    assert cli.run(["schemas", "release", "1.0.0", "--into", str(tmp_path)]) == 0
    assert len(list((tmp_path / "1.0.0").glob("*.avsc"))) == 8
    assert cli.run(["schemas", "release", "1.0.0", "--into", str(tmp_path)]) == 1
    assert cli.run(["schemas", "release", "0.9.9", "--into", str(tmp_path)]) == 1
    assert "take the next" in capsys.readouterr().err
    assert cli.run(["schemas", "release", "one", "--into", str(tmp_path)]) == 2


def test_help_is_quick():
    heavy = ["pydantic", "typer", "confluent_kafka", "faust", "kubernetes", "httpx", "rich", "fastavro"]
    script = (
        "import sys, peaktime.cli as c\n"
        "assert c.run(['--help']) == 0\n"
        f"found = [name for name in {heavy!r} if name in sys.modules]\n"
        "sys.exit(', '.join(found) or 0)"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Generous: the machine may be busy. Alone it takes a tenth of this.
    assert time.perf_counter() - started < 2


def test_a_variable_that_is_no_setting_is_named_without_its_value(capsys, monkeypatch):
    monkeypatch.setenv("PEAKTIME_BOOTSTRAP", "kafka:9092")
    monkeypatch.setenv("PEAKTIME_KAFKA_PASWORD", "hunter2")
    monkeypatch.setenv("PEAKTIME_XYZZY", "1")
    assert cli.run(["settings", "--json"]) == 0
    captured = capsys.readouterr()
    assert (
        "PEAKTIME_BOOTSTRAP: is not a setting, so nothing reads it; PEAKTIME_KAFKA_BOOTSTRAP may be meant"
        in captured.err
    )
    assert "PEAKTIME_KAFKA_PASWORD: is not a setting, so nothing reads it; PEAKTIME_KAFKA_PASSWORD may" in captured.err
    assert "PEAKTIME_XYZZY: is not a setting, so nothing reads it; no setting has a name like it" in captured.err
    assert "hunter2" not in captured.err
    assert json.loads(captured.out)["PEAKTIME_KAFKA_BOOTSTRAP"] == "127.0.0.1:9092"
