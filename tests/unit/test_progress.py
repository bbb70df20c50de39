"""What was handled, in order of delivery."""

from faust.types import TP

from processors.driver import Progress

PLACE = TP("topic", 0)


def test_a_record_is_passed_once_all_up_to_it_is_handled():
    progress = Progress()
    assert not progress.passed(PLACE, 3)
    for offset in (3, 5):
        progress.delivered(PLACE, offset)
    progress.handled(PLACE, 5)
    assert not progress.passed(PLACE, 3), "5 is not the next"
    progress.handled(PLACE, 3)
    assert progress.passed(PLACE, 3)
    assert not progress.passed(PLACE, 5)
    progress.handled(PLACE, 5)
    assert progress.passed(PLACE, 4), "there never was such an offset"
    progress.reset([PLACE])
    assert not progress.passed(PLACE, 3)
