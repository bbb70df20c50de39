"""The small world of the simulator, looked at part by part: only what changed and what the clock has made due."""

from types import SimpleNamespace

from hypothesis import strategies as st

from peaktime.core.plan import Circumstances
from processors.reconcile.cluster import View, identity
from processors.reconcile.decide import Decider
from schemas.records import RequestAction

from .asking import asked, at, pause, resume
from .histories import BANDS, STEPS
from .simulator import GRACE, World, copied


@st.composite
def spread(draw, *, most=10, length=400, bands=(*BANDS, "unknown")):
    """Requests for events that lie apart, touch or overlap, of several origins; now and then the target is paused."""
    minute, history = 0.0, []
    for number in range(draw(st.integers(1, most))):
        minute += draw(st.integers(0, 60)) / 2
        if draw(st.integers(0, 11)) == 0:
            ask = draw(st.sampled_from([pause, resume]))
            history.append((ask(f"p{number}", requested=minute), minute))
            continue
        start = draw(st.integers(1, length // 5)) * 5
        end = start + draw(st.integers(1, 8)) * 5
        date = f"2026-05-0{draw(st.integers(1, 9))}"
        origin = draw(st.sampled_from(["pa", "pa", "operator"]))
        band = draw(st.sampled_from(bands))
        states_end = draw(st.booleans())
        for action in draw(st.sampled_from(STEPS)):
            out = action is RequestAction.SCALE_OUT
            ends = end if action is RequestAction.SCALE_IN or (out and states_end) else None
            times = (start if out else None, ends)
            fields = {"requested": minute, "date": date, "origin": origin, "band": band}
            history.append((asked(action, f"r{number}", *times, **fields), minute))
    return history


class _NoSurroundings:
    def around(self, want, circumstances):  # noqa: ARG002  (as the real ones are asked)
        return circumstances, {}


class PartsWorld(World):
    """A world whose every look is at a part."""

    def __init__(self, *, chunk=2, **fields) -> None:
        super().__init__(**fields)
        self.view = View()
        self.looks = []
        self.decider = self.new_decider(chunk)

    def new_decider(self, chunk):
        """One that knows nothing yet."""
        cluster = SimpleNamespace(view=self.view, observed=self.view.observed)
        circumstances = Circumstances(now=at(0), grace=GRACE, namespace="peaktime", reporter="test", **self.around)
        return Decider(
            entries=SimpleNamespace(get=lambda _partition, _target: self.log.entries),
            facts=SimpleNamespace(get=lambda _partition, _target: self.facts),
            profiles=self.profiles,
            cluster=cluster,
            clock=SimpleNamespace(now=lambda: at(self.minute)),
            circumstances=circumstances,
            surroundings=_NoSurroundings(),
            partition_of=lambda _target: 0,
            resync=1e9,
            many=0,
            chunk=chunk,
            settle=0.0,
        )

    def seen(self):
        """Bring the view up to the cluster, as a watch would."""
        found = set()
        for kind, objects in (("CronWorkflow", self.crons), ("Workflow", self.workflows)):
            for obj in objects.values():
                stored = {**copied(obj), "kind": kind}
                found.add(identity(stored))
                self.view.put(stored)
        for key in (self.view.keys("CronWorkflow") | self.view.keys("Workflow")) - found:
            self.view.drop(key)

    def fold_reports(self):
        for report in self.unfolded:
            changes = self.facts.fold(report, len(self.outcomes), at(self.minute))
            self.decider.folded("infra", (), {f.outcome.entry for f in changes.values() if f is not None})
            self.outcomes.append(report)
        self.unfolded = []

    def whole(self):
        """The plan for everything at once, which must have nothing left to do."""
        self.seen()
        return self.decider.decide("infra")

    def look(self):
        for _ in range(200):
            self.seen()
            look = self.decider.look("infra")
            if look is None:
                self.look_again = self.decider.next_due("infra")
                return
            self.looks.append(look)
            self.plans.append(look.plan)
            for write in look.plan.writes:
                self.apply(write)
            self.unfolded = [*look.plan.reports]
            self.fold_reports()
            self.decider.looked("infra", look, reported_again=1e9, again=None)
        raise AssertionError(f"it does not come to rest: {self.looks[-1]}")

    def ask(self, *requests):
        for request in requests:
            self.log.append(request, self.minute)
            self.decider.folded("infra", self.log.changes, ())
        self.look()
