"""Every recipe in configs/ trains, stops and goes on, on a handful of tiny images."""

import json
import shlex
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from bottomup import COCO, CROWDPOSE
from bottomup.cli import main
from bottomup.cli.configs import recipes
from bottomup.data.samples import Batch
from bottomup.models.heads import DenseHead
from bottomup.models.mobilenet import Conv, SeparableConv
from bottomup.training.estimator import Estimator
from tests.support.recipes import make_recipe, total_loss
from tests.support.training_runs import LIGHTNING

ALL = {
    "synthetic",
    "custom_keypoints",
    "mobile_coco",
    "mobile_multiresolution_coco",
    "hrnet_w32_ae_coco",
}
ALL |= {"topdown_heatmap", "topdown_regression", "topdown_softargmax", "person_detector"}
ALL |= {f"higherhrnet_{which}" for which in ("w32_coco", "w48_coco", "w32_crowdpose")}

pytestmark = LIGHTNING


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


def tiny_data(recipe: str, folder: Path) -> list[str]:
    """Arguments that make data and images of a recipe tiny."""
    arguments = [
        "--data.num_workers=0", "--data.batch_size=2", "--trainer.accelerator=cpu",
        "--trainer.devices=1", "--trainer.precision=32-true", "--trainer.enable_progress_bar=false",
    ]  # fmt: skip
    is_crop = recipe.startswith("topdown_")
    arguments.append("--model.network.height=128" if is_crop else "--model.network.input_size=64")
    if recipe == "synthetic":
        crowd = ["--data.train_length=4", "--data.crowd.width=64", "--data.crowd.height=64"]
        return [*arguments, *crowd, "--data.val_length=2"]
    names = {
        "custom_keypoints": ("left_ear", "right_ear", "tail"),
        "higherhrnet_w32_crowdpose": CROWDPOSE.keypoints,
    }
    path = make_photos(folder, names.get(recipe, COCO.keypoints))
    for kind in ("train", "val"):
        arguments += [f"--data.{kind}_annotations={path}", f"--data.{kind}_images={folder}"]
    arguments.append("--data.augment.height=128" if is_crop else "--data.augment.size=64")
    if "drawn_crops" in (text := recipes()[recipe].read_text()):
        arguments.append("--data.drawn_crops=0")
    if "drawn_images" in text:
        arguments.append("--data.drawn_images=0")
    return arguments


# of the four recipes with HRNet, which differ little here, one is quick enough
LARGE = ("higherhrnet_w48_coco", "higherhrnet_w32_crowdpose", "hrnet_w32_ae_coco")


@pytest.mark.parametrize(
    "recipe",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in recipes()],
)
def test_a_stopped_recipe_goes_on_and_ends_with_its_newest_state(
    recipe, tmp_path, monkeypatch, capsys
):
    """With its own callbacks: SIGTERM in the first step, before any validation."""
    arguments = tiny_data(recipe, tmp_path)
    step = Estimator.training_step
    with monkeypatch.context() as patched:
        patched.setattr(
            Estimator,
            "training_step",
            lambda self, *batch: signal.raise_signal(signal.SIGTERM) or step(self, *batch),
        )
        assert main(["fit", "--config", recipe, *arguments, "--trainer.max_steps=3"]) == 143
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if "bottomup fit" in line]
    _, *words = shlex.split(line.partition(": ")[2])
    assert torch.load(words[-1], weights_only=True)["global_step"] == 1

    assert main(words) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert "val/AP" in out
    newest = next(line for line in out.splitlines() if line.startswith("newest state: "))
    saved = torch.load(newest.removeprefix("newest state: "), weights_only=True)
    assert saved["global_step"] == 3
    assert ("bottomup predict" in out) == ("topdown" not in recipe and recipe != "person_detector")


