import argparse
import json
import subprocess
import sys

import pytest

from bottomup.cli import VERBS, main
from bottomup.images.drawing import KEYPOINT_THRESHOLD, SCORE_THRESHOLD


def errors_of(capsys, *words: str) -> str:
    assert main(words) == 2
    text = capsys.readouterr().err
    assert "Traceback" not in text
    assert "usage:" not in text
    return text


@pytest.mark.parametrize("words", [["--help"], ["-h"], *([verb, "--help"] for verb in VERBS)])
def test_help_is_readable_at_80_columns(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(words) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 84
    assert "==SUPPRESS==" not in text


def test_help_does_not_wait_for_torch():
    code = "import sys; from bottomup.cli import main; main(['predict', '--help']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("bottomup ")


def test_no_words_print_what_there_is(capsys):
    assert main([]) == 2
    assert "predict" in capsys.readouterr().out


def test_python_m():
    done = subprocess.run(
        [sys.executable, "-m", "bottomup", "predikt"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "did you mean bottomup predict?" in done.stderr


def test_whoever_stops_reading_the_output_gets_no_traceback():
    with subprocess.Popen(
        [sys.executable, "-m", "bottomup"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == 1


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["predikt"], "did you mean bottomup predict?"),
        (["xyz"], "choose one of predict, evaluate, convert"),
        (["predict", "--out", "o", "--scale", "1"], "--scales"),
        (["predict", "--ouput", "o"], "--out"),
        (["predict", "--out", "o", "--keypoint-treshold=0.1"], "--keypoint-threshold"),
        (["predict", "--out", "o", "--zzzzzz"], "predict --help"),
        (["predict", "--out", "o", "-x"], "unknown option -x"),
        (["predict"], "required: --out"),
        (["predict", "--out", "o", "--scales", "0.5", "photo.jpg"], "before --scales"),
        (["predict", "--out", "o", "--scales", "0"], "from 0.05 to 8"),
        (["predict", "--out", "o", "--scales", "nan"], "from 0.05 to 8"),
        (["predict", "--out", "o", "--score-threshold", "1.5"], "from 0 to 1"),
        (["predict", "--out", "o", "--keypoint-threshold", "-1"], "from 0 to 1"),
        (["predict", "--out", "o", "--batch-size", "0"], "whole number"),
        (["predict", "--out", "o", "--mode", "best"], "robust"),
        (["evaluate", "only_one"], "ANNOTATIONS"),
    ],
)
def test_wrong_usage_is_one_line_that_says_what_was_meant(words, meant, capsys):
    text = errors_of(capsys, *words)
    assert meant in text
    assert len(text.splitlines()) == 1


def test_thresholds_are_those_of_drawing():
    parser = argparse.ArgumentParser()
    VERBS["predict"].add_arguments(parser)
    arguments = parser.parse_args(["--out", "out"])
    assert arguments.score_threshold == SCORE_THRESHOLD
    assert arguments.keypoint_threshold == KEYPOINT_THRESHOLD


def test_a_path_in_place_of_a_verb(tmp_path, capsys):
    assert f"bottomup predict {tmp_path} --out" in errors_of(capsys, str(tmp_path))


def test_evaluate(tmp_path, capsys):
    keypoints = [value for i in range(17) for value in (10.0 + 5 * i, 20.0 + 3 * i, 2)]
    person = {"image_id": 7, "category_id": 1, "keypoints": keypoints}
    annotations = {
        "images": [{"id": 7, "file_name": "7.jpg", "width": 200, "height": 200}],
        "categories": [{"id": 1, "name": "person", "keypoints": [f"k{i}" for i in range(17)]}],
        "annotations": [
            {
                **person,
                "id": 1,
                "iscrowd": 0,
                "num_keypoints": 17,
                "bbox": [10, 20, 80, 60],
                "area": 4000,
            }
        ],
    }
    (tmp_path / "results.json").write_text(json.dumps([{**person, "score": 0.9}]))
    (tmp_path / "annotations.json").write_text(json.dumps(annotations))
    words = ["evaluate", str(tmp_path / "results.json"), str(tmp_path / "annotations.json")]
    assert main(words) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["AP"] == "1.0000"
    assert lines["APL"] == "nobody to find"
    assert main([*words, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["AP"] == pytest.approx(1)
    assert figures["APL"] is None
    assert len(figures) == 10


def test_evaluate_of_files_that_do_not_fit(tmp_path, capsys):
    assert "nowhere.json" in errors_of(capsys, "evaluate", "nowhere.json", "nowhere.json")


def test_convert_of_a_file_that_is_none(tmp_path, capsys):
    (tmp_path / "x.pth").write_text("text")
    assert "x.pth" in errors_of(
        capsys, "convert", str(tmp_path / "x.pth"), str(tmp_path / "out.safetensors")
    )
    assert not (tmp_path / "out.safetensors").exists()
