import torch
import torch.nn.functional as F

from bottomup import networks
from bottomup.models.anchored_head import AnchoredHead
from bottomup.models.weights import load_model


def test_it_starts_with_places_and_with_the_same_heatmaps_twice_as_large():
    coarse, fine = AnchoredHead(6, 3, tag_anchor=0.25)(torch.randn(2, 6, 5, 7))
    assert coarse.tags is not None
    assert coarse.tags.shape == (2, 3, 2, 5, 7)
    assert coarse.tags[1, 2, :, 3, 6].tolist() == [6 * 0.25, 3 * 0.25]
    assert fine.tags is None
    logits = torch.logit(coarse.heatmaps)
    doubled = F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(torch.logit(fine.heatmaps), doubled, rtol=1e-3, atol=1e-4)


def test_its_heatmaps_start_from_those_of_the_bundled_network():
    net = networks.mobile_multiresolution(weights="mobile").eval()
    bundled = load_model("mobile")
    image = torch.randint(0, 256, (1, 3, 128, 64), dtype=torch.uint8)
    with torch.inference_mode():
        heatmaps = net(image)[0].heatmaps
        features = bundled.trunk((image - bundled.mean) / bundled.std)
        expected = bundled.head.predict(features[0]).heatmaps.sigmoid()  # type: ignore[operator, union-attr]
    torch.testing.assert_close(heatmaps, expected)


def test_all_of_it_learns():
    head = AnchoredHead(6, 3).train()
    coarse, fine = head(torch.randn(2, 6, 4, 4))
    assert coarse.tags is not None
    (coarse.heatmaps.mean() + coarse.tags.square().mean() + fine.heatmaps.mean()).backward()
    learning = {name.split(".")[0] for name, weight in head.named_parameters() if weight.grad is not None}
    assert learning == {"heatmaps", "tags", "upsample", "sharpen"}
