from importlib.util import find_spec

import pytest

from peaktime.cli import run
from producers.calendar import plot


def test_a_png_of_the_year_is_drawn_where_matplotlib_is_installed(tmp_path, monkeypatch, capsys):
    file = tmp_path / "year.PNG"
    status = run(["calendar", "preview", "--feed", "holidays:KR", "--from", "2025-01-01", "--plot", str(file)])
    if find_spec("matplotlib") is None:  # an extra
        assert (status, file.exists()) == (1, False)
        assert "Install peaktime[plot]" in capsys.readouterr().err
    else:
        assert status == 0
        assert file.read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(plot, "png", pytest.fail)
    assert run(["calendar", "preview", "--feed", "holidays:KR", "--plot", str(tmp_path / "year.svg")]) == 0
