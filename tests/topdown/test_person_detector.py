import torch

from bottomup.topdown.person_detector import BUILDERS, CenterMaps, person_detector, read_centers
from bottomup.weights.store import load_network, save_model, start_from


@torch.no_grad()
def test_maps_of_both_scales(tmp_path):
    net = person_detector(input_size=128).eval()
    loaded, fresh, _ = start_from(net, "mobile")
    assert {"head.center.out.weight", "head.box_size.out.weight"} <= set(loaded)
    assert all(name.startswith("head.offset.") for name in fresh)
    maps = net(torch.randint(0, 256, (2, 3, 64, 128), dtype=torch.uint8))
    assert [m.center.shape for m in maps] == [(2, 1, 16, 32), (2, 1, 8, 16)]
    assert (
        [m.box_size.shape for m in maps]
        == [m.offset.shape for m in maps]
        == [(2, 2, 16, 32), (2, 2, 8, 16)]
    )
    save_model(net, tmp_path / "net.safetensors", shared="mobile")
    again = load_network(tmp_path / "net.safetensors", BUILDERS)
    assert (again.preprocessing.size, again.preprocessing.multiple) == (128, 64)
    assert torch.equal(again.head.offset.out.weight, net.head.offset.out.weight)


def test_boxes_are_read_at_peaks():
    center = torch.full((2, 1, 10, 12), -9.0)
    center[0, 0, 4, 5], center[0, 0, 4, 6], center[0, 0, 8, 2] = 2.0, 1.0, 3.0
    offset, size = torch.zeros(2, 2, 10, 12), torch.zeros(2, 2, 10, 12)
    offset[0, :, 4, 5] = torch.tensor([0.25, -0.5])
    size[0, :, 4, 5] = torch.tensor([6.0, 2.0])
    size[0, :, 8, 2] = torch.tensor([-1.0, 4.0])
    (boxes, scores), (none, no_scores) = read_centers(CenterMaps(center, offset, size))
    torch.testing.assert_close(scores, torch.tensor([3.0, 2.0]).sigmoid())
    torch.testing.assert_close(boxes, torch.tensor([[0.0, 8, 4, 8], [4.25, 0.5, 6.25, 6.5]]))
    assert none.shape == (0, 4)
    assert no_scores.shape == (0,)
