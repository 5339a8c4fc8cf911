import contextlib
import functools
import io
import json
import os
import re
import signal
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from bottomup import Poses
from bottomup.cli import main, predict, prediction, progress
from bottomup.cli.parser import Parser
from bottomup.images.drawing import KEYPOINT_THRESHOLD, SCORE_THRESHOLD
from bottomup.images.frames import map_ahead
from bottomup.images.sources import scan
from bottomup.inference import lists, predictor
from bottomup.inference.journal import JOURNAL, Journal, Record, read
from bottomup.inference.lists import LISTS
from bottomup.inference.locking import locked
from bottomup.inference.run_folder import Renderer
from tests.support.dots import DOTS, crowd, dot_net, picture
from tests.support.picture_files import encode
from tests.support.run_folders import load
from tests.support.signals import SignallingTrunk
from tests.support.terminals import Terminal

RUN_FILES = sorted([*LISTS, ".lock", JOURNAL, "overlays"])


@pytest.fixture(autouse=True)
def net(monkeypatch):
    """The network that every run loads."""
    net = dot_net()
    monkeypatch.setattr(predictor, "load_model", lambda weights: net)
    return net


@pytest.fixture
def photos(tmp_path) -> Path:
    """Eight pictures of two sizes, each with two people."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(8):
        wh = (256, 192) if i % 3 else (128, 256)
        name = f"sub/{i}.png" if i % 2 else f"val_{i:012}.jpg"
        (folder / name).write_bytes(encode(picture(wh, crowd(wh, 2, rng)), name[-4:]))
    return folder


def test_default_thresholds_are_those_of_drawing(capsys):
    parser = Parser("predict", "Summary.")
    predict.add_arguments(parser)
    arguments = parser.parse(["--out", "out"])
    assert arguments.score_threshold == SCORE_THRESHOLD
    assert arguments.keypoint_threshold == KEYPOINT_THRESHOLD
    assert main(["predict", "--help"]) == 0
    text = capsys.readouterr().out
    assert f"({SCORE_THRESHOLD})" in text
    assert f"({KEYPOINT_THRESHOLD})" in text


def test_a_run_from_end_to_end(photos, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    assert main(["predict", str(photos), "--out", str(out)]) == 0
    assert sorted(os.listdir(out)) == RUN_FILES
    images = {image["file_name"]: image for image in load(out / "images.json")["images"]}
    assert list(images) == [f"sub/{i}.png" for i in (1, 3, 5, 7)] + [
        f"val_{i:012}.jpg" for i in (0, 2, 4, 6)
    ]
    assert [image["id"] for image in images.values()] == [1, 3, 5, 7, 0, 2, 4, 6]
    assert images["sub/3.png"] == {"id": 3, "file_name": "sub/3.png", "width": 128, "height": 256}
    results = load(out / "results.json")
    assert [person["image_id"] for person in results] == [
        i for i in (1, 3, 5, 7, 0, 2, 4, 6) for _ in range(2)
    ]
    found = Poses.from_coco([person for person in results if person["image_id"] == 3], DOTS)
    np.testing.assert_allclose(
        found.keypoints, predictor.Predictor(dot_net())(photos / "sub/3.png").keypoints, atol=0.01
    )
    assert (out / "overlays" / "sub" / "3.png.jpg").is_file()
    summary = capsys.readouterr().out
    assert "8 images" in summary
    assert "16 people" in summary
    assert str(out / "index.html") in summary


def test_results_are_what_pycocotools_loads(photos, tmp_path):
    assert main(["predict", str(photos), "--out", str(tmp_path / "out")]) == 0
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            **load(tmp_path / "out" / "images.json"),
            "categories": [{"id": 1}],
            "annotations": [],
        }
        truth.createIndex()
        results = truth.loadRes(str(tmp_path / "out" / "results.json"))
    assert len(results.getAnnIds()) == 16


@pytest.mark.parametrize(
    "options",
    [
        ["--scales", "0.5", "1", "--flip"],
        ["--mode", "official"],
        ["--batch-size", "1"],
        ["--size", "300", "--max-megapixels", "2"],
    ],
)
def test_options_reach_the_predictor(photos, tmp_path, options):
    assert main(["predict", str(photos), "--out", str(tmp_path / "out"), *options]) == 0
    assert len(load(tmp_path / "out" / "results.json")) >= 16


@pytest.mark.parametrize("inner", ["out", "."])
def test_the_results_are_not_seen_as_images(photos, inner):
    for _ in range(2):
        assert main(["predict", str(photos), "--out", str(photos / inner), "--overwrite"]) == 0
        assert len(load(photos / inner / "images.json")["images"]) == 8


def test_overlays_of_earlier_runs_are_left_out_and_named_in_one_line(photos, tmp_path, capsys):
    outs = [photos / "out", photos / "sub" / "another", tmp_path / "elsewhere"]
    counts = []
    for out in (out for out in outs for _ in range(2)):
        assert main(["predict", str(photos), "--out", str(out)]) == 0
        assert len(load(out / "images.json")["images"]) == 8
        lines = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
        assert len(lines) <= 1
        counts.append("".join(lines).count("/overlays"))
    assert counts == [0, 1, 1, 2, 2, 2]
    words = ["predict", str(photos / "**" / "*.*"), "--out", str(outs[0]), "--overwrite"]
    assert main(words) == 3
    assert len(load(outs[0] / "images.json")["images"]) == 8
    assert "left out" in capsys.readouterr().out


def test_photos_in_a_folder_that_a_run_was_written_to_are_found(photos, tmp_path):
    assert main(["predict", str(photos), "--out", str(photos / "sub")]) == 0
    for out in (photos / "sub", tmp_path / "out"):
        assert main(["predict", str(photos), "--out", str(out)]) == 0
        assert len(load(out / "images.json")["images"]) == 8


def test_ids_from_annotations(photos, tmp_path):
    annotations = {
        "images": [
            {"id": 90, "file_name": "1.png"},
            {"id": 91, "file_name": "val_000000000000.jpg"},
        ]
    }
    (tmp_path / "a.json").write_text(json.dumps(annotations))
    words = [
        "predict",
        str(photos),
        "--out",
        str(tmp_path / "out"),
        "--annotations",
        str(tmp_path / "a.json"),
    ]
    assert main(words) == 0
    ids = {
        image["file_name"]: image["id"]
        for image in load(tmp_path / "out" / "images.json")["images"]
    }
    assert ids["sub/1.png"] == 90
    assert ids["val_000000000000.jpg"] == 91


def named_file(path: Path, names, category_id=1) -> str:
    """Annotations of images of these names, without people."""
    images = [
        {"id": number, "file_name": name, "width": 256, "height": 192}
        for number, name in enumerate(names, 50)
    ]
    category = {"id": category_id, "name": "dot", "keypoints": [*DOTS.keypoints]}
    content = {"images": images, "annotations": [], "categories": [category]}
    path.write_text(json.dumps(content))
    return str(path)


def predict_with(annotations: str, photos: Path, out: Path) -> int:
    return main(["predict", str(photos), "--out", str(out), "--annotations", annotations])


def ids_in(out: Path) -> dict[str, int]:
    return {image["file_name"]: image["id"] for image in load(out / "images.json")["images"]}


def test_names_of_another_machine_are_matched(photos, tmp_path, capsys):
    names = [f"..\\..\\media\\{i}.PNG" if i % 2 else f"/x/val_{i:012}.jpg" for i in range(8)]
    assert predict_with(named_file(tmp_path / "a.json", names), photos, tmp_path / "out") == 0
    ids = ids_in(tmp_path / "out")
    assert [ids[f"sub/{i}.png"] for i in (1, 3, 5, 7)] == [51, 53, 55, 57]
    assert [ids[f"val_{i:012}.jpg"] for i in (0, 2, 4, 6)] == [50, 52, 54, 56]
    assert capsys.readouterr().err == ""


def test_images_without_annotations_are_told_before_the_first_one(
    photos, tmp_path, monkeypatch, capsys
):
    path = named_file(tmp_path / "a.json", ["other/1.png", "else.png"])
    told = []
    append = Journal.append
    monkeypatch.setattr(
        Journal, "append", lambda *a: told.append(capsys.readouterr().err) or append(*a)
    )
    assert predict_with(path, photos, tmp_path / "out") == 0
    assert "names 1 of 8 images. The source has 'sub/3.png', the file has 'other/1.png'" in told[0]


@pytest.mark.parametrize(
    ("names", "seen"),
    [
        (["one.png", "two.png"], "'one.png'"),
        (["x/1.png", "y/1.png"], "'x/1.png'"),  # which of them is not known
    ],
)
def test_annotations_of_other_images_stop_the_run(photos, tmp_path, capsys, names, seen):
    path = named_file(tmp_path / "a.json", names)
    assert predict_with(path, photos, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert f"names 0 of 8 images. The source has 'sub/1.png', the file has {seen}" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("category_id", [0, 2, 5.0])
def test_what_predict_writes_evaluate_takes(photos, tmp_path, capsys, category_id):
    names = [f"{i}.png" if i % 2 else f"val_{i:012}.jpg" for i in range(8)]
    path = named_file(tmp_path / "a.json", names, category_id)
    assert predict_with(path, photos, tmp_path / "out") == 0
    results = load(tmp_path / "out" / "results.json")
    assert {result["category_id"] for result in results} == {category_id}
    assert main(["evaluate", str(tmp_path / "out" / "results.json"), path]) == 0
    assert "AP " in capsys.readouterr().out


def test_samples_are_the_source_if_there_is_no_other(tmp_path):
    assert main(["predict", "--out", str(tmp_path / "out"), "--no-overlays"]) == 0
    assert len(load(tmp_path / "out" / "images.json")["images"]) >= 3
    assert not (tmp_path / "out" / "overlays").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nowhere.jpg"], "nowhere.jpg: no such file"),
        (["empty"], "empty: no images"),
        (["*.gif"], "no file matches"),
        ([f"{i}.jpg" for i in range(25)], "0.jpg: no such file"),
        (["photos", "--annotations", "nowhere.json"], "nowhere.json"),
        (["photos", "--device", "toaster"], "toaster"),
        (["photos", "--size", "auto"], "needs a network whose people vote"),
        (["photos", "--size", "large"], "'large'"),
        (["photos", "--max-megapixels", "0"], "'0'"),
    ],
)
def test_wrong_usage_writes_nothing(photos, tmp_path, monkeypatch, capsys, words, reason):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["predict", *words, "--out", "out"]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_weights_are_wrong_usage(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.undo()
    assert (
        main(
            ["predict", str(photos), "--out", str(tmp_path / "out"), "--weights", "no_such_weights"]
        )
        == 2
    )
    assert "no_such_weights" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_out_must_be_a_folder(photos, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert main(["predict", str(photos), "--out", str(tmp_path / "file")]) == 2
    assert main(["predict", str(photos), "--out", str(tmp_path / "file" / "sub")]) == 1
    assert (tmp_path / "file").read_text() == "mine"
    assert "Traceback" not in capsys.readouterr().err


def test_one_missing_source_among_others_is_a_failure(photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", str(photos), str(photos / "gone.jpg"), "--out", str(out)]) == 3
    assert load(out / "failures.json") == [{"file": "gone.jpg", "reason": "no such file or folder"}]
    assert "gone.jpg: no such file" in capsys.readouterr().out
    assert len(load(out / "images.json")["images"]) == 8


def test_many_failures_are_counted(tmp_path, capsys):
    for i in range(30):
        (tmp_path / f"{i}.jpg").write_text("text")
    (tmp_path / "new\nline.jpg").write_text("text")
    assert main(["predict", str(tmp_path), "--out", str(tmp_path / "out")]) == 3
    text = capsys.readouterr().out
    assert "31 files failed" in text
    assert "11 more" in text
    assert len(load(tmp_path / "out" / "failures.json")) == 31


def run(photos: Path, out: Path, *options: str) -> int:
    return main(["predict", str(photos), "--out", str(out), *options])


def names_in(out: Path) -> list[str]:
    """Of the records, in their order."""
    return [entry.name for _, entry in read(out / JOURNAL) if isinstance(entry, Record)]


def lists_of(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in LISTS]


@pytest.fixture
def undisturbed(photos, tmp_path) -> list[bytes]:
    """The lists of a run that was not interrupted."""
    assert run(photos, tmp_path / "undisturbed") == 0
    return lists_of(tmp_path / "undisturbed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_finishes_what_is_under_way_and_goes_on(
    photos, tmp_path, net, undisturbed, monkeypatch, capsys, number
):
    monkeypatch.setattr(predictor, "map_ahead", functools.partial(map_ahead, num_workers=1))
    trunk, net.trunk = net.trunk, SignallingTrunk(1, number)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    out = tmp_path / "out"
    assert run(photos, out, "--batch-size", "1") == 128 + number
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert sorted(os.listdir(out)) == RUN_FILES
    images = load(out / "images.json")["images"]
    assert [image["file_name"] for image in images] == names_in(out)
    assert 1 <= len(images) < 8
    assert {person["image_id"] for person in load(out / "results.json")} == {
        image["id"] for image in images
    }
    told = capsys.readouterr()
    assert f"interrupted after {len(images)} image" in told.out
    assert told.err.count("stopping after the images that are under way") == 1

    net.trunk = trunk
    assert run(photos, out) == 0
    assert lists_of(out) == undisturbed
    assert len(set(names_in(out))) == len(names_in(out)) == 8
    assert f"{len(images)} images kept from before" in capsys.readouterr().out


def test_a_second_signal_stops_at_once_and_loses_nothing(
    photos, tmp_path, undisturbed, monkeypatch, capsys
):
    append = Journal.append

    def interrupted_append(self, entry):
        append(self, entry)
        if isinstance(entry, Record) and entry.name == "sub/5.png":
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    out = tmp_path / "out"
    with monkeypatch.context() as patches:
        patches.setattr(Journal, "append", interrupted_append)
        assert run(photos, out) == 130
    assert names_in(out) == ["sub/1.png", "sub/3.png", "sub/5.png"]
    assert "the same command goes on" in capsys.readouterr().out
    assert run(photos, out) == 0
    assert lists_of(out) == undisturbed


def test_a_finished_run_ends_at_once(photos, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert run(photos, out) == 0
    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.name != ".lock"}
    monkeypatch.setattr(predictor.Predictor, "_predict", lambda *_: {}["not needed"])
    assert run(photos, out) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "nothing to do: 8 images done before" in capsys.readouterr().out
    (out / "results.json").unlink()
    assert run(photos, out) == 0
    assert len(load(out / "results.json")) == 16


def test_a_signal_while_a_finished_run_is_listed(photos, tmp_path, monkeypatch, capsys):
    assert run(photos, tmp_path / "out") == 0

    def interrupted_scan(*arguments, **options):
        for frame in scan(*arguments, **options):
            yield frame
            signal.raise_signal(signal.SIGINT)

    capsys.readouterr()
    monkeypatch.setattr(prediction, "scan", interrupted_scan)
    assert run(photos, tmp_path / "out") == 130
    assert "nothing to do" not in capsys.readouterr().out


def test_a_torn_record_is_done_again(photos, tmp_path, undisturbed):
    out = tmp_path / "out"
    assert run(photos, out) == 0
    lines = (out / JOURNAL).read_bytes().splitlines(keepends=True)
    (out / JOURNAL).write_bytes(b"".join(lines[:4]) + lines[4][:-20])
    assert names_in(out) == ["sub/1.png", "sub/3.png", "sub/5.png"]
    assert run(photos, out) == 0
    assert len(names_in(out)) == 8
    assert lists_of(out) == undisturbed


def test_what_changed_is_done_again_and_what_is_new_is_done(photos, tmp_path):
    out = tmp_path / "out"
    assert run(photos, out) == 0
    (photos / "sub/1.png").write_bytes((photos / "sub/3.png").read_bytes())
    (photos / "sub/2.png").write_bytes((photos / "sub/3.png").read_bytes())
    (out / "overlays/sub/7.png.jpg").unlink()
    os.utime(photos / "sub/5.png", ns=(0, 0))
    assert run(photos, out) == 0
    assert names_in(out)[8:] == ["sub/1.png", "sub/2.png", "sub/5.png", "sub/7.png"]
    images = {image["file_name"]: image for image in load(out / "images.json")["images"]}
    assert len(images) == 9
    assert images["sub/1.png"]["width"] == images["sub/3.png"]["width"]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--size", "128"], "size 256, not 128"),
        (["--scales", "0.5"], r"scales \[1.0\], not \[0.5\]"),
        (["--flip"], "flip false, not true"),
        (["--mode", "official"], 'mode "robust", not "official"'),
        (["--score-threshold", "0.5"], "score threshold 0.17, not 0.5"),
        (["--keypoint-threshold", "0.5"], "keypoint threshold"),
        (["--no-exif"], "exif true, not false"),
        (["--no-overlays"], "overlays true, not false"),
        (["--pixel-limit", "1"], "pixel limit"),
        (["--shard", "1/2"], r"shard null, not \[1, 2\]"),
    ],
)
def test_other_settings_are_refused_by_their_name(photos, tmp_path, capsys, options, name):
    out = tmp_path / "out"
    assert run(photos, out) == 0
    before = lists_of(out)
    capsys.readouterr()
    assert run(photos, out, *options) == 2
    message = capsys.readouterr().err
    assert re.search(f"holds a run with {name}", message)
    assert "--overwrite" in message
    assert lists_of(out) == before


def test_other_sources_are_refused(photos, tmp_path, capsys):
    assert run(photos, tmp_path / "out") == 0
    assert run(photos / "sub", tmp_path / "out") == 2
    assert "holds a run with sources" in capsys.readouterr().err


def test_other_weights_and_other_annotations_are_refused(photos, tmp_path, net, capsys):
    annotations = tmp_path / "a.json"
    annotations.write_text(json.dumps({"images": [{"id": 90, "file_name": "1.png"}]}))
    out = tmp_path / "out"
    assert run(photos, out, "--annotations", str(annotations)) == 0
    annotations.write_text(json.dumps({"images": [{"id": 91, "file_name": "1.png"}]}))
    assert run(photos, out, "--annotations", str(annotations)) == 2
    assert "annotations' SHA-256" in capsys.readouterr().err
    assert run(photos, out) == 2
    assert "with annotations " in capsys.readouterr().err
    assert run(photos, out, "--overwrite") == 0
    net.mean += 0.1
    assert run(photos, out) == 2
    assert "weights' SHA-256" in capsys.readouterr().err


def test_settings_that_were_lost_are_not_guessed(photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(photos, out) == 0
    (out / JOURNAL).write_bytes((out / JOURNAL).read_bytes()[1:])
    assert run(photos, out) == 2
    assert "settings that cannot be read" in capsys.readouterr().err
    assert run(photos, out, "--overwrite") == 0


def test_failed_files_are_done_again_if_asked(photos, tmp_path, capsys):
    bad = photos / "bad.jpg"
    good = (photos / "sub/1.png").read_bytes()
    bad.write_bytes(bytes(len(good)))
    stamp = bad.stat()
    out = tmp_path / "out"
    assert run(photos, out) == 3
    assert run(photos, out) == 3
    assert "9 images done before, 1 of them failed" in capsys.readouterr().out
    assert run(photos, out, "--retry-failed") == 3
    assert names_in(out).count("bad.jpg") == 2
    assert [entry["file"] for entry in load(out / "failures.json")] == ["bad.jpg"]
    bad.write_bytes(good)
    os.utime(bad, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert run(photos, out) == 3  # its size and its time are as before
    assert run(photos, out, "--retry-failed") == 0
    assert load(out / "failures.json") == []


def test_failures_that_the_source_has_no_longer_are_forgotten_if_asked(photos, tmp_path, capsys):
    (photos / "bad.jpg").write_bytes(b"")
    other, out = tmp_path / "mount", tmp_path / "out"
    words = ["predict", str(photos), str(other), "--out", str(out)]
    assert main(words) == 3
    assert [one["file"] for one in load(out / "failures.json")] == ["mount", "photos/bad.jpg"]
    (photos / "bad.jpg").unlink()
    (photos / "sub").rename(other)
    assert main(words) == 3
    assert main([*words, "--retry-failed"]) == 0
    assert load(out / "failures.json") == []
    assert len(load(out / "images.json")["images"]) == 12  # those that were in sub stay
    assert main([*words, "--retry-failed"]) == main(words) == 0
    assert "nothing to do: 8 images done before" in capsys.readouterr().out


def test_a_folder_in_use_is_refused(photos, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"):
        assert run(photos, tmp_path / "out") == 2
    assert f"in use by process {os.getpid()}" in capsys.readouterr().err


def test_shards_together_are_the_run(photos, tmp_path, undisturbed, capsys):
    outs = [tmp_path / f"{i}" for i in (1, 2, 3)]
    for i, out in enumerate(outs):
        assert run(photos, out, "--shard", f"{i + 1}/3") == 0
    assert sorted(name for out in outs for name in names_in(out)) == sorted(
        names_in(tmp_path / "undisturbed")
    )
    assert main(["collect", *map(str, outs), "--out", str(tmp_path / "all")]) == 0
    assert lists_of(tmp_path / "all")[:3] == undisturbed[:3]
    assert "8 images, 16 people found" in capsys.readouterr().out


def test_a_shard_without_images_is_a_run(photos, tmp_path):
    codes = [run(photos, tmp_path / f"{i}", "--shard", f"{i}/40") for i in range(1, 41)]
    assert codes == [0] * 40
    assert sum(len(names_in(tmp_path / f"{i}")) for i in range(1, 41)) == 8
    assert run(photos, tmp_path / "1", "--shard", "1/40") == 0


def test_what_cannot_be_listed_belongs_to_all_shards(photos, tmp_path):
    outs = [tmp_path / f"{i}" for i in (1, 2, 3)]
    for i, out in enumerate(outs):
        words = [str(photos / "sub"), str(photos / "not mounted"), "--out", str(out)]
        assert main(["predict", *words, "--shard", f"{i + 1}/3"]) == 3
    assert main(["collect", *map(str, outs), "--out", str(tmp_path / "all")]) == 3
    assert [entry["file"] for entry in load(tmp_path / "all" / "failures.json")] == ["not mounted"]


def test_what_was_done_stays_if_the_files_of_a_list_are_gone(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos)
    (tmp_path / "list.txt").write_text("sub/1.png\nsub/3.png\n")
    assert run(tmp_path / "list.txt", tmp_path / "out") == 0
    before = lists_of(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path / "list.txt", tmp_path / "out") == 0
    assert lists_of(tmp_path / "out") == before


def test_a_source_that_is_a_tar_file_and_one_that_is_a_list(photos, tmp_path, undisturbed):
    paths = sorted(path for path in photos.rglob("*") if path.is_file())
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for path in paths[::-1]:
            tar.add(path, path.relative_to(photos))
    out = tmp_path / "out"
    assert run(tmp_path / "photos.tar", out) == 0
    assert lists_of(out)[:3] == undisturbed[:3]
    assert run(tmp_path / "photos.tar", out) == 0
    assert len(names_in(out)) == 8
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in paths))
    assert run(tmp_path / "list.txt", tmp_path / "out2") == 0
    assert len(load(tmp_path / "out2" / "images.json")["images"]) == 8


def test_reading_in_other_processes_gives_the_same(photos, tmp_path, undisturbed):
    assert run(photos, tmp_path / "out", "--isolate") == 0
    assert lists_of(tmp_path / "out") == undisturbed


def test_the_limit_of_pixels(photos, tmp_path):
    assert run(photos, tmp_path / "out", "--pixel-limit", "0.04") == 3
    reasons = {entry["reason"] for entry in load(tmp_path / "out" / "failures.json")}
    assert reasons == {"its header claims 256 x 192 pixels, more than 40,000"}
    assert len(load(tmp_path / "out" / "images.json")["images"]) == 3


def test_parquet_files_are_there_if_asked_for(photos, tmp_path):
    pytest.importorskip("pyarrow")
    assert run(photos, tmp_path / "out") == 0
    assert run(photos, tmp_path / "out", "--parquet") == 0
    assert (tmp_path / "out" / "results.parquet").is_file()


@pytest.mark.parametrize(
    ("owner", "function"), [(Renderer, "__call__"), (Journal, "append"), (lists, "_index")]
)
def test_a_full_disk_is_one_line_and_the_run_goes_on_later(
    photos, tmp_path, undisturbed, monkeypatch, capsys, owner, function
):
    out = tmp_path / "out"
    whole, calls = getattr(owner, function), []

    def full(*arguments):
        calls.append(1)
        if len(calls) > (0 if owner is lists else 4):
            raise OSError(28, "No space left on device")
        return whole(*arguments)

    with monkeypatch.context() as patches:
        patches.setattr(owner, function, full)
        assert run(photos, out) == 1
    error = capsys.readouterr().err
    assert "No space left on device; once that is mended, the same command goes on" in error
    assert "results.json" not in os.listdir(out)
    assert run(photos, out) == 0
    assert lists_of(out) == undisturbed
    assert len(names_in(out)) == 8


def test_a_failure_of_ours_is_not_hidden_and_leaves_no_parts(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(lists, "_index", lambda *_: {}["bug"])
    with pytest.raises(KeyError):
        run(photos, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == [".lock", JOURNAL, "overlays"]


def test_progress_in_a_pipe_is_a_line_now_and_then(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_PER_LINE", 0.0)
    assert main(["predict", str(photos), "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("8 of 8, ")
    assert "16 people" in lines[-1]


def test_progress_on_a_terminal_is_a_bar(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert main(["predict", str(photos), "--out", str(tmp_path / "out")]) == 0
    assert "images/s" in sys.stderr.getvalue()
