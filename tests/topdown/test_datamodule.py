import pytest

from bottomup.data.augment import Augment
from bottomup.data.scenes.crowd import Crowd
from bottomup.topdown.datamodule import BoxData, CropData
from bottomup.topdown.samples import CropAugment

CROWD = Crowd(width=64, height=64, people=(1, 2), sizes=(20.0, 60.0))
SMALL = {"crowd": CROWD, "val_length": 2, "batch_size": 2, "num_workers": 0}


def test_crops_come_in_batches():
    data = CropData(drawn_crops=4, augment=CropAugment(height=128), **SMALL)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == 2
    assert batches[0].image.shape == (2, 3, 128, 96)
    assert batches[0].keypoints.shape == (2, 1, 17, 3)
    assert len(data.evaluation_set) == 2


def test_boxes_come_in_batches():
    data = BoxData(drawn_images=2, augment=Augment(size=64, rotation=0.0), **SMALL)
    data.setup("fit")
    (batch,) = data.train_dataloader()
    assert batch.image.shape == (2, 3, 64, 64)
    assert batch.keypoints.shape[2:] == (2, 3)


@pytest.mark.parametrize("kind", [CropData, BoxData])
def test_what_is_missing_is_said(kind):
    with pytest.raises(ValueError, match="nothing to train on"):
        kind(**SMALL).setup("fit")
    with pytest.raises(ValueError, match=r"both --data\.train_annotations"):
        kind("file.json", **SMALL).setup("fit")
    with pytest.raises(ValueError, match="val_length is 0"):
        kind(**{**SMALL, "val_length": 0}).setup("fit")


def test_boxes_do_not_turn():
    with pytest.raises(ValueError, match="rotation to 0"):
        BoxData(augment=Augment(rotation=10.0))
