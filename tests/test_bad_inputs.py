"""A folder of files that went wrong once: each works or is one clear line, and the run goes on."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from bottomup.cli import main
from bottomup.images import decoding
from bottomup.inference import predictor
from tests.support import picture_files as files
from tests.support.dots import crowd, dot_net, picture
from tests.support.picture_files import encode, noise, with_orientation

GOOD = picture((256, 192), crowd((256, 192), 2, np.random.default_rng(0)))
JPEG = encode(noise(), ".jpg")
DEEP = GOOD.astype(np.uint16) * 257

FILES = {
    "zero bytes.jpg": (b"", "empty"),
    "header only.jpg": (JPEG[:300], "truncated"),
    "half.jpg": (JPEG[: len(JPEG) // 2], "truncated"),
    "half.png": (encode(noise(), ".png")[:5000], "truncated"),
    "half.webp": (encode(noise(), ".webp")[:5000], "truncated"),
    "half.gif": (encode(noise(), ".gif")[:5000], "cannot be decoded"),
    "half.bmp": (encode(noise(), ".bmp")[:5000], "cannot be decoded"),
    "end mark missing.jpg": (JPEG[:-2], None),
    "end mark half.jpg": (JPEG[:-1], None),
    "zeros behind half.jpg": (JPEG[: len(JPEG) // 2] + b"\0" * 100000, "truncated"),
    "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC image"),
    "new.jxl": (b"\xff\x0a" + b"\0" * 50, "JPEG XL image"),
    "raw.NEF": (b"II*\0\x08\0\0\0\0\0", "camera's raw image"),
    "text.jpg": (b"this is not a picture\n" * 9, "not an image"),
    "random.jpg": (np.random.default_rng(0).bytes(5000), "not an image"),
    "random behind a signature.png": (
        b"\x89PNG\r\n\x1a\n" + np.random.default_rng(0).bytes(500),
        "header",
    ),
    "damaged.png": (
        encode(GOOD, ".png")[:900] + b"\0\0\0\0" + encode(GOOD, ".png")[904:],
        "cannot be decoded",
    ),
    "claims 60000x60000.png": (files.png(60000, 60000), "60000 x 60000"),
    "claims 4 GB.png": (files.png(60, 40, extra=b"\xff\xff\xff\xf0tEXt" + b"\0" * 50), "truncated"),
    "gray.png": (encode(GOOD[..., 0], ".png"), None),
    "16 bits.png": (encode(np.ascontiguousarray(DEEP), ".png"), None),
    "rgba.png": (encode(np.dstack([GOOD, GOOD[..., 0]]), ".png"), None),
    "cmyk.jpg": (files.CMYK_CYAN, None),
    "palette.png": (files.palette_png(), None),
    "rotated by exif.jpg": (with_orientation(encode(GOOD, ".jpg"), 6), None),
    "animated.gif": (files.GIF_RED_THEN_BLACK, None),
    "animated.webp": (files.WEBP_RED_THEN_BLACK, None),
    "1x1.png": (encode(noise(1, 1), ".png"), None),
    "20000x40.png": (encode(noise(40, 20000), ".png"), None),
    "40x20000.jpg": (encode(noise(20000, 40), ".jpg"), None),
    "corrupt amid.jpg": (
        JPEG[:20000] + b"\xff\xd3" * 20 + JPEG[20040:],
        None,
    ),  # decodes, in part wrongly
    "wrong suffix.png": (encode(GOOD, ".jpg"), None),
    "the same/name.jpg": (encode(GOOD, ".jpg"), None),
    "once more/the same/name.jpg": (encode(GOOD[::-1].copy(), ".jpg"), None),
    "000000000139.jpg": (encode(GOOD, ".jpg"), None),
    "val2017_000000000139.jpg": (encode(GOOD, ".jpg"), None),
    "日本語 العربية ñ.jpg": (encode(GOOD, ".jpg"), None),
    "quote ' \" $(x) ; & <b>.jpg": (encode(GOOD, ".jpg"), None),
    "new\nline\ttab.jpg": (encode(GOOD, ".jpg"), None),
    os.fsdecode(b"not utf-8 \xff\xfe.jpg"): (encode(GOOD, ".jpg"), None),
    "-dash.jpg": (encode(GOOD, ".jpg"), None),
    "a folder called.jpg/inside.jpg": (encode(GOOD, ".jpg"), None),
    "x" * 251 + ".jpg": (encode(GOOD, ".jpg"), None),
}

LINKS = {"circle.jpg": "circle.jpg", "dangling.jpg": "gone.jpg", "loop": ".", "the same/back": ".."}
LINKS_FAIL = {"circle.jpg": "symbolic links", "dangling.jpg": "No such file"}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "bad inputs"
    for name, (data, _) in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    for name, target in LINKS.items():
        (folder / name).symlink_to(target)
    (folder / "empty folder").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    for name in ("._half.jpg", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"no photo")
    monkeypatch.setattr(decoding, "_heif_package", lambda: None)
    monkeypatch.setattr(predictor, "load_model", lambda weights: dot_net())
    return folder


def test_each_works_or_is_one_clear_line(folder, tmp_path, capfd):
    assert main(["predict", str(folder), "--out", str(tmp_path / "out")]) == 3

    expected = (
        {name: reason for name, (_, reason) in FILES.items()}
        | LINKS_FAIL
        | {"pipe.jpg": "not a file"}
    )
    failures = {
        entry["file"]: entry["reason"]
        for entry in json.loads((tmp_path / "out/failures.json").read_text())
    }
    assert sorted(failures) == sorted(
        name for name, reason in expected.items() if reason is not None
    )
    for name, reason in failures.items():
        assert expected[name] in reason
        assert len(reason.splitlines()) == 1

    images = json.loads((tmp_path / "out/images.json").read_text())["images"]
    assert sorted(image["file_name"] for image in images) == sorted(set(expected) - set(failures))
    assert len({image["id"] for image in images}) == len(images)
    overlays = [path for path in (tmp_path / "out" / "overlays").rglob("*") if path.is_file()]
    assert len(overlays) == len(images)

    text = capfd.readouterr()
    assert text.err == ""  # no traceback, and nothing from libpng or libjpeg
    assert all(line.startswith("  ") for line in text.out.splitlines()[1 : 1 + len(failures)])
    assert f"{len(failures)} files failed" in text.out


def test_what_works_is_read_rightly(folder, tmp_path):
    assert main(["predict", str(folder), "--out", str(tmp_path / "out")]) == 3
    images = {
        image["file_name"]: image
        for image in json.loads((tmp_path / "out/images.json").read_text())["images"]
    }
    people: dict[int, list] = {image["id"]: [] for image in images.values()}
    for person in json.loads((tmp_path / "out/results.json").read_text()):
        people[person["image_id"]].append(person)
    turned = images["rotated by exif.jpg"]
    assert (turned["width"], turned["height"]) == (192, 256)
    for name in (
        "16 bits.png",
        "rgba.png",
        "wrong suffix.png",
        "the same/name.jpg",
        "-dash.jpg",
        "000000000139.jpg",
    ):
        assert len(people[images[name]["id"]]) == 2, name
    assert images["000000000139.jpg"]["id"] == 139


@pytest.mark.parametrize(
    "name", [name for name, (_, reason) in FILES.items() if reason is not None]
)
def test_alone_a_bad_file_is_a_run_with_one_failure(folder, tmp_path, name, capsys):
    assert main(["predict", str(folder / name), "--out", str(tmp_path / "out")]) == 3
    assert "1 file failed" in capsys.readouterr().out


def test_unreadable_permissions(folder, tmp_path, capsys):
    (folder / "000000000139.jpg").chmod(0)
    if os.access(folder / "000000000139.jpg", os.R_OK):
        pytest.skip("root may read everything")
    (folder / "the same").chmod(0)
    assert main(["predict", str(folder), "--out", str(tmp_path / "out")]) == 3
    (folder / "the same").chmod(0o700)
    assert capsys.readouterr().out.count("Permission denied") == 2
