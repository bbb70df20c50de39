"""Files that are made from others: what they should be, to compare with what they are, and to write them anew.

`python -m support.generated` (with `PYTHONPATH=tests`) writes them all.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from peaktime.settings import ENV_PREFIX, Settings
from schemas import strimzi
from schemas.catalogue import load_catalogue

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"
# For the sandbox and tests; nobody who deploys sets them.
_NOT_FOR_DEPLOYMENT = {"embedded", "clock_file", "failpoints"}


def topics(_: str) -> str:
    """k8s/topics.yaml."""
    return strimzi.render(strimzi.manifests(load_catalogue()), "peaktime topics manifests")


def config(text: str) -> str:
    """k8s/config.yaml, with the samples as they are."""
    for name in ("profiles", "calendars"):
        sample = (ROOT / "peaktime" / "samples" / f"{name}.yaml").read_text("utf-8")
        indented = "".join(f"    {line}" if line.strip() else line for line in sample.splitlines(keepends=True))
        block = f"  {name}.yaml: |\n{indented}"
        text, found = re.subn(
            rf"^  {name}\.yaml: \|\n(?:(?:    .*)?\n)*(?=---|\Z)",
            lambda _, block=block: block,
            text,
            flags=re.MULTILINE,
        )
        assert found == 1, f"k8s/config.yaml has no {name}.yaml"
    return text


def deployment(text: str) -> str:
    """docs/deployment.md, with the table of settings."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{settings_table()}{END}{after}"


def settings_table() -> str:
    """Every setting that deployments have: variable, default, meaning."""
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        if name in _NOT_FOR_DEPLOYMENT:
            continue
        default = "" if field.default is None or field.default == "" else f"`{field.default}`"
        meaning = (field.description or "").replace("|", r"\|")
        lines.append(f"| `{ENV_PREFIX}{name.upper()}` | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


FILES: Mapping[str, Callable[[str], str]] = {
    "k8s/topics.yaml": topics,
    "k8s/config.yaml": config,
    "docs/deployment.md": deployment,
}


if __name__ == "__main__":
    for name, make in FILES.items():
        path = ROOT / name
        path.write_text(make(path.read_text("utf-8")), "utf-8")
