import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bottomup.inference import batching
from bottomup.inference.batching import map_batches


class Doubling:
    """A function of batches that keeps what it got."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, batch):
        self.batches.append(list(batch))
        return [2 * item for item in batch]


def remainder(item: int) -> int:
    return item % 3


def run(function, items, *, key=remainder, num_bytes=lambda item: 0, batch_size=4):
    return map_batches(function, items, key=key, num_bytes=num_bytes, batch_size=batch_size)


@given(st.lists(st.integers(0, 99), max_size=60), st.integers(1, 6), st.integers(1, 20))
def test_order_is_kept_and_batches_have_one_key(items, batch_size, num_keys):
    double = Doubling()
    results = list(run(double, items, key=lambda item: item % num_keys, batch_size=batch_size))
    assert results == [2 * item for item in items]
    assert sorted(itertools.chain(*double.batches)) == sorted(items)
    for batch in double.batches:
        assert len({item % num_keys for item in batch}) == 1
        assert len(batch) <= batch_size


def test_batches_are_full_where_the_items_allow_it():
    double = Doubling()
    list(run(double, range(24)))
    assert [len(batch) for batch in double.batches] == [4] * 6
    assert double.batches[0] == [0, 3, 6, 9]


def test_what_is_left_at_the_end_is_run_the_oldest_first():
    double = Doubling()
    assert list(run(double, [5, 1, 2, 4])) == [10, 2, 4, 8]
    assert double.batches == [[5, 2], [1, 4]]
    assert list(run(double, [])) == []


def test_a_batch_of_one_gives_each_result_before_the_next_item_is_pulled():
    pulled = itertools.count()
    results = run(Doubling(), pulled, batch_size=1)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert next(pulled) == 5


def test_an_item_without_a_key_is_its_own_result_in_its_place():
    double = Doubling()
    items = [0, -1, 3, -2, 1, -3]
    results = run(double, items, key=lambda item: None if item < 0 else item % 3, batch_size=2)
    assert list(results) == [0, -1, 6, -2, 2, -3]
    assert double.batches == [[0, 3], [1]]


def test_a_rare_key_does_not_hold_up_the_rest():
    pulled = itertools.count()
    results = run(Doubling(), (int(i == 0) for i in pulled))
    assert next(results) == 2
    assert next(pulled) <= batching.MAX_HELD_BATCHES * 4 + 1


def test_ever_new_keys_are_held_in_bounds():
    pulled: list[int] = []
    items = (pulled.append(i) or i for i in itertools.count())
    results = run(Doubling(), items, key=lambda item: item)
    for count in range(60):
        assert next(results) == 2 * count
        assert len(pulled) - count <= batching.MAX_HELD_BATCHES * 4 + 1


@pytest.mark.parametrize("key", [lambda item: 0, lambda item: None if item.any() else 0])
def test_bytes_are_held_in_bounds(key, monkeypatch):
    """Whether it is the items that are large, or the results that wait for the first item."""
    monkeypatch.setattr(batching, "MAX_HELD_BYTES", 3000)
    pulled = itertools.count()
    arrays = (np.full(1000, i > 0, np.uint8) for i in pulled)
    results = run(list, arrays, key=key, num_bytes=lambda item: item.nbytes, batch_size=50)
    next(results)
    assert next(pulled) == 4


def test_what_the_function_or_the_items_raise_is_raised():
    def fail(batch):
        raise KeyError(*batch)

    with pytest.raises(KeyError):
        list(run(fail, [1]))
    with pytest.raises(ZeroDivisionError):
        list(run(Doubling(), (1 // i for i in (1, 0))))


def test_results_must_be_as_many_as_items():
    with pytest.raises(ValueError, match="shorter"):
        list(run(lambda batch: batch[1:], [1, 2]))
