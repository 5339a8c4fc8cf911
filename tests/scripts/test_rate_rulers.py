from rate_rulers import rate

from bottomup.data.drawings import DrawnEvaluation
from bottomup.data.scenes.crowd import Crowd


def test_errors_of_hidden_joints_cost_ap_but_not_that_of_visible_joints():
    images = DrawnEvaluation(Crowd(128, 128, people=(3, 5), sizes=(40.0, 90.0)), 6)
    truth = images.ground_truth(set(range(1, 7)))
    right, off, hidden = rate(truth, 0, 0), rate(truth, 2, 2), rate(truth, 0, 8)
    assert right["AP"] > 0.999
    assert off["AP"] < 0.9 * right["AP"]
    assert off["AP_visible"] < 0.9 * right["AP_visible"]
    assert hidden["AP"] < 0.95 * right["AP"]
    assert hidden["AP_visible"] == right["AP_visible"]
