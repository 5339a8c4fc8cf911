import itertools
import json
import random
import time

import fuzz
import pytest


def test_what_becomes_of_an_input_is_told(monkeypatch):
    def read(data: bytes) -> None:
        if data == b"bad":
            raise ValueError("one line")
        if data == b"long":
            raise ValueError("two\nlines")
        if data == b"bug":
            raise KeyError("bug")
        if data == b"slow":
            time.sleep(5)

    monkeypatch.setattr(fuzz, "MAX_SECONDS", 1)
    monkeypatch.setattr(fuzz.signal, "alarm", lambda s: fuzz.signal.setitimer(0, s / 20))
    before = fuzz.signal.signal(fuzz.signal.SIGALRM, fuzz.too_slow)
    try:
        outcomes = [
            fuzz.attempt(read, data, (ValueError,))
            for data in (b"good", b"bad", b"long", b"bug", b"slow")
        ]
    finally:
        fuzz.signal.signal(fuzz.signal.SIGALRM, before)
    assert outcomes[:2] == ["read", "refused"]
    assert all(outcome.startswith("finding: ") for outcome in outcomes[2:])
    assert "KeyError in read" in outcomes[3]
    assert "TooSlowError" in outcomes[4]


def test_inputs_are_damaged_differently_and_the_same_for_a_seed():
    seeds = [bytes(range(100)), b""]
    one, again = (list(itertools.islice(fuzz.damaged(seeds, random.Random(1)), 50)) for _ in "ab")
    assert one == again
    assert len(set(one)) > 30


def test_values_are_made_up_for_readers_of_json():
    values = fuzz.made_up_json(3)
    assert len(values) >= 30
    assert any(isinstance(json.loads(value), dict) for value in values)


@pytest.mark.parametrize("name", fuzz.READERS)
def test_each_reader_reads_its_real_files_and_refuses_some_damaged_ones(name, tmp_path):
    make_reader, refusals, _ = fuzz.READERS[name]
    reader, seeds = make_reader(tmp_path)
    assert [fuzz.attempt(reader, data, refusals) for data in seeds] == ["read"] * len(seeds)
    inputs = itertools.islice(fuzz.damaged(seeds, random.Random(0)), 25)
    outcomes = {fuzz.attempt(reader, data, refusals) for data in inputs}
    assert outcomes <= {"read", "refused"}
    assert ("refused" in outcomes) == bool(refusals)
