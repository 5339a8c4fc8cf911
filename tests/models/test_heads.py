import pytest
import torch
from torch import nn

from bottomup.models.heads import MultiResolutionHead, SubpixelHead


@pytest.mark.parametrize("num_deconvs", [0, 1, 2])
@pytest.mark.parametrize("tag_dims", [1, 3])
def test_each_deconv_doubles_and_only_the_coarsest_has_tags(num_deconvs, tag_dims):
    head = MultiResolutionHead(
        8, 5, tag_dims=tag_dims, num_deconvs=num_deconvs, deconv_channels=6, num_blocks=1
    )
    outputs = head(torch.randn(2, 8, 4, 6))
    assert [out.heatmaps.shape for out in outputs] == [
        (2, 5, 4 * 2**i, 6 * 2**i) for i in range(num_deconvs + 1)
    ]
    assert outputs[0].tags is not None
    assert outputs[0].tags.shape == (2, 5, tag_dims, 4, 6)
    assert [out.tags for out in outputs[1:]] == [None] * num_deconvs


def test_channels_are_heatmaps_then_the_tags_of_each_joint():
    head = MultiResolutionHead(1, 2, tag_dims=3, num_deconvs=0)
    nn.init.zeros_(head.final_layers[0].weight)
    head.final_layers[0].bias.data = torch.arange(8.0)
    (output,) = head(torch.zeros(1, 1, 1, 1))
    assert output.heatmaps.flatten().tolist() == [0, 1]
    assert output.tags[0, :, :, 0, 0].tolist() == [[2, 3, 4], [5, 6, 7]]


def test_the_plain_head_is_one_convolution():
    names = list(MultiResolutionHead(8, 5, num_deconvs=0).state_dict())
    assert names == ["final_layers.0.weight", "final_layers.0.bias"]


def test_the_number_of_blocks_is_an_argument():
    head = MultiResolutionHead(8, 5, num_blocks=3)
    assert len(head.deconv_layers[0]) == 4
    assert head(torch.zeros(1, 8, 2, 2))[1].heatmaps.shape == (1, 5, 4, 4)


def test_what_these_heads_predict_is_read_as_it_is():
    for head in (MultiResolutionHead(8, 5), SubpixelHead(8, 5)):
        outputs = head(torch.zeros(1, 8, 2, 2))
        assert head.read(outputs) is outputs


@pytest.mark.parametrize(
    "arguments", [{"tag_dims": 0}, {"num_deconvs": 5}, {"num_deconvs": -1}, {"num_blocks": 10**9}]
)
def test_absurd_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="not"):
        MultiResolutionHead(8, 5, **arguments)


def test_it_starts_with_nearly_empty_heatmaps():
    outputs = MultiResolutionHead(32, 17)(torch.randn(1, 32, 8, 8))
    assert all(out.heatmaps.abs().max() < 0.1 for out in outputs)


def test_a_cell_of_the_features_predicts_the_four_that_it_covers():
    head = SubpixelHead(1, 2, tag_dims=1)
    nn.init.zeros_(head.final.weight)
    assert head.final.bias is not None
    head.final.bias.data = torch.arange(10.0)
    (output,) = head(torch.zeros(1, 1, 1, 1))
    torch.testing.assert_close(output.heatmaps, torch.arange(8.0).sigmoid().reshape(1, 2, 2, 2))
    assert output.tags is not None
    assert output.tags.flatten().tolist() == [8.0] * 4 + [9.0] * 4


def test_a_subpixel_head_starts_with_faint_heatmaps_and_tags_that_are_places():
    (output,) = SubpixelHead(8, 5, tag_anchor=0.5)(torch.randn(2, 8, 3, 4))
    assert output.heatmaps.shape == (2, 5, 6, 8)
    assert (output.heatmaps - SubpixelHead.START).abs().max() < 2e-3
    assert output.tags is not None
    x, y = output.tags.unbind(2)
    torch.testing.assert_close(x, (0.5 * torch.arange(8.0)).expand(2, 5, 6, 8), atol=0.05, rtol=0)
    torch.testing.assert_close(
        y, (0.5 * torch.arange(6.0))[:, None].expand(2, 5, 6, 8), atol=0.05, rtol=0
    )


@pytest.mark.parametrize("arguments", [{"tag_dims": 0}, {"tag_dims": 1, "tag_anchor": 0.1}])
def test_absurd_arguments_of_a_subpixel_head_are_refused(arguments):
    with pytest.raises(ValueError, match="not"):
        SubpixelHead(8, 5, **arguments)
