"""Hypothesis: histories of requests as people and calendars send them, orderly and otherwise."""

from hypothesis import strategies as st

from schemas.records import RequestAction

from .asking import asked

BANDS = ("common", "morning", "lunch", "night")
OUT, IN, DELETE = (RequestAction.SCALE_OUT,), (RequestAction.SCALE_IN,), (RequestAction.DELETE,)
LONERS = [OUT] * 4 + [IN] * 3 + [DELETE]
STEPS = [OUT + IN] * 4 + [OUT] * 3 + [IN] * 3 + [DELETE] * 2


@st.composite
def histories(draw, *, most=8, length=120, gap=20.0, bands=BANDS):
    """Requests with the minute at which each reaches the log: pairs, loners, late ones, moves, ends, withdrawals."""
    minute, history = 0.0, []
    # A quarter are one-sided throughout: only then there are several windows without an end to choose between.
    one_sided = draw(st.integers(0, 3)) == 3
    dates, steps = ("456789", LONERS) if one_sided else ("445567", STEPS)
    for number in range(draw(st.integers(1, most))):
        minute += draw(st.integers(0, int(gap * 2))) / 2
        # Half of all times are round, so that windows touch, and begin and end together.
        step = draw(st.sampled_from([1, 10]))
        start = draw(st.integers(1, length // step)) * step
        end = start + draw(st.integers(1, length // 2 // step)) * step
        date = f"2026-05-0{draw(st.sampled_from(dates))}"
        origin = draw(st.sampled_from(["pa", "pa", "operator"]))
        band = draw(st.sampled_from(bands))
        behind = draw(st.sampled_from([0, 0, 0, 30])) / 60
        again = draw(st.integers(0, 9)) == 0
        states_end = not one_sided and draw(st.booleans())
        for action in draw(st.sampled_from(steps)):
            out = action is RequestAction.SCALE_OUT
            request = asked(
                action,
                "r0" if again else f"r{number}",
                start if out else None,
                end if action is RequestAction.SCALE_IN or (out and states_end) else None,
                requested=minute - behind,
                date=date,
                origin=origin,
                band=band,
            )
            history.append((request, minute))
    return history
