"""Files that are made from others: what they should be, to compare with what they are, and to write them anew.

`python -m support.generated` (with `PYTHONPATH=tests`) writes them all.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from peaktime.cli.topics import kept
from peaktime.metrics import Metrics
from peaktime.settings import ENV_PREFIX, Settings
from schemas import strimzi
from schemas.catalogue import DAY_MS, load_catalogue

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


def topic_table(_: str) -> str:
    """docs/topics.md."""
    catalogue = load_catalogue()
    lines = [
        "# Topics",
        "",
        "Generated from `schemas/topics.yaml` by `make generated`: change the catalogue, not this page.",
        "`peaktime topics ensure` creates them, with `--acls` the rights too; `k8s/topics.yaml` is the same for Strimzi.",
        "",
        "| topic | key | record | partitions | kept | time | largest | written by | read by | what for |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for spec in catalogue:
        record = (
            f"[{spec.record.__name__}](../schemas/avsc/{spec.record.__name__}.avsc)" if spec.record else "raw bytes"
        )
        cells = (
            f"`{spec.name}`", spec.key, record, str(spec.partitions), kept(spec.cleanup, spec.retention_ms),
            spec.timestamp_type, f"{spec.max_message_bytes / 2**20:.0f} MiB", ", ".join(spec.writers),
            ", ".join(spec.readers), spec.doc,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    lines += ["", "Copies: 3 where there are three brokers, of which 2 must have a record. Roles:", ""]
    lines += ["| role | who |", "| --- | --- |"]
    lines += [f"| {role} | {doc} |" for role, doc in catalogue.roles.items()]
    return "\n".join(lines) + "\n"


def security(text: str) -> str:
    """docs/security.md, with the tables of rights and of groups."""
    before, rest = text.split("<!-- rights: begin -->")
    _, after = rest.split("<!-- rights: end -->")
    return f"{before}<!-- rights: begin -->\n{rights_table()}<!-- rights: end -->{after}"


def rights_table() -> str:
    """Every role of the catalogue: what it may write and read, and which consumer groups it uses."""
    catalogue = load_catalogue()
    lines = ["| role | writes | reads | joins | may look at | who |", "| --- | --- | --- | --- | --- | --- |"]
    for role, doc in catalogue.roles.items():
        cells = (
            [spec.short for spec in catalogue if role in spec.writers],
            [spec.short for spec in catalogue if role in spec.readers],
            [group.name for group in catalogue.groups if role in group.members],
            [group.name for group in catalogue.groups if role in group.watchers],
        )
        lines.append(f"| {role} | {' | '.join(', '.join(names) or '-' for names in cells)} | {doc} |")
    return "\n".join(lines) + "\n"


def audit(text: str) -> str:
    """docs/audit.md, with the table of what is kept about people."""
    before, rest = text.split("<!-- kept: begin -->")
    _, after = rest.split("<!-- kept: end -->")
    return f"{before}<!-- kept: begin -->\n{kept_table()}<!-- kept: end -->{after}"


def kept_table() -> str:
    """For each topic, in which fields a person may be named or quoted, and for how long."""
    lines = ["| topic | who is named or quoted in | kept |", "| --- | --- | --- |"]
    for spec in load_catalogue():
        names = ", ".join(f"`{name}`" if spec.record else name for name in spec.personal)
        lag = spec.min_compaction_lag_ms // DAY_MS
        late = f", not within {lag} days" if lag else ""
        lines.append(f"| `{spec.name}` | {names} | {kept(spec.cleanup, spec.retention_ms)}{late} |")
    return "\n".join(lines) + "\n"


def metric_table(_: str) -> str:
    """docs/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "Generated from `peaktime/metrics.py` by `make generated`. Where they are served: [deployment](deployment.md#watching-it).",
        "A process shows all of them, and measures those that are its own. No label holds a user's text.",
        "",
        "Worth an alert: `peaktime_problems_open` above 0 (what each code means: [operations](operations.md#problems)),",
        "`peaktime_dead_letters_total` or `peaktime_ambiguous_posts_total` growing, `peaktime_schema_waiting` above 0 for minutes,",
        "and `peaktime_deliveries_total` with the result `refused` growing. How far behind a stage is, Kafka tells: the lag of its group.",
        "",
        "| metric | labels | what it counts or measures |",
        "| --- | --- | --- |",
    ]
    metrics = [metric for name, metric in vars(Metrics()).items() if name != "registry"]
    for metric in metrics:
        (family,) = metric.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        lines.append(f"| `{name}` | {labels} | {family.documentation} |")
    return "\n".join(lines) + "\n"


FILES: Mapping[str, Callable[[str], str]] = {
    "k8s/topics.yaml": topics,
    "k8s/config.yaml": config,
    "docs/deployment.md": deployment,
    "docs/topics.md": topic_table,
    "docs/metrics.md": metric_table,
    "docs/security.md": security,
    "docs/audit.md": audit,
}


if __name__ == "__main__":
    for name, make in FILES.items():
        path = ROOT / name
        path.write_text(make(path.read_text("utf-8")), "utf-8")