@pytest.mark.parametrize(
    "recipe",
    [
        "mobile_coco",
        pytest.param("topdown_regression", marks=pytest.mark.slow),
        pytest.param("person_detector", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("missing", ["error", "skip"])
def test_broken_photos_stop_a_training_or_are_left_out(recipe, missing, tmp_path, capfd, caplog):
    """One that its header tells, and one that only decoding tells."""
    arguments = [*tiny_data(recipe, tmp_path), "--trainer.max_steps=2", "--data.num_workers=1"]
    arguments.append(f"--data.missing={missing}")
    (tmp_path / "0.png").write_bytes((tmp_path / "0.png").read_bytes()[:5000])
    assert main(["fit", "--config", recipe, *arguments]) == (2 if missing == "error" else 0)
    out, err = capfd.readouterr()
    assert "0.png: truncated" in err + caplog.text
    assert "Traceback" not in err
    if missing == "skip":
        assert "left out of train: 1 of 4 photos" in out
        assert "left out of val: 1 of 4 photos" in out

    (tmp_path / "1.png").write_bytes(b"")
    assert main(["fit", "--config", recipe, *arguments]) == (2 if missing == "error" else 0)
    out, err = capfd.readouterr()
    assert "1.png: empty" in err + caplog.text
    if missing == "skip":
        assert "left out of train: 2 of 4 photos" in out


def test_every_recipe_validates_ten_times(recipe_settings):
    """A recipe by epochs every tenth of them; one by steps every tenth of these."""
    trainer = recipe_settings["trainer"]
    if "max_epochs" in trainer:
        assert trainer["max_epochs"] // trainer["check_val_every_n_epoch"] >= 10
    elif "val_check_interval" in trainer:
        assert trainer["check_val_every_n_epoch"] is None
        assert trainer["max_steps"] // trainer["val_check_interval"] >= 10
    else:  # after every epoch
        data = recipe_settings["data"]["init_args"]
        assert trainer["max_steps"] * data["batch_size"] // data["train_length"] >= 10


@pytest.fixture(params=recipes())
def recipe_settings(request) -> dict:
    return yaml.safe_load(recipes()[request.param].read_text())


FROM_BUNDLED = [name for name, path in recipes().items() if "weights: mobile" in path.read_text()]


@pytest.fixture
def own_joints(tmp_path) -> str:
    """17 joints, of which the bundled weights know every other one by name."""
    names = [name if k % 2 else f"own_{k}" for k, name in enumerate(COCO.keypoints)]
    return str(make_photos(tmp_path, tuple(names)))


def step_once(name: str, joints: str, apart: float = 1.0) -> tuple[float, float]:
    """The loss of a small batch before and after a step of a recipe, at the rate of its peak.

    Args:
        name: of the recipe.
        joints: the annotation file of joints of one's own.
        apart: by this, layers of trained pairs whose relative scale is free are multiplied and
            divided.
    """
    torch.manual_seed(0)
    own = {"skeleton": joints} if name == "custom_keypoints" else {}
    estimator, data = make_recipe(name, **own)
    batch = Batch(*(part[:4] for part in next(iter(data.train_dataloader()))))
    with torch.no_grad():
        balanced = total_loss(estimator, batch).item()
    for first, second in pairs_of(estimator.network):
        if second.weight.requires_grad:
            first.weight.data *= apart
            second.weight.data /= apart
            if first.bias is not None:
                first.bias.data *= apart
    made = estimator.configure_optimizers()
    optimizer = made["optimizer"] if isinstance(made, dict) else made
    for group in optimizer.param_groups:
        group["lr"] = group.get("max_lr", group.get("initial_lr", group["lr"]))
    before = total_loss(estimator, batch)
    assert before.item() == pytest.approx(balanced, rel=1e-3)
    before.backward()
    optimizer.step()
    with torch.no_grad():
        return before.item(), total_loss(estimator, batch).item()


def pairs_of(network: torch.nn.Module) -> list[tuple[Conv, Conv]]:
    """Neighbouring layers with at most a ReLU between them, as in `import_movenet.balance`."""
    modules = list(network.modules())
    return [
        *((m.depthwise, m.pointwise) for m in modules if isinstance(m, SeparableConv)),
        *((m.hidden.pointwise, m.out) for m in modules if isinstance(m, DenseHead)),
    ]


@pytest.mark.parametrize("recipe", FROM_BUNDLED)
def test_a_step_from_bundled_weights_lowers_the_loss_of_its_batch(recipe, own_joints):
    before, after = step_once(recipe, own_joints)
    assert after < before


@pytest.mark.parametrize("recipe", ["mobile_coco", "custom_keypoints", "person_detector"])
def test_a_step_destroys_layers_that_are_not_balanced(recipe, own_joints):
    """So the test above can fail; other recipes train no such pair of the bundled weights."""
    before, after = step_once(recipe, own_joints, apart=1e3)
    assert after > 10 * before


def test_recipes_that_start_from_bundled_weights_are_known():
    assert set(FROM_BUNDLED) == {name for name in ALL if "hrnet" not in name} - {"synthetic"}
