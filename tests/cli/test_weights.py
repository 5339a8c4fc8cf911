import dataclasses
import hashlib

import pytest
import torch

from bottomup.cli import main
from bottomup.models.pose_net import higherhrnet
from bottomup.weights.published import PUBLISHED, cached_path
from bottomup.weights.store import WeightsError, find, load_model
from tests.support.http_servers import serving

NAME = "tiny_640"


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    """A small network in MMPose's form."""
    torch.manual_seed(0)
    prefixes = {"trunk": "backbone", "head": "keypoint_head"}
    state = {}
    for name, tensor in higherhrnet(4, num_blocks=1).state_dict().items():
        part, _, rest = name.partition(".")
        if part in prefixes:  # mean and std are ours alone
            state[f"{prefixes[part]}.{rest}"] = tensor
    path = tmp_path_factory.mktemp("net") / "net.pth"
    torch.save({"state_dict": state, "meta": {}}, path)
    return path.read_bytes()


@pytest.fixture
def server(content, tmp_path, monkeypatch):
    """Serves the network; it is the only one that others publish."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with serving(content) as server:
        sha256 = hashlib.sha256(content).hexdigest()
        url = f"{server.url.rpartition('/')[0]}/tiny_640x640-{sha256[:8]}_2020.pth"
        published = dataclasses.replace(
            PUBLISHED["higherhrnet_w32_512"], url=url, megabytes=len(content) / 1e6
        )
        for name in list(PUBLISHED):
            monkeypatch.delitem(PUBLISHED, name)
        monkeypatch.setitem(PUBLISHED, NAME, published)
        yield server


def test_fetched_weights_are_taken_by_their_name(server, tmp_path, capsys):
    with pytest.raises(WeightsError, match=f"bottomup weights fetch {NAME}"):
        find(NAME)
    assert main(["weights", "list"]) == 0
    assert main(["weights", "fetch", NAME]) == 0
    text = capsys.readouterr().out
    assert "SHA-256 is right" in text
    assert f"--weights {NAME}" in text
    assert find(NAME) == cached_path(NAME)
    assert load_model(NAME).preprocessing.size == 640
    assert main(["convert", NAME, str(tmp_path / "out.safetensors")]) == 0
    assert main(["weights", "fetch", NAME]) == 0
    assert "there already" in capsys.readouterr().out
    assert len(server.ranges) == 1


def test_the_list_says_what_is_here(server, capsys):
    def lines():
        assert main(["weights", "list"]) == 0
        return {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}

    before = lines()
    assert "bundled" in before["mobile"]
    assert "fetched" not in before[NAME]
    assert main(["weights", "fetch", NAME]) == 0
    capsys.readouterr()
    assert "fetched" in lines()[NAME]


def test_another_place_must_have_the_same_file(server, capsys):
    content, server.content = server.content, server.content[:-1] + b"?"
    assert main(["weights", "fetch", NAME, "--url", f"{server.url}?mirror"]) == 1
    assert "another file" in capsys.readouterr().err
    assert not cached_path(NAME).exists()
    server.content = content
    assert main(["weights", "fetch", NAME, "--url", f"{server.url}?mirror"]) == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "action"),
        (["fetch"], f"fetch what? {NAME}"),
        (["fetch", "tiny_604"], f"did you mean {NAME}?"),
        (["fetch", "zzz"], f"choose one of {NAME}"),
        (["fetch", NAME, "--url", "file:///etc/passwd"], "begins with http"),
        (["list", NAME], "list takes nothing more"),
    ],
)
def test_wrong_usage_is_one_line(server, capsys, words, reason):
    assert main(["weights", *words]) == 2
    text = capsys.readouterr().err
    assert reason in text
    assert len(text.splitlines()) == 1


def test_a_file_of_that_name_is_used_where_nothing_is_fetched(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).write_bytes(server.content)
    assert str(find(NAME)) == NAME
