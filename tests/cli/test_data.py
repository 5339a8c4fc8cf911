import json

import cv2
import numpy as np
import pytest

from bottomup.cli import main
from tests.support.commands import usage_error


@pytest.fixture
def path(tmp_path) -> str:
    """Annotations of two images, of which one file exists: one person, one crowd."""
    person = {"image_id": 1, "category_id": 4, "keypoints": [1, 2, 2, 30, 40, 2, 5, 60, 1]}
    content = {
        "images": [
            {"id": number, "file_name": f"{number}.jpg", "width": 100, "height": 90}
            for number in (1, 2)
        ],
        "annotations": [
            person | {"id": 1},
            {"id": 2, "image_id": 2, "category_id": 4, "iscrowd": 1, "bbox": [0, 0, 9, 9]},
        ],
        "categories": [{"id": 4, "name": "cat", "keypoints": ["left_ear", "right_ear", "tail"]}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "1.jpg").write_bytes(b"")
    return str(tmp_path / "a.json")


def test_a_sound_file_is_one_line_of_counts(path, capsys):
    assert main(["data", "check", path]) == 0
    text = capsys.readouterr()
    assert text.out == (
        f"{path}: 2 images, 2 people (1 with labelled joints), 3 joints, 1 left-right pairs\n"
    )
    assert text.err == ""


def test_missing_and_broken_images_are_listed(path, tmp_path, capsys):
    error = usage_error(capsys, "data", "check", path, str(tmp_path))
    assert "1 of 2 images are missing" in error
    assert "2.jpg" in error
    cv2.imwrite(str(tmp_path / "2.jpg"), np.zeros((90, 100, 3), np.uint8))
    assert "1.jpg: empty" in usage_error(capsys, "data", "check", path, str(tmp_path))
    cv2.imwrite(str(tmp_path / "1.jpg"), np.zeros((90, 100, 3), np.uint8))
    assert main(["data", "check", path, str(tmp_path)]) == 0


@pytest.mark.parametrize("words", [["data"], ["data", "chekc", "a.json"], ["data", "check"]])
def test_wrong_words_are_wrong_usage(words, capsys):
    assert usage_error(capsys, *words).startswith("bottomup: data: ")


def test_a_file_that_is_not_there_is_wrong_usage(capsys):
    assert "nowhere.json" in usage_error(capsys, "data", "check", "nowhere.json")
