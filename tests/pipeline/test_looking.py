"""What the on-call engineer types: plan, explain, schedule and audit plot, on a log that a real worker made."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from support.whole_way import CATALOGUE, PARTITIONS, TARGET, asked, soon, world

from processors.replay.reader import LogReader
from schemas.records import Delivery, Notification, RequestAction

ZONE = ZoneInfo("Asia/Seoul")
FIRST, OTHER, NESTED = asked("x"), asked("y", 24), asked("z", 1)
LINK = "https://slack.test/archives/C1/p1"


def scale_in(request, request_id, **fields):
    return replace(request, request_id=request_id, action=RequestAction.SCALE_IN, starts_at=None, **fields)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Two hours with a stronger window in them, changed by another; an event that was taken back; one that is refused."""
    with world(tmp_path_factory.mktemp("cluster")) as made:
        wide = replace(FIRST, ends_at=soon(2), title="봄 행사")
        for request in (
            replace(wide, request_id="a1", title="First idea"),
            replace(wide, request_id="a2", owner="lee", title="First idea", description="bigger"),
            replace(wide, request_id="a3", owner="lee"),
            scale_in(wide, "a4", owner="lee"),
            replace(NESTED, request_id="b1", origin="operator", band="morning", title="Strong", ends_at=soon(1.5)),
            replace(OTHER, request_id="c1"),
            replace(OTHER, request_id="c2", origin="operator", title="Same day"),
            asked("d1", 3, title="{{no}}"),
        ):
            made.send(request)
        settle(made)
        made.send(replace(OTHER, request_id="c3", action=RequestAction.DELETE, owner="park"))
        settle(made)
        sink = made.command("slack-sink", "--until-idle", "1")
        assert sink.returncode == 0, sink.stderr
        with LogReader(made.options) as log:
            spans = log.spans([CATALOGUE.notifications.name])
            told = [made.codec.decode(Notification, raw.value) for raw in log.read(spans)]
        first = next(n for n in told if n.entry == key(FIRST))
        spec = CATALOGUE.deliveries
        link = Delivery(notification_id=first.notification_id, sink="slack", delivered_at=now(), permalink=LINK)
        made.put(spec.name, first.notification_id.encode(), made.codec.encode(link, spec.name))
        yield made


def settle(made):
    """A worker runs until there is nothing left to do."""
    with made.worker():
        made.until_quiet(ready=lambda: made.command("plan").returncode == 0)


def now():
    return datetime.now(UTC).replace(microsecond=0)


def key(request, origin="pa"):
    return f"{TARGET}/{origin}/{request.event_date}"


def local(moment):
    return moment.astimezone(ZONE).strftime("%Y-%m-%d %H:%M")


def good(made, *arguments, code=0):
    answer = made.command(*arguments)
    assert (answer.returncode, answer.stderr) == (code, ""), answer
    return answer.stdout


def refused(made, *arguments, script=None):
    answer = made.command(*arguments, **({"script": script} if script else {}))
    assert answer.returncode == 1, answer
    assert answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    assert line.startswith("peaktime: ")
    return line


# -- schedule --


@pytest.mark.slow
def test_the_schedule_as_a_table(done):
    rows = [line for line in good(done, "schedule").splitlines() if f"│ {TARGET} " in line]
    cells = [[cell.strip() for cell in row.strip("│").split("│")] for row in rows]
    shown = [(row[0].split(" ", 1)[1], row[2], row[4], row[5], row[6], row[7]) for row in cells]
    strong = key(NESTED, "operator")
    assert shown == [
        (local(soon()), "scale-out", "1", key(FIRST), "봄 행사", "scheduled"),
        (local(soon(1)), "scale-out", "2", strong, "Strong", "scheduled"),
        (local(soon(1.5)), "scale-out", "1", key(FIRST), "봄 행사", "scheduled"),
        (local(soon(2)), "scale-in", "0", key(FIRST), "봄 행사", "scheduled"),
        (local(soon(24)), "scale-out", "1", key(OTHER, "operator"), "Same day", "scheduled"),
    ]
    assert cells[2][8] == "a stronger window closed and it is in force again"


