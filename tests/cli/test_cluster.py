"""What `predict --cluster` refuses before Ray is started."""

import contextlib
import importlib.util
import types

import pytest

from bottomup.cli import cluster, main
from bottomup.cli.report import Tally
from bottomup.distributed.blocks import start_name
from bottomup.distributed.cluster import require_room
from bottomup.distributed.places import Place
from bottomup.distributed.work import CHUNK, Report, Total
from bottomup.inference.journal import Session, encode
from tests.support.commands import usage_error
from tests.support.picture_files import HALVES
from tests.support.picture_files import encode as encode_image
from tests.support.run_folders import write_journal

ON_RAY = ["--cluster", "ray"]


@pytest.fixture
def has_ray(monkeypatch) -> None:
    """Let checks of arguments pass where Ray is not installed."""
    find = importlib.util.find_spec
    there = lambda name: types.SimpleNamespace() if name in ("ray", "pyarrow") else find(name)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", there)


@pytest.fixture
def photo(tmp_path) -> str:
    (tmp_path / "a.png").write_bytes(encode_image(HALVES, ".png"))
    return str(tmp_path / "a.png")


def test_without_ray_its_extra_is_named(photo, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    text = usage_error(capsys, "predict", photo, "--out", str(tmp_path / "out"), *ON_RAY)
    assert '--cluster ray needs ray: pip install "ray[data]", or "bottomup[ray]"' in text


@pytest.mark.usefixtures("has_ray")
def test_wrong_usage(photo, tmp_path, capsys):
    out = str(tmp_path / "out")
    text = usage_error(capsys, "predict", "-", "--out", out, *ON_RAY)
    assert "cannot read -: write the paths to a file" in text
    text = usage_error(capsys, "predict", photo, "--out", "memory://out", *ON_RAY)
    assert "in the memory of this process" in text
    text = usage_error(capsys, "predict", photo, "--out", photo, *ON_RAY)
    assert "is a file: name a folder" in text
    text = usage_error(capsys, "predict", photo, "--out", out, "--device", "cuda:1", *ON_RAY)
    assert "a cluster takes auto, cpu or cuda" in text
    text = usage_error(capsys, "predict", f"{photo}.jpg", "--out", out, *ON_RAY)
    assert "there is nothing to read" in text
    text = usage_error(capsys, "predict", photo, "--out", "nonsense://out", *ON_RAY)
    assert "name a path, or a protocol of fsspec" in text
    assert not (tmp_path / "out").exists()


def test_options_of_a_cluster_need_one(photo, tmp_path, capsys):
    for option in (["--workers", "2"], ["--ray-address", "auto"]):
        text = usage_error(capsys, "predict", photo, "--out", str(tmp_path / "out"), *option)
        assert f"{option[0]} needs --cluster ray" in text


def test_results_of_one_machine_go_to_a_folder(photo, capsys):
    text = usage_error(capsys, "predict", photo, "--out", "s3://bucket/out")
    assert "is a URL: name a folder, or add --cluster ray" in text


@pytest.mark.usefixtures("has_ray")
def test_runs_of_one_machine_and_of_many_are_not_mixed(photo, tmp_path, capsys):
    write_journal(tmp_path / "one", [Session({}, "cpu")])
    text = usage_error(capsys, "predict", photo, "--out", str(tmp_path / "one"), *ON_RAY)
    assert "holds a run of one machine" in text
    session = Session({}, "cpu")
    Place(str(tmp_path / "many")).write(start_name(1, session), encode(session))
    text = usage_error(capsys, "predict", photo, "--out", str(tmp_path / "many"))
    assert "holds a run on a cluster" in text


@pytest.mark.usefixtures("has_ray")
def test_other_settings_are_refused_before_ray_is_started(photo, tmp_path, capsys):
    session = Session({"version": "0.0"}, "cpu")
    Place(str(tmp_path / "out")).write(start_name(1, session), encode(session))
    text = usage_error(capsys, "predict", photo, "--out", str(tmp_path / "out"), *ON_RAY)
    assert 'holds a run with version "0.0"' in text
    assert "--overwrite" in text


def test_a_source_behind_a_url_without_a_cluster(tmp_path):
    import fsspec

    files, _ = fsspec.url_to_fs("memory://photos-of-test-cluster")
    files.pipe_file("photos-of-test-cluster/sub/a.png", encode_image(HALVES, ".png"))
    words = ["predict", "memory://photos-of-test-cluster", "--out", f"file://{tmp_path}/out"]
    assert main([*words, "--size", "64"]) == 0
    assert (tmp_path / "out" / "overlays" / "sub" / "a.png.jpg").is_file()


@pytest.mark.parametrize(
    ("machines", "resources", "has_room"),
    [
        ([{"CPU": 2.0}], (1, 0), True),
        ([{"CPU": 1.0}], (1, 0), False),
        ([{"CPU": 1.0}, {"CPU": 1.0}], (1, 0), True),
        ([{"CPU": 2.0}, {"CPU": 2.0}], (3, 0), False),
        ([{"CPU": 8.0}], (1, 1), False),
        ([{"CPU": 8.0}, {"CPU": 8.0, "GPU": 1.0}], (1, 1), True),
        ([{"memory": 8.0}], (1, 0), False),
    ],
)
def test_a_cluster_without_room_is_refused_rather_than_waited_for(machines, resources, has_room):
    wanted = dict(zip(("num_cpus", "num_gpus"), resources, strict=True))
    with contextlib.nullcontext() if has_room else pytest.raises(OSError, match="has room for"):
        require_room(machines, wanted)


def follow(*reports: Report | Total) -> bool:
    run = object.__new__(cluster._Run)
    run.tally = Tally()
    return run._follow(report for report in reports)


def test_a_pass_that_gets_nowhere_is_no_end_where_little_was_to_be_done():
    assert follow(Report(2, 5, 77), Total(1000, 998, 77))
    assert not follow(Total(1000, 1000 - CHUNK, 77))
    with pytest.raises(OSError, match="no image was done"):
        follow(Total(1000, 999 - CHUNK, 77))
    with pytest.raises(OSError, match="no image was done"):
        follow()
