import json

import pytest

from scripts import compare_heads
from tests.scripts.comparison.people import standing, truth, write


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Features of three people in photos, in two views, and of two drawn ones."""
    images, annotations = write(
        tmp_path, truth([standing(60, 80), standing(140, 80)], [standing(100, 80)])
    )
    monkeypatch.setattr(compare_heads, "RATES", (1e-3, 3e-3))
    files = ["--val", str(annotations), str(images), "--out", str(tmp_path / "out")]
    compare_heads.main([
        "features", "--train", str(annotations), str(images), *files, "--drawn=2", "--views=2",
    ])  # fmt: skip
    return tmp_path / "out", files


def train(files, *more):
    compare_heads.main([
        "train", *files, "--sweep-steps=2", "--steps=4", "--seeds=1", "--batch-size=2", *more,
    ])  # fmt: skip


def test_every_head_is_trained_at_every_rate_and_then_at_the_best(folder, capsys):
    out, files = folder
    train(files)
    runs = json.loads((out / "curves.json").read_text())
    assert [run["kind"] for run in runs] == [k for k in compare_heads.KINDS for _ in range(3)]
    for kind in compare_heads.KINDS:
        low, high, best = [run for run in runs if run["kind"] == kind]
        assert (low["rate"], high["rate"], low["steps"], best["steps"]) == (1e-3, 3e-3, 2, 4)
        assert best["rate"] == max((low, high), key=lambda run: run["OKS"])["rate"]
        assert [point["step"] for point in best["curve"]] == [1, 2, 3, 4]
        assert 0 <= best["low"] <= best["AP"] <= best["high"] <= 1
        assert 0 <= best["OKS"] <= 1
        assert len(list(out.glob(f"{kind}_*.safetensors"))) == 3
    capsys.readouterr()
    train(files)
    assert capsys.readouterr().out == ""  # nothing is trained again


def test_fresh_joint_maps_are_another_comparison(folder, monkeypatch):
    monkeypatch.setattr(compare_heads, "KINDS", ("topdown_heatmap",))
    out, files = folder
    train(files, "--fresh")
    assert len(json.loads((out / "curves_fresh.json").read_text())) == 3
    assert not (out / "curves.json").exists()
    assert not list(out.glob("*.safetensors"))
