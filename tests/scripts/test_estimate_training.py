import pytest
from estimate_training import measure

from bottomup.models.pose_net import higherhrnet


def test_a_pass_back_takes_twice_the_operations_of_one_forward():
    """And the published count of a forward pass is 47.9 GMACs at 512 pixels."""
    operations, kept = measure(higherhrnet(32), 512)
    assert operations == pytest.approx(3 * 2 * 47.9e9, rel=0.05)
    smaller, kept_smaller = measure(higherhrnet(32), 256)
    assert operations / smaller == pytest.approx(4, rel=0.01)
    assert kept / kept_smaller == pytest.approx(4, rel=0.02)


def test_weights_are_not_counted_among_what_is_kept():
    _, kept = measure(higherhrnet(8), 64)
    assert 0 < kept < sum(weight.numel() for weight in higherhrnet(8).parameters())
