import json
import subprocess
import sys
from pathlib import Path

import pytest
from comparison import timing
from comparison.timing import ImageTiming, Timing, TimingError, read_timing, write_run

RUN = Timing(
    "topdown_heatmap",
    (
        ImageTiming(7, "a.jpg", 3, {"read": 4.5, "detect": 30.0, "pose": 55.25}),
        ImageTiming(9, "b.jpg", error="it is no image"),
    ),
    threads=2,
    peak_memory_mb=512.5,
    parameters=4_715_000,
    machine={"python": "3.11.4"},
)


def write(folder, run=RUN, entries=()):
    write_run(folder / "results.json", entries, folder / "timing.json", run)
    return folder / "timing.json"


def test_what_is_written_is_read(tmp_path):
    assert read_timing(write(tmp_path)) == RUN
    assert json.loads((tmp_path / "results.json").read_text()) == []


def test_both_files_or_none(tmp_path):
    write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(
            tmp_path,
            Timing("other", (ImageTiming(1, "a", 0, {"read": float("nan")}),)),
            [{"image_id": 1}],
        )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "absent")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "format must be 1, not 'list'"),
        ('{"format": 2}', "format must be 1, not 2"),
        ('{"format": 1}', "no list 'images'"),
        ('{"format": 1, "images": [{}]}', r"images\[0\] has no whole number 'image_id'"),
        ('{"format": 1, "images": [{"image_id": 1}]}', "'ms' must hold some of the stages"),
        (
            '{"format": 1, "images": [{"image_id": 1, "ms": {"lunch": 1}}]}',
            "'ms' must hold some of the stages",
        ),
        (
            '{"format": 1, "images": [{"image_id": 1, "ms": {"read": -1}}]}',
            "'read' must be a number from 0 on",
        ),
        (
            '{"format": 1, "images": [{"image_id": 1, "ms": {"read": NaN}}]}',
            "'read' must be a number from 0 on",
        ),
        ('{"format": 1, "images": [], "gflops": "many"}', "'gflops' must be a number from 0 on"),
        ('{"format": 1, "ima', "is not JSON"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "timing.json").write_text(content)
    with pytest.raises(TimingError, match=message) as caught:
        read_timing(tmp_path / "timing.json")
    assert "timing.json" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TimingError, match="absent"):
        read_timing(tmp_path / "absent.json")


def test_memory_and_machine_are_known():
    assert timing.peak_memory_mb() is None or timing.peak_memory_mb() > 10
    about = timing.machine()
    assert about["python"] == sys.version.split()[0]
    assert about["processor"]


def test_it_needs_only_the_standard_library(tmp_path):
    """As in the environment of a peer."""
    folder = Path(timing.__file__).parents[1]
    code = f"""
import sys
sys.path.insert(0, {str(folder)!r})
from comparison.timing import ImageTiming, Timing, write_run
run = Timing("peer", (ImageTiming(1, "a.jpg", 0, {{"pose": 1.0}}),))
write_run("r.json", [], "t.json", run)
"""
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, cwd=tmp_path)
    assert read_timing(tmp_path / "t.json").images[0].ms == {"pose": 1.0}


def test_operations_are_counted_on_an_image_that_does_not_depend_on_results():
    crowds = (7, 1, 3, 3)
    images = [{"id": i, "width": 200 if i == 3 else 100, "height": 100} for i in range(4)]
    people = timing.count_people(
        {"annotations": [{"image_id": i} for i, n in enumerate(crowds) for _ in range(n)]}
    )
    some = [ImageTiming(i, str(i), found, {"pose": 1.0}) for i, found in enumerate((0, 9, 0, 9))]
    none = [ImageTiming(i, str(i), 0, {"pose": 1.0}) for i in range(4)]
    assert timing.median_image(images, people, some) == 3
    assert timing.median_image(images, people, none) == 3
    failed = [row if i == 1 else ImageTiming(i, str(i), error="bad") for i, row in enumerate(some)]
    assert timing.median_image(images, people, failed) == 1
    assert timing.median_image(images, people, failed[:1]) is None
