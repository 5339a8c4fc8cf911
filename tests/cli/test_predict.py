import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from bottomup import Poses
from bottomup.cli import main, predict, progress
from bottomup.cli.parser import Parser
from bottomup.images.drawing import KEYPOINT_THRESHOLD, SCORE_THRESHOLD
from bottomup.inference import predictor
from bottomup.inference.run_folder import RunFolder
from tests.support.dots import DOTS, crowd, dot_net, picture
from tests.support.picture_files import encode
from tests.support.signals import SignallingTrunk
from tests.support.terminals import Terminal

RUN_FILES = ["failures.json", "images.json", "index.html", "overlays", "results.json"]


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


def load(path: Path):
    return json.loads(path.read_text())


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


def test_a_second_run_is_the_same_and_does_not_see_the_first(photos, tmp_path):
    out = photos / "out"
    for _ in range(2):
        assert main(["predict", str(photos), "--out", str(out)]) == 0
        results = (out / "results.json").read_bytes()
    assert len(load(out / "images.json")["images"]) == 8
    assert (
        main(["predict", str(photos), "--out", str(photos)]) == 0
    )  # into the folder of the pictures itself
    assert main(["predict", str(photos), "--out", str(photos), "--batch-size", "3"]) == 0
    names = [image["file_name"] for image in load(photos / "images.json")["images"]]
    assert not [name for name in names if name.startswith("overlays")]
    assert len(results) > 2


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
    assert main(["predict", str(photos / "**" / "*.*"), "--out", str(outs[0])]) == 3
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
    add = RunFolder.add
    monkeypatch.setattr(
        RunFolder, "add", lambda *a: told.append(capsys.readouterr().err) or add(*a)
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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_is_completed_as_far_as_it_came(
    photos, tmp_path, net, capsys, number, code
):
    net.trunk = SignallingTrunk(8, number)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    out = tmp_path / "out"
    assert main(["predict", str(photos), "--out", str(out), "--batch-size", "1"]) == code
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert sorted(os.listdir(out)) == RUN_FILES
    images = load(out / "images.json")["images"]
    assert len(images) < 8
    assert {person["image_id"] for person in load(out / "results.json")} == {
        image["id"] for image in images
    }
    assert f"interrupted after {len(images)} of 8" in capsys.readouterr().out


def test_an_interruption_amid_a_row_waits_for_its_end(photos, tmp_path, monkeypatch):
    add = RunFolder.add

    def interrupted_add(self, row, image_id):
        if image_id == 5:
            signal.raise_signal(signal.SIGINT)
        add(self, row, image_id)

    monkeypatch.setattr(RunFolder, "add", interrupted_add)
    out = tmp_path / "out"
    assert main(["predict", str(photos), "--out", str(out)]) == 130
    assert [image["id"] for image in load(out / "images.json")["images"]] == [1, 3, 5]
    assert len(load(out / "results.json")) == 6


def test_an_interruption_before_the_first_image_leaves_valid_files(photos, tmp_path, net):
    net.trunk = SignallingTrunk(1)
    assert main(["predict", str(photos), "--out", str(tmp_path / "out")]) == 130
    assert load(tmp_path / "out" / "results.json") == []


@pytest.mark.parametrize("where", ["render", "add", "close"])
def test_a_full_disk_is_one_line_and_leaves_the_earlier_run(
    photos, tmp_path, monkeypatch, capsys, where
):
    out = tmp_path / "out"
    assert main(["predict", str(photos), "--out", str(out)]) == 0
    before = {path: path.read_bytes() for path in out.glob("*.*")}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, where, full)
    assert main(["predict", str(photos), "--out", str(out)]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.glob("*.*")} == before


def test_a_failure_of_ours_is_not_hidden_and_leaves_no_parts(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(RunFolder, "add", lambda *_: {}["bug"])
    with pytest.raises(KeyError):
        main(["predict", str(photos), "--out", str(tmp_path / "out")])
    assert os.listdir(tmp_path / "out") == ["overlays"]


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
