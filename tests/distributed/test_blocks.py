import json
import uuid

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from bottomup.distributed.blocks import (
    block_name,
    clear,
    end_name,
    from_parquet,
    gather,
    gathered,
    is_run,
    key,
    read_progress,
    start_name,
    to_parquet,
    written,
)
from bottomup.distributed.places import Place
from bottomup.inference.journal import JOURNAL, End, Record, Session, encode, read, read_state
from tests.support.run_folders import record

SESSION = Session({"size": 64, "shard": None}, "cpu")
FAILED = Record("b.jpg", 10, 20, error="broken")
FULL = record("c/d.jpg", 2, overlay="overlays/c/d.jpg", thumbnail="abc", warning="!", seconds=0.5)


@pytest.fixture(params=["local", "memory"])
def place(request, tmp_path) -> Place:
    return Place(str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}")


def write_session(place: Place, number: int, *blocks: list[Record], end: bool = False) -> None:
    place.write(start_name(number, SESSION), encode(SESSION))
    for records in blocks:
        place.write(block_name(number, records), to_parquet(records))
    if end:
        place.write(end_name(number), encode(End(7)))


def gathered_records(place: Place, tmp_path) -> dict[str, Record]:
    """The last record of each image, which is the one that counts."""
    gather(place, tmp_path / "gathered.log")
    entries = [entry for _, entry in read(tmp_path / "gathered.log")]
    return {entry.name: entry for entry in entries if isinstance(entry, Record)}


def test_records_come_back_from_parquet_as_they_were():
    odd = record("caf\udce9.jpg")
    records = [record("a.jpg"), FAILED, FULL, odd, record("b.jpg", 0)]
    assert list(from_parquet(to_parquet(records))) == records


def test_other_programs_read_text_and_numbers():
    import io

    import pyarrow.parquet

    table = pyarrow.parquet.read_table(io.BytesIO(to_parquet([FULL, record("caf\udce9.jpg")])))
    row, odd = table.to_pylist()
    assert (row["name"], row["name_bytes"], row["width"]) == ("c/d.jpg", None, 60)
    assert row["people"][1] == FULL.people[1]  # type: ignore[index]
    assert odd["name"] == "caf\\udce9.jpg"


@pytest.mark.parametrize("damage", [b"", b"nonsense", to_parquet([FULL])[:-9]])
def test_a_damaged_block_holds_nothing(damage):
    assert list(from_parquet(damage)) == []


def test_rows_that_are_no_records_are_left_out():
    broken = Record("a.jpg", people=[], width=None)  # people of an image without a size
    assert list(from_parquet(to_parquet([broken, FULL]))) == [FULL]


def test_the_same_images_make_the_same_block():
    assert block_name(1, [FULL, FAILED]) == block_name(1, [FULL, FAILED])
    different = [[FULL], [FAILED, FULL], [FULL, Record("b.jpg", 10, 21, error="broken")]]
    assert len({block_name(1, records) for records in different}) == 3


def test_keys_are_the_same_on_all_machines():
    assert key("a.jpg", (10, 20)) == 2322122635307674156
    assert key("a.jpg", (10, 21)) != key("a.jpg", (10, 20)) != key("b.jpg", (10, 20))


def test_progress_of_a_new_run(place):
    before = read_progress(place)
    assert (before.number, before.session, before.is_finished, len(before.done)) == (
        0,
        None,
        False,
        0,
    )
    assert not is_run(place)


def test_progress_of_a_run_that_went_on(place):
    write_session(place, 1, [FULL, FAILED])
    write_session(place, 2, [record("a.jpg")], [FULL], end=True)
    before = read_progress(place)
    assert (before.number, before.session, before.is_finished) == (2, SESSION, True)
    expected = sorted(key(name, (10, 20)) for name in ("a.jpg", "b.jpg", "c/d.jpg"))
    np.testing.assert_array_equal(before.done, np.array(expected, np.uint64))
    assert before.num_failed == 1
    again = read_progress(place, failed_since=2)
    assert (len(again.done), again.num_failed) == (2, 0)
    write_session(place, 3, [record("b.jpg")])
    mended = read_progress(place)
    assert (mended.is_finished, mended.num_failed, len(mended.done)) == (False, 0, 3)


def test_other_files_beside_the_blocks_are_left_alone(place):
    place.write("blocks/notes.txt", b"mine")
    place.write("blocks/.000001-0000.parquet.part", b"half")
    assert not is_run(place)
    write_session(place, 1, [FULL])
    clear(place)
    assert not is_run(place)
    assert place.read("blocks/notes.txt") == b"mine"


def test_of_a_session_the_first_complete_row_counts(place, tmp_path):
    rows = [record("a.jpg", 1), record("a.jpg", 2), Record("a.jpg", 10, 20, error="lost")]
    for fewest in ([0, 1], [0, 2], [2, 0]):
        clear(place)
        first, second = (rows[i] for i in fewest)
        # the order of blocks is that of their names
        blocks = sorted(
            ([first, record("x.jpg")], [second, record("y.jpg")]), key=lambda b: block_name(1, b)
        )
        write_session(place, 1, *blocks)
        in_order = [block[0] for block in blocks]
        expected = next(one for one in in_order if one.error is None)
        assert gathered_records(place, tmp_path)["a.jpg"] == expected


def test_a_later_session_replaces_an_earlier_one(place, tmp_path):
    write_session(place, 1, [record("a.jpg", 1), FAILED])
    write_session(place, 2, [Record("a.jpg", 11, 30, error="changed"), record("b.jpg", 3)])
    records = gathered_records(place, tmp_path)
    assert records["a.jpg"].error == "changed"
    assert records["b.jpg"] == record("b.jpg", 3)


def test_the_journal_says_the_same_as_the_blocks(place, tmp_path):
    write_session(place, 1, [FULL, FAILED], end=True)
    gather(place, tmp_path / "gathered.log")
    state = read_state(tmp_path / "gathered.log")
    assert (state.session, state.is_finished, state.engines) == (SESSION, True, {"cpu"})
    assert len(state.stamps) == 2


def test_a_run_is_gathered_in_its_own_folder_or_in_one_for_the_time(place, tmp_path):
    write_session(place, 1, [FULL])
    with gathered(place) as folder:
        assert (folder / JOURNAL).is_file()
        assert (folder == tmp_path) is (place.path is not None)
    assert folder.exists() is (place.path is not None)


def test_there_must_be_a_run_behind_a_url():
    with pytest.raises(ValueError, match="'memory://nothing/here' holds no run"):
        gathered(Place("memory://nothing/here")).__enter__()


def test_what_is_written_gets_to_its_place_without_the_journal(place):
    with written(place) as folder:
        (folder / "results.json").write_text("[]")
    assert json.loads(place.read("results.json")) == []
