"""Every recipe in configs/ parses and takes two steps, on a handful of tiny images."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from bottomup import COCO, CROWDPOSE
from bottomup.cli import main
from bottomup.cli.configs import recipes

ALL = {
    "synthetic",
    "custom_keypoints",
    "mobile_coco",
    "mobile_multiresolution_coco",
    "hrnet_w32_ae_coco",
}
ALL |= {"topdown_heatmap", "topdown_regression", "topdown_softargmax", "person_detector"}
ALL |= {f"higherhrnet_{which}" for which in ("w32_coco", "w48_coco", "w32_crowdpose")}

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
)


@pytest.fixture(autouse=True)
def no_tensorboard_in_the_repository(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def make_photos(folder: Path, names: tuple[str, ...], *, category_id: int = 1) -> Path:
    """Four noisy photos of one person each; the joints are those of `names`."""
    rng = np.random.default_rng(0)
    images, people = [], []
    for number in range(4):
        cv2.imwrite(
            str(folder / f"{number}.png"), rng.integers(0, 256, (64, 80, 3)).astype(np.uint8)
        )
        images.append({"id": number, "file_name": f"{number}.png", "width": 80, "height": 64})
        keypoints = np.concatenate(
            [rng.uniform(8, 56, (len(names), 2)), np.full((len(names), 1), 2)], 1
        )
        people.append({"id": number, "image_id": number, "category_id": category_id,
                       "keypoints": keypoints.ravel().tolist(),
                       "bbox": [8, 8, 48, 48], "area": 2000, "iscrowd": 0,
                       "num_keypoints": len(names)})  # fmt: skip
    category = {"id": category_id, "name": "person", "keypoints": list(names), "skeleton": [[1, 2]]}
    path = folder / "annotations.json"
    path.write_text(json.dumps({"images": images, "annotations": people, "categories": [category]}))
    return path


def test_all_recipes_are_there():
    assert set(recipes()) >= ALL


@pytest.mark.parametrize("recipe", recipes())
def test_a_recipe_takes_two_steps(recipe, tmp_path, capsys):
    arguments = [
        "--data.num_workers=0", "--data.batch_size=2", "--trainer.max_steps=2",
        "--trainer.limit_val_batches=0", "--trainer.accelerator=cpu", "--trainer.devices=1",
        "--trainer.precision=32-true", "--trainer.enable_progress_bar=false",
        "--trainer.enable_checkpointing=false", "--trainer.callbacks=[]", "--trainer.logger=false",
        "--trainer.enable_model_summary=false",
    ]  # fmt: skip
    is_crop = recipe.startswith("topdown_")
    arguments.append("--model.network.height=128" if is_crop else "--model.network.input_size=64")
    if recipe == "synthetic":
        arguments += ["--data.train_length=4", "--data.crowd.width=64", "--data.crowd.height=64"]
    else:
        names = {
            "custom_keypoints": ("left_ear", "right_ear", "tail"),
            "higherhrnet_w32_crowdpose": CROWDPOSE.keypoints,
        }
        path = make_photos(tmp_path, names.get(recipe, COCO.keypoints))
        for kind in ("train", "val"):
            arguments += [f"--data.{kind}_annotations={path}", f"--data.{kind}_images={tmp_path}"]
        arguments.append("--data.augment.height=128" if is_crop else "--data.augment.size=64")
    assert main(["fit", "--config", recipe, *arguments]) == 0, capsys.readouterr().err
