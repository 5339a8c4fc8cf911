"""The page to look through a run: gallery.html, with one entry per image in its list.

The page needs no network and no other scripts. Thumbnails of the first images are part of it; all
other images are the files of overlays/, which the browser loads when they are looked at.
"""

import os
import urllib.parse
from pathlib import Path
from typing import Any

from bottomup.inference.journal import Record

MAX_THUMBNAILS = 1000  # about 8 MB
MAX_ROWS = 20_000  # the page says that images beyond are in the lists only
THUMBNAIL_SIDE = 240

_LIST = "[]</script>"  # in gallery.html: the empty list of entries, and what follows it


def split_page() -> tuple[str, str]:
    """The page before and after the entries of its list."""
    page = Path(__file__).with_name("gallery.html").read_text(encoding="utf-8")
    before, after = page.rstrip().split(_LIST)
    return before + _LIST[:1], _LIST[1:] + after


def entry(record: Record, overlay: str | None) -> dict[str, Any]:
    """What the page shows of one image, under short keys since there may be many.

    Args:
        record: of the image.
        overlay: path of its overlay from the page, with forward slashes; None without one.
    """
    values = {
        "f": record.name.encode("utf-8", "replace").decode(),
        "n": record.shown,
        "w": record.width,
        "h": record.height,
        "o": None if overlay is None else urllib.parse.quote(os.fsencode(overlay)),
        "t": record.thumbnail,
        "e": record.error,
    }
    return {key: value for key, value in values.items() if value is not None}