@pytest.mark.slow
def test_the_schedule_of_a_part_of_the_time(done):
    first, last = soon(1).isoformat(), soon(1.6).isoformat()
    shown = json.loads(good(done, "schedule", "--from", first, "--to", last, "--target", TARGET, "--json"))
    (target,) = shown["targets"]
    assert (shown["zone"], target["target"], target["paused"], target["levelBefore"]) == ("Asia/Seoul", TARGET, None, 1)
    assert [(one["action"], one["level"]) for one in target["firings"]] == [("SCALE_OUT", 2), ("SCALE_OUT", 1)]
    assert [one["title"] for one in target["windows"]] == ["봄 행사", "Strong"]
    assert [one["state"] for one in target["windows"]] == ["to come", "to come"]
    day = soon(24).astimezone(ZONE).date().isoformat()
    (target,) = json.loads(good(done, "schedule", "--from", day, "--to", day, "--json"))["targets"]
    assert [one["entry"] for one in target["firings"]][-1] == key(OTHER, "operator")
    assert target["staysAt"] == [OTHER.ends_at.isoformat().replace("+00:00", "Z")]
    nothing = good(done, "schedule", "--from", "2020-01-01", "--to", "2020-01-02")
    assert nothing.startswith("Nothing scales from Wed 2020-01-01 to Thu 2020-01-02 (Asia/Seoul).\nThe next firing")


@pytest.mark.slow
def test_the_schedule_as_a_picture(done, tmp_path):
    file = tmp_path / "plan.svg"
    assert good(done, "schedule", "--plot", str(file)) == f"{file}\n"
    texts = {node.text for node in ET.parse(file).getroot().iter("{http://www.w3.org/2000/svg}text")}
    hours = "-".join(moment.astimezone(ZONE).strftime("%H:%M") for moment in (soon(1), soon(1.5)))
    assert {TARGET, f"Strong  {hours}", "now", "level 2", "several windows open"} <= texts
    image = tmp_path / "plan.png"
    assert done.command("schedule", "--plot", str(image)).returncode == 0
    assert image.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "yesterday"], "--from: 'yesterday' is no time. Write"),
        (["--from", "2026-05-04", "--to", "2026-05-03"], "--to: is not after --from"),
        (["--from", "2026-01-01", "--to", "2029-01-01"], "--to: is more than 400 days after --from"),
        (["--to", "9999-12-31"], "--to: 9999-12-31 is too far away"),
        (["--target", "nope"], f"--target nope: there is no such target. Known are {TARGET}"),
        (["--plot", "plan.pdf"], "plan.pdf: is neither .svg nor .png"),
        (["--plot", "/no/such/folder/plan.svg"], "there is no folder /no/such/folder"),
    ],
)
def test_what_a_schedule_cannot_be(done, arguments, said):
    assert said in refused(done, "schedule", *arguments)


# -- explain --


@pytest.mark.slow
def test_an_events_whole_life(done):
    shown = good(done, "explain", FIRST.event_date)
    lines = [line.strip() for line in shown.splitlines()]
    assert lines[0] == f"{key(FIRST)}  봄 행사"
    told = [line for line in lines if "  " in line]
    requests = [line.split()[4] for line in told if " request " in line]
    assert requests == ["accepted", "replaced", "replaced", "accepted"]
    replaced = next(line for line in told if "replaced" in line and " request " in line)
    assert "owner kim → lee" in replaced
    assert "which was kim's" in replaced
    assert replaced.endswith("[lee]")
    assert any(" outcome " in line and "scheduled" in line for line in lines)
    assert any(" notification " in line for line in lines)
    assert any(" delivery " in line and line.endswith(LINK) for line in lines)
    assert f"next: {lines[-1].split(' ', 1)[1]}" == lines[-1]
    assert lines[-1].endswith("scale-out infra-common-common to level 1")
    assert any(line.startswith("window ") and line.endswith("level 1: to come") for line in lines)
    assert sum(line.startswith("firing ") for line in lines) == 3


