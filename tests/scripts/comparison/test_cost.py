import numpy as np
import pytest
from comparison.cost import Growth, cost_of, fitted_crossing, growth_of, measured_crossing
from comparison.timing import ImageTiming, Timing


def timing(*rows):
    images = [ImageTiming(i, f"{i}.jpg", people, ms) for i, (people, ms) in enumerate(rows, 1)]
    return Timing("m", images)


def growth(people, ms):
    slope, start = np.polyfit(people, ms, 1)
    return Growth(tuple(people), tuple(people), tuple(ms), {}, float(start), float(slope))


def test_medians_by_stage_and_of_the_whole():
    run = timing(*[(1, {"read": 1.0, "pose": 10.0 * k}) for k in range(1, 6)])
    cost = cost_of(run)
    assert (cost.median, cost.images, cost.failed) == (31, 5, 0)
    assert cost.stages["read"] == (1, 1)
    assert cost.stages["pose"] == (30, pytest.approx(48))
    assert cost.p95 == pytest.approx(49)
    assert cost.images_per_second == pytest.approx(1000 / 31)
    assert list(cost.stages) == ["read", "pose"]


def test_failed_images_have_no_time():
    run = Timing("m", [ImageTiming(1, "a", error="broken"), ImageTiming(2, "b", 1, {"pose": 5.0})])
    assert (cost_of(run).images, cost_of(run).failed, cost_of(run).median) == (1, 1, 5)
    assert np.isnan(cost_of(Timing("m", [ImageTiming(1, "a", error="broken")])).median)


def test_a_straight_line_is_found():
    counts = {1: 1, 2: 10, 3: 100, 4: 1, 5: 10, 6: 100}
    run = timing(
        *[(count // 2, {"detect": 20.0, "pose": 3.0 * count}) for count in counts.values()]
    )
    curve = growth_of(run, counts)
    assert curve.people == (1, 10, 100)
    assert curve.found == (0, 5, 50)
    assert curve.ms == (23, 50, 320)
    assert curve.stages == {"detect": (20, 20, 20), "pose": (3, 30, 300)}
    assert curve.slope == pytest.approx(3)
    assert curve.start == pytest.approx(20)


def test_a_line_needs_two_points():
    with pytest.raises(ValueError, match=r"not \(1,\)"):
        growth_of(timing((1, {"pose": 1.0})), {1: 1})


def test_where_the_curves_cross():
    flat, rising = growth([1, 5, 20], [100, 100, 100]), growth([1, 5, 20], [60, 90, 202.5])
    assert measured_crossing(flat, rising) == pytest.approx(5 + 10 / 112.5 * 15)
    line = growth([1, 11], [30, 130])
    assert fitted_crossing(growth([1, 11], [100, 100]), line) == pytest.approx(8)
    assert measured_crossing(growth([1, 11], [100, 100]), line) == pytest.approx(8)


def test_curves_that_do_not_cross():
    flat = growth([1, 10], [100, 101])
    assert fitted_crossing(flat, growth([1, 10], [50, 50])) is None
    assert measured_crossing(flat, growth([1, 10], [50, 60])) is None
    assert fitted_crossing(flat, growth([1, 10], [200, 300])) == 0
    assert measured_crossing(flat, growth([1, 10], [200, 300])) == 1


def test_the_last_of_several_crossings_counts():
    flat, wavy = growth([1, 2, 3, 4], [10] * 4), growth([1, 2, 3, 4], [12, 8, 8, 12])
    assert measured_crossing(flat, wavy) == pytest.approx(3.5)
