"""Groups of cases for scripts/check_cases.py: what people have in their folders and do to runs."""

import copy
import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "bottomup" / "samples" / "officer.jpg"
TINY: dict[str, Any] = {
    "model": {
        "network": {
            "class_path": "bottomup.networks.compact",
            "init_args": {"width": 8, "input_size": 64},
        },
        "optimizer": {"class_path": "torch.optim.Adam"},
    },
    "trainer": {
        "accelerator": "cpu", "devices": 1, "max_steps": 1, "logger": False,
        "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
        "limit_val_batches": 1,
    },
}  # fmt: skip
SIDES = (
    ("ear_left", "ear_right"), ("left ear", "right ear"), ("L_Ear", "R_Ear"),
    ("r ankle", "l ankle"), ("paw_front_left", "paw_front_right"), ("LEye", "REye"),
    ("x.L", "x.R"), ("earLeft", "earRight"),
)  # fmt: skip
NO_SIDES = (("lower", "rower"), ("larm", "rarm"), ("light", "right_arm"), ("ear_left", "nose"))


class Case(NamedTuple):
    """A case and how it went."""

    name: str
    wanted: str
    got: str
    is_right: bool


def bottomup(*words: object) -> tuple[int, str, str]:
    """Run a command line; returns its exit code, its output and its errors."""
    command = [sys.executable, "-m", "bottomup", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr.removeprefix("bottomup: ").strip()


def labelled_photos(
    folder: Path, names: tuple[str, ...], *, num_images: int = 4, num_joints: int | None = None
) -> Path:
    """Make photos with one person each, whose first joints are labelled; returns the labels."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, people = [], []
    for number in range(1, num_images + 1):
        picture = rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), picture)
        images.append({"id": number, "file_name": f"{number}.jpg", "width": 96, "height": 96})
        shown = len(names) if num_joints is None else num_joints
        points = [
            [30 + 9 * k, 40 + 5 * k, 2] if k < shown else [0, 0, 0] for k in range(len(names))
        ]
        flat = [value for point in points for value in point]
        person = {"image_id": number, "category_id": 1, "bbox": [20, 20, 50, 60]}
        people.append(person | {"id": number, "keypoints": flat})
    category = {"id": 1, "name": "thing", "keypoints": names}
    path = folder / "a.json"
    path.write_text(json.dumps({"images": images, "annotations": people, "categories": [category]}))
    return path


def recipe_of(work: Path, annotations: Path, **trainer: Any) -> Path:
    """A recipe of a tiny training on photos and labels of one folder."""
    data: dict[str, Any] = {"num_workers": 1, "batch_size": 2, "augment": {"size": 64}}
    for kind in ("train", "val"):
        data |= {f"{kind}_annotations": str(annotations), f"{kind}_images": str(annotations.parent)}
    recipe = copy.deepcopy(TINY)
    recipe["data"] = {"class_path": "bottomup.data.PhotoData", "init_args": data}
    recipe["trainer"] |= {"default_root_dir": str(work)} | trainer
    path = work / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def side_cases(_cases: Path, work: Path) -> Iterator[Case]:
    """Names with and without sides, by the pairs that data check counts."""
    for number, pair in enumerate((*SIDES, *NO_SIDES)):
        wanted = f"{int(pair in SIDES)} left-right pairs"
        code, output, error = bottomup(
            "data", "check", labelled_photos(work / f"{number}", (*pair, "tail"))
        )
        got = output.strip().split(", ")[-1] if code == 0 else error
        yield Case(f"sides/{' and '.join(pair)}", wanted, got, got == wanted)
    path = labelled_photos(work / "alone", ("ear_left", "nose"))
    code, output, error = bottomup("fit", "--config", recipe_of(work, path))
    is_right = code == 0 and "alone: ear_left, nose" in output and "ear_left" in error
    yield Case("sides/one without its partner", "a warning", error, is_right)


def checkpoint_cases(_cases: Path, work: Path) -> Iterator[Case]:
    """Checkpoints with what training programs leave in them."""
    path = labelled_photos(work / "photos", ("left_ear", "right_ear"))
    bottomup("fit", "--config", recipe_of(work, path, enable_checkpointing=True))
    last = next(work.rglob("last.ckpt"))
    saved = torch.load(last, weights_only=True)
    state = saved["state_dict"]
    doubled = {name: tensor * 2 for name, tensor in state.items()}
    weights = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    storage = torch.cat([tensor.flatten() for tensor in weights.values()])
    parts = storage.split([tensor.numel() for tensor in weights.values()])
    pairs = zip(weights.items(), parts, strict=True)
    shared = state | {name: part.view(tensor.shape) for (name, tensor), part in pairs}
    kinds = {
        "a score of numpy": saved | {"meta": {"best_score": np.float64(0.5)}},
        "ema_state_dict": saved | {"ema_state_dict": doubled},
        "shared storage": saved | {"state_dict": shared},
    }
    for name, content in kinds.items():
        torch.save(content, work / "c.ckpt")
        code, output, error = bottomup("convert", work / "c.ckpt", work / "c.safetensors")
        told = "--ema" in output + error
        is_right = code == 0 and told == ("ema" in name)
        wanted = "read; the second set said" if "ema" in name else "read"
        yield Case(f"checkpoints/{name}", wanted, (output + error).strip(), is_right)


def folder_cases(_cases: Path, work: Path) -> Iterator[Case]:
    """A folder as phones, computers and earlier runs leave it."""
    photos = work / "photos"
    photos.mkdir()
    data = SAMPLE.read_bytes()
    (photos / "a.jpg").write_bytes(data)
    (photos / "b.jpg").write_bytes(data[:-2])  # without FF D9
    (photos / "half.jpg").write_bytes(data[: len(data) // 2])
    (photos / "c.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    for name in ("._a.jpg", ".DS_Store", "Thumbs.db"):
        (photos / name).write_bytes(bytes(4096))
    words = ("predict", photos, "--out", photos / "out", "--size", 64)
    for run in ("first", "second"):
        code, output, error = bottomup(*words, *(["--overwrite"] if run == "second" else []))
        images = json.loads((photos / "out" / "images.json").read_text())["images"]
        failed = json.loads((photos / "out" / "failures.json").read_text())
        warned = [image["file_name"] for image in images if "warning" in image]
        found = sorted(image["file_name"] for image in images)
        lines = sorted(failure["file"] for failure in failed)
        got = f"{code}: images {found}, warned {warned}, failed {lines}"
        wanted = "3: images ['a.jpg', 'b.jpg'], warned ['b.jpg'], failed ['c.HEIC', 'half.jpg']"
        is_right = got == wanted and (run == "first" or "left out" in output)
        yield Case(f"folders/{run} run", wanted, got + error, is_right)


def training_cases(_cases: Path, work: Path) -> Iterator[Case]:
    """Broken photos, one labelled joint, and Ctrl-C before the first validation."""
    for broken in ("half", "empty"):
        for missing in ("error", "skip"):
            folder = work / f"{broken}-{missing}"
            path = labelled_photos(folder, ("left_ear", "right_ear"))
            photo = folder / "2.jpg"
            data = photo.read_bytes()
            photo.write_bytes(data[: len(data) // 2] if broken == "half" else b"")
            recipe = recipe_of(folder, path, max_steps=4)
            code, output, error = bottomup("fit", "--config", recipe, f"--data.missing={missing}")
            told = "2.jpg" in error and "Traceback" not in error
            counted = "left out of train: 1 of 4" in output
            is_right = told and (code, counted) == ((2, False) if missing == "error" else (0, True))
            wanted = "exit code 2, named" if missing == "error" else "exit code 0, named, counted"
            yield Case(f"photos/{broken}, {missing}", wanted, f"{code}: {error}", is_right)
    yield _interrupted(work)


def one_joint_cases(_cases: Path, work: Path) -> Iterator[Case]:
    """People with one labelled joint, also of one, by the first loss of the voting criterion."""
    model = {
        "network": {"class_path": "bottomup.networks.mobile", "init_args": {"input_size": 64}},
        "criterion": {"class_path": "bottomup.method.VotingCriterion"},
    }
    for names in (("left_ear", "right_ear", "tail"), ("tail",)):
        folder = work / f"{len(names)}"
        path = labelled_photos(folder, names, num_joints=1)
        log = {"class_path": "CSVLogger", "init_args": {"save_dir": str(folder)}}
        recipe = recipe_of(folder, path, logger=log, log_every_n_steps=1)
        content = yaml.safe_load(recipe.read_text())
        content["model"] |= model
        recipe.write_text(yaml.safe_dump(content))
        code, _, error = bottomup("fit", "--config", recipe)
        rows = list(csv.DictReader(next(folder.rglob("metrics.csv")).open())) if code == 0 else []
        loss = next((float(row["train/displacement"]) for row in rows), 0.0)
        got = f"{code}: loss of displacements {loss:.3g} {error}"
        yield Case(f"one labelled joint of {len(names)}", "learned from", got, loss > 0)


def _interrupted(work: Path) -> Case:
    """Ctrl-C in a training without any validation so far."""
    path = labelled_photos(work / "stopped", ("left_ear", "right_ear"))
    recipe = recipe_of(path.parent, path, max_steps=100_000, enable_checkpointing=True)
    words = ["fit", "--config", str(recipe), "--trainer.check_val_every_n_epoch=100000"]
    with subprocess.Popen(
        [sys.executable, "-m", "bottomup", *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as run:  # fmt: skip
        time.sleep(20)
        run.send_signal(signal.SIGINT)
        output, error = run.communicate(timeout=120)
    is_saved = "--ckpt_path" in output and any(path.parent.rglob("last.ckpt"))
    got = f"{run.returncode}: {output.strip().splitlines()[-1:]} {error.strip()}"
    is_right = run.returncode == 130 and is_saved and "Traceback" not in error
    shutil.rmtree(path.parent)
    return Case("Ctrl-C before the first validation", "130, saved, how to go on", got, is_right)


GROUPS = (side_cases, checkpoint_cases, folder_cases, training_cases, one_joint_cases)