@pytest.mark.slow
def test_an_event_is_known_by_every_name(done):
    whole = good(done, "explain", key(FIRST)).splitlines()[0]
    digits = "".join(filter(str.isdigit, FIRST.event_date))
    zoned = datetime.fromisoformat(FIRST.event_date).replace(tzinfo=ZONE).astimezone(UTC).isoformat()
    (target,) = json.loads(good(done, "schedule", "--json"))["targets"]
    run, cron = (target["firings"][0][name] for name in ("workflow", "cronWorkflow"))
    for name in (FIRST.event_date, digits, zoned, f"{TARGET}/pa/{digits}", run, cron, f"run/{run}"):
        assert good(done, "explain", name).splitlines()[0] == whole, name


@pytest.mark.slow
def test_an_event_as_json(done):
    shown = json.loads(good(done, "explain", OTHER.event_date, "--origin", "pa", "--json"))
    assert (shown["key"], shown["state"], shown["target"]) == (key(OTHER), "withdrawn", TARGET)
    assert [line["what"] for line in shown["lines"] if line["kind"] == "request"] == ["accepted", "withdrawn"]
    assert (shown["now"]["windows"], shown["now"]["firings"], shown["now"]["next"]) == ([], [], None)
    shown = json.loads(good(done, "explain", key(NESTED, "operator"), "--json"))
    assert shown["now"]["next"]["at"] == soon(1).isoformat().replace("+00:00", "Z")


@pytest.mark.slow
def test_an_event_that_is_not_clear_or_not_there_is_one_line_with_candidates(done):
    line = refused(done, "explain", OTHER.event_date)
    assert f"2 are meant: {key(OTHER, 'operator')} 'Same day', {key(OTHER)} '봄 행사'" in line
    assert "--origin" in line
    line = refused(done, "explain", "2020-01-01")
    assert "there is no such event; near are infra/" in line
    assert "near are" in refused(done, "explain", key(FIRST).replace("/pa/", "/pb/"))
    assert f"{key(FIRST)} '봄 행사'" in refused(done, "explain", key(FIRST).replace("infra", "infr"))
    assert "no run or CronWorkflow of this name" in refused(done, "explain", "peaktime-create")
    assert "no such target" in refused(done, "explain", FIRST.event_date, "--target", "nope")
    assert "no such event" in refused(done, "explain", FIRST.event_date, "--origin", "nope")


# -- audit plot --


def month():
    return now().astimezone(ZONE).strftime("%Y-%m")


@pytest.mark.slow
def test_a_month_of_the_log_as_a_picture_with_the_same_bytes_each_time(done, tmp_path):
    one, two = tmp_path / "one.svg", tmp_path / "two.svg"
    for file in (one, two):
        assert good(done, "audit", "plot", "--month", month(), str(file)) == f"{file}\n"
    assert one.read_bytes() == two.read_bytes()
    root = ET.parse(one).getroot()
    texts = {node.text for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {TARGET, "requests", "accepted", "replaced", "withdrawn", "rejected", "the log ends"} <= texts
    tips = [node.text for node in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any("withdrawn by park" in tip for tip in tips)
    image = tmp_path / "one.png"
    assert done.command("audit", "plot", "--month", month(), "--target", TARGET, str(image)).returncode == 0
    assert image.read_bytes().startswith(b"\x89PNG")
    empty = tmp_path / "empty.svg"
    good(done, "audit", "plot", "--month", "2020-02", str(empty))
    assert "nothing in this time" in empty.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--month", "2026-13", "x.svg"], "--month: '2026-13' is no month. Write 2026-05"),
        (["--month", "2026-05", "x.gif"], "x.gif: is neither .svg nor .png"),
    ],
)
def test_what_a_picture_of_a_month_cannot_be(done, arguments, said):
    assert said in refused(done, "audit", "plot", *arguments)


# -- plan --

#: Fails where anything is written to Kafka, and notes every file that is opened for writing, moved, made or removed.
WATCHED = """
import json, os, sys
import confluent_kafka, confluent_kafka.admin, aiokafka
def no(*_, **__):
    raise AssertionError("a client that can write to Kafka was made")
confluent_kafka.Producer = confluent_kafka.admin.AdminClient = aiokafka.AIOKafkaProducer = no
touched = []
def hook(event, arguments):
    if arguments and arguments[0] == os.devnull or event == "os.mkdir" and os.path.isdir(arguments[0]):
        return
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        touched.append(str(arguments[0]))
    elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.link", "os.symlink"):
        touched.append(f"{event} {arguments[0]}")
sys.addaudithook(hook)
from peaktime import cli
code = cli.run(sys.argv[1:])
sys.stderr.write(json.dumps([name for name in touched if "__pycache__" not in name]))
sys.exit(code)
"""


