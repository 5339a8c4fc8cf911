import pytest
import torch

from bottomup import CROWDPOSE
from bottomup.topdown.person_net import BUILDERS, SoftArgmaxHead, read_maximum, to_crop
from bottomup.weights import store
from bottomup.weights.description import describe
from bottomup.weights.reading import WeightsError
from bottomup.weights.store import load_model, load_network, save_model, start_from

KINDS = sorted(BUILDERS)


@pytest.fixture(scope="module")
def nets():
    torch.manual_seed(0)
    return {kind: BUILDERS[kind](CROWDPOSE, height=128).eval() for kind in KINDS}


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_every_crop_has_its_joints(nets, kind):
    output = nets[kind](torch.randint(0, 256, (3, 3, 128, 96), dtype=torch.uint8))
    assert output.points.shape == (3, 14, 2)
    assert output.scores.shape == (3, 14)
    assert ((output.scores >= 0) & (output.scores <= 1)).all()
    assert (output.heatmaps is not None) == (kind == "topdown_heatmap")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_rebuilds_the_network(nets, kind, tmp_path):
    save_model(nets[kind], tmp_path / "net.safetensors")
    again = load_network(tmp_path / "net.safetensors", BUILDERS)
    assert describe(again) == describe(nets[kind])
    assert again.crop_wh == (96, 128)
    for name, tensor in nets[kind].state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    with pytest.raises(WeightsError, match=r"top-down methods to `bottomup\.topdown`"):
        load_model(tmp_path / "net.safetensors")


def test_a_file_need_not_hold_what_bundled_weights_hold(tmp_path):
    net = BUILDERS["topdown_heatmap"](height=128).eval()
    loaded, _, _ = start_from(net, "mobile")
    assert "trunk.last.weight" in loaded
    assert "head.heatmaps.out.weight" in loaded
    save_model(net, tmp_path / "whole.safetensors")
    save_model(net, tmp_path / "part.safetensors", shared="mobile")
    assert (tmp_path / "part.safetensors").stat().st_size < (
        tmp_path / "whole.safetensors"
    ).stat().st_size / 10
    one, other = (
        load_network(tmp_path / f"{name}.safetensors", BUILDERS).state_dict()
        for name in ("whole", "part")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_other_weights_than_those_that_a_file_was_made_with_are_noticed(tmp_path, monkeypatch):
    net = BUILDERS["topdown_heatmap"](height=128)
    start_from(net, "mobile")
    save_model(net, tmp_path / "part.safetensors", shared="mobile")
    with torch.no_grad():
        net.trunk.stem.weight[0, 0, 0, 0] += 1
    save_model(net, tmp_path / "mobile.safetensors")
    monkeypatch.setattr(
        "bottomup.weights.store.bundled", lambda: {"mobile": tmp_path / "mobile.safetensors"}
    )
    with pytest.raises(WeightsError, match="other weights 'mobile'"):
        load_network(tmp_path / "part.safetensors", BUILDERS)
    monkeypatch.setattr("bottomup.weights.store.bundled", dict)
    with pytest.raises(WeightsError, match="not there"):
        load_network(tmp_path / "part.safetensors", BUILDERS)


def gaussian(x: float, y: float) -> torch.Tensor:
    """1 1 64 48."""
    ys, xs = torch.arange(64.0)[:, None], torch.arange(48.0)
    return torch.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 8)[None, None]


@pytest.mark.parametrize(("x", "y"), [(10.3, 20.4), (10.0, 20.0), (30.6, 9.7)])
def test_the_maximum_moves_a_quarter_of_a_cell_towards_its_larger_neighbour(x, y):
    (point,), (score,) = (values[0] for values in read_maximum(gaussian(x, y)))
    cell = torch.tensor([x, y]).round()
    expected = cell + 0.25 * (torch.tensor([x, y]) - cell).sign()
    torch.testing.assert_close(point, expected)
    assert score.item() == pytest.approx(gaussian(x, y).max().item())


@pytest.mark.parametrize(("x", "y"), [(0, 0), (47, 0), (0, 63), (47, 63)])
def test_at_the_border_the_maximum_stays_in_its_cell(x, y):
    (point,) = read_maximum(gaussian(x, y))[0][0]
    assert point.tolist() == [x, y]


def test_a_map_covers_the_crop():
    cells = torch.tensor([[[0.0, 0.0], [47.0, 63.0]]])
    assert to_crop(cells, torch.zeros(1, 2, 64, 48), (192, 256)).tolist() == [
        [[1.5, 1.5], [189.5, 253.5]]
    ]


@torch.no_grad()
def test_the_mean_of_a_map_is_where_the_map_is_narrow():
    head = SoftArgmaxHead(1, 4, 1)
    head.heatmaps = torch.nn.Identity()  # the fine features are the logits
    maps = (
        -30
        * ((torch.arange(48.0) - 20.5) ** 2 + (torch.arange(64.0)[:, None] - 30) ** 2)[None, None]
    )
    output = head((maps, torch.zeros(1, 4, 8, 6)), (192, 256))
    torch.testing.assert_close(output.points, torch.tensor([[[21 * 4 - 0.5, 30.5 * 4 - 0.5]]]))
    assert output.scores.item() == pytest.approx(1)
    spread = head((torch.zeros_like(maps), torch.zeros(1, 4, 8, 6)), (192, 256))
    torch.testing.assert_close(spread.points, torch.tensor([[[95.5, 127.5]]]))
    assert spread.scores.item() == pytest.approx(16 / (48 * 64), rel=1e-4)


@pytest.mark.parametrize("height", [0, 100, 96])
def test_heights_out_of_range_are_refused(height):
    with pytest.raises(ValueError, match="multiple of 128"):
        BUILDERS["topdown_heatmap"](height=height)


def test_a_minus_zero_that_became_zero_is_still_shared(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FOLDER", tmp_path)  # of the bundled weights
    net = BUILDERS["topdown_regression"](CROWDPOSE, height=128)
    weight = next(net.parameters())
    with torch.no_grad():
        weight[0, 0] = -0.0
    save_model(net, tmp_path / "base.safetensors")
    with torch.no_grad():
        weight[0, 0] = 0.0
    save_model(net, tmp_path / "same.safetensors", shared="base")
    loaded = load_network(tmp_path / "same.safetensors", BUILDERS)
    pairs = zip(loaded.parameters(), net.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
