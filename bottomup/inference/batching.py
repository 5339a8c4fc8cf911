"""Batches of equal items from a stream of mixed ones, with the results in the order of the stream.

An item waits until as many of its key are there as fill a batch. Meanwhile the results of later
items wait for its result. Both are bounded, so a stream may be infinite.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

MAX_HELD_BATCHES = 4  # items and results that wait, in batches ...
MAX_HELD_BYTES = 1 << 29  # ... and in bytes

R = TypeVar("R")


def map_batches(
    function: Callable[[Sequence[Any]], Sequence[R]],
    items: Iterable[Any],
    *,
    key: Callable[[Any], Hashable],
    num_bytes: Callable[[Any], int],
    batch_size: int,
) -> Iterator[R]:
    """`map` in batches: the results one by one, in the order of the items.

    A batch is run when it is full. When more than `MAX_HELD_BATCHES` times its size or more than
    `MAX_HELD_BYTES` are held, and at the end of the items, the oldest waiting item is run with
    those of its key that are there.

    Args:
        function: gives as many results as it gets items, in their order.
        items: pulled one at a time, when a result is asked for that is not there yet.
        key: items of equal keys can share a batch. An item with the key None is its own result,
            and only waits for the results before it.
        num_bytes: the memory that an item or a result holds.
        batch_size: the most items that `function` gets at once.
    """
    waiting: dict[int, Any] = {}  # items by their place in the stream, the oldest first
    done: dict[int, R] = {}  # results by place, held until those before them are there

    def run(wanted: Hashable) -> None:
        places = [place for place, item in waiting.items() if key(item) == wanted][:batch_size]
        results = function([waiting.pop(place) for place in places])
        done.update(zip(places, results, strict=True))

    def is_too_much() -> bool:
        held = [*waiting.values(), *done.values()]
        return (
            len(held) > MAX_HELD_BATCHES * batch_size or sum(map(num_bytes, held)) > MAX_HELD_BYTES
        )

    next_place = 0
    for place, item in enumerate(items):
        kind = key(item)
        (done if kind is None else waiting)[place] = item
        if sum(key(other) == kind for other in waiting.values()) >= batch_size:
            run(kind)
        while waiting and is_too_much():
            run(key(next(iter(waiting.values()))))
        while next_place in done:
            yield done.pop(next_place)
            next_place += 1
    while waiting:
        run(key(next(iter(waiting.values()))))
    yield from map(done.pop, sorted(done))