def everything(made):
    """What the cluster and Kafka hold: files with their times, ends of partitions, consumer groups."""
    files = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in made.folder.iterdir()}
    consumer = Consumer({**made.options, "group.id": "looker"})
    try:
        places = [TopicPartition(spec.name, number) for spec in CATALOGUE for number in range(PARTITIONS)]
        ends = {(place.topic, place.partition): consumer.get_watermark_offsets(place, 10) for place in places}
    finally:
        consumer.close()
    topics = set(AdminClient(made.options).list_topics(timeout=10).topics)
    return files, ends, topics


@pytest.mark.slow
def test_when_all_is_done_there_is_nothing_to_do(done):
    assert good(done, "plan").startswith("Nothing to do:")
    shown = json.loads(good(done, "plan", "--json"))
    assert shown["something"] is False
    assert [(one["target"], one["writes"], one["reports"]) for one in shown["targets"]] == [(TARGET, [], [])]


@pytest.mark.slow
def test_a_plan_says_just_what_the_worker_then_does_and_does_none_of_it(tmp_path):
    with world(tmp_path / "cluster") as made:
        made.folder.mkdir()
        made.send(replace(FIRST, title="봄 [b]행사[/b]"))
        made.send(scale_in(FIRST, "in"))
        process = made.start("worker", "--only", "fold", "--only", "announce")
        try:
            made.until_quiet()
        finally:
            process.terminate()
            assert process.wait(20) == 0
        before = everything(made)
        answer = made.command("plan", "--json", script=f"exec({WATCHED!r})")
        assert answer.returncode == 2, answer
        assert json.loads(answer.stderr) == []
        shown = made.command("plan")
        assert (shown.returncode, shown.stderr) == (2, "")
        assert everything(made) == before
        (target,) = json.loads(answer.stdout)["targets"]
        writes = [(write["verb"], write["kind"], write["firesAt"]) for write in target["writes"]]
        assert writes == [
            ("create", "CronWorkflow", FIRST.starts_at.isoformat().replace("+00:00", "Z")),
            ("create", "CronWorkflow", FIRST.ends_at.isoformat().replace("+00:00", "Z")),
        ]
        assert "봄 [b]행사[/b]' scale-out at" in shown.stdout
        assert {report["kind"] for report in target["reports"]} <= {"CONFIGURED", "DIGEST"}
        settle(made)
        made_now = {file.name.split(".")[2] for file in made.folder.glob("cronworkflow.*")}
        assert made_now == {write["name"] for write in target["writes"]}
        assert made.command("plan").returncode == 0


def test_a_plan_that_cannot_be_made_is_one_line(done, tmp_path):
    assert "there is no such target" in refused(done, "plan", "--target", "nope")
    elsewhere = f"import os; os.environ['PEAKTIME_CLUSTER'] = 'directory:{tmp_path}/none'; "
    run = "from peaktime.cli import main; main()"
    assert "a worker makes it" in refused(done, "plan", script=elsewhere + run)
    assert not (tmp_path / "none").exists()
    away = "import os; os.environ['PEAKTIME_KAFKA_BOOTSTRAP'] = '127.0.0.1:1'; "
    impatient = "from processors.replay import reader; reader.PATIENCE = 1.0; "
    assert "Check that Kafka is up" in refused(done, "plan", script=away + impatient + run)
    wrong = done.command("plan", "--nope")
    assert wrong.returncode == 1
    assert "No such option" in wrong.stderr


@pytest.mark.slow
def test_a_row_that_cannot_be_read_is_named_to_each_of_them(done):
    """The last test of this world: it spoils a table."""
    name = CATALOGUE.entries.name
    done.put(name, b"infra/pa/broken", b"\x7fnonsense", partition=0)
    for command in (["plan"], ["schedule"], ["explain", FIRST.event_date]):
        line = refused(done, *command)
        assert f"{name}/0/" in line
        assert "a row of the table cannot be read" in line
