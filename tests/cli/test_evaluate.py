import json
from pathlib import Path

import pytest

from bottomup.cli import main
from tests.support.commands import usage_error


@pytest.fixture
def files(tmp_path) -> list[str]:
    """Results and annotations: one person, of middle size, found exactly."""
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
    return [str(tmp_path / "results.json"), str(tmp_path / "annotations.json")]


def test_figures_are_a_line_each(files, capsys):
    assert main(["evaluate", *files]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["AP"] == "1.0000"
    assert lines["APL"] == "nobody to find"


def test_json_has_all_figures(files, capsys):
    assert main(["evaluate", *files, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["AP"] == pytest.approx(1)
    assert figures["APL"] is None
    assert len(figures) == 10


def test_more_results_of_an_image_can_count_and_the_figures_say_so(files, capsys):
    """A right result behind 20 better-scored wrong ones of the same image."""
    (right,) = json.loads(Path(files[0]).read_text())
    wrong = right | {"keypoints": [0.0] * 51, "score": 0.95}
    Path(files[0]).write_text(json.dumps([wrong] * 20 + [right]))
    assert main(["evaluate", *files, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["AP"] == 0
    assert main(["evaluate", *files, "--json", "--max-people", "21"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["AP"] == pytest.approx(1 / 21)
    assert figures["max_people"] == 21
    assert main(["evaluate", *files, "--max-people", "21"]) == 0
    assert "not standard" in capsys.readouterr().out
    assert main(["evaluate", *files, "--max-people", "20"]) == 0
    assert "not standard" not in capsys.readouterr().out
    assert "'0'" in usage_error(capsys, "evaluate", *files, "--max-people", "0")


def test_files_that_do_not_fit_are_wrong_usage(capsys):
    assert "nowhere.json" in usage_error(capsys, "evaluate", "nowhere.json", "nowhere.json")
