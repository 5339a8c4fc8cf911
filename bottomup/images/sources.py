"""Where images come from: paths, folders, globs, URLs, text files, tar files, lists, arrays.

A source is listed lazily and in a fixed order as frames without pixels. It is never held whole.
What cannot be found becomes a frame with an error, so the run goes on.
"""

import dataclasses
import glob
import itertools
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bottomup.images.archives import read_list, read_tar
from bottomup.images.formats import SUFFIXES
from bottomup.images.frames import Frame
from bottomup.images.remote import Remote, errors_of, find, is_url, local_path, open_url, path_of

MAX_SORTED = 10_000  # entries of a folder that are sorted at once
# what systems leave in folders of photos
DEBRIS = re.compile(r"\._.*|\.DS_Store|(eh)?thumbs\.db|desktop\.ini", re.IGNORECASE | re.DOTALL)

Source = Any
"""A path, a folder, a glob, an RGB uint8 array, or an iterable of these or of frames.

The path may be that of a text file (.txt) with the path of an image on each line, "-" for such
lines on the standard input, or a tar file (.tar). Files, folders, patterns and text files may be
behind URLs, and so may be what a text file names. The iterable may be infinite.
"""


def scan(
    source: Source, *, exclude: Callable[[str], bool] = lambda folder: False
) -> Iterator[Frame]:
    """List a source without reading any file.

    The order is that of the source, with names sorted within a glob or a folder (in parts, where it
    has more than `MAX_SORTED` entries). Folders are searched recursively for files with one of
    `SUFFIXES`; hidden files and folders are passed over. What cannot be found, a folder that cannot
    be opened, and a folder or a glob without images each give one frame with an error.

    Args:
        source: see `Source`.
        exclude: whether to leave out a folder that is found in a folder or by a glob.

    Raises:
        ValueError: the source is of another type.
    """
    source = [source] if isinstance(source, str | os.PathLike) else source
    if isinstance(source, np.ndarray):
        yield from [_array_frame(source, 0)] if source.ndim < 4 else _scan_mixed(source, exclude)
    elif isinstance(source, list | tuple) and all(
        isinstance(item, str | os.PathLike) for item in source
    ):
        frames = _scan_paths(source, exclude)
        # the names in one folder are unique, and remembering millions of them would cost memory
        yield from frames if _is_folder(source) else map(_UniqueNames(), frames)
    elif isinstance(source, Iterable):
        yield from _scan_mixed(source, exclude)
    else:
        raise ValueError(
            f"a source is a path, an array or an iterable of them, not {type(source).__name__}"
        )


def _is_folder(source: Sequence[str | os.PathLike[str]]) -> bool:
    path = local_path(os.fspath(source[0])) if len(source) == 1 else ""
    return os.path.isdir(path) or (is_url(path) and _kind(path) != "list")


def _scan_mixed(items: Iterable[Any], exclude: Callable[[str], bool]) -> Iterator[Frame]:
    unique = _UniqueNames()
    for index, item in enumerate(items):
        if isinstance(item, Frame):
            yield item
        elif isinstance(item, str | os.PathLike):
            yield from map(unique, _scan_paths([item], exclude))
        else:
            yield _array_frame(item, index)


def _array_frame(array: Any, index: int) -> Frame:
    given = type(array).__name__
    if isinstance(array, np.ndarray):
        if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size:
            return Frame(f"#{index}", image=array)
        given = f"{' x '.join(map(str, array.shape))} {array.dtype}"
    return Frame(
        f"#{index}",
        error=f"an image is a path or an RGB array of H x W x 3 uint8, not {given}",
    )


def _scan_paths(
    paths: Iterable[str | os.PathLike[str]], exclude: Callable[[str], bool]
) -> Iterator[Frame]:
    """Files, named relative to the deepest folder that holds all of the given paths."""
    found: list[tuple[str, str, str, str | None]] = []  # path, kind, its folder, error
    urls: list[str] = []
    for path in (local_path(os.fspath(path)) for path in paths):
        absolute, kind = os.path.abspath(path), _kind(path)
        folder = absolute if kind in ("folder", "tar") else os.path.dirname(absolute)
        if is_url(path):
            urls.append(path)
        elif path == "-" or os.path.lexists(path):
            found.append((path, kind, folder, None))
        elif glob.has_magic(path):
            # the same whatever matches, so that names stay when more files come
            folder = os.path.abspath(Path(*_before_pattern(Path(path).parts)))
            kinds = [(one, _kind(one)) for one in _glob(path, exclude)]
            files = [(one, "tar" if k == "tar" else "file", folder, None) for one, k in kinds]
            found += files or [(path, "file", folder, "no file matches")]
        else:
            found.append((path, "file", os.path.dirname(absolute), "no such file or folder"))

    found = [item for item in found if item[1] != "file" or not _is_debris(item[0])]
    try:
        base = os.path.commonpath({folder for _, kind, folder, _ in found if kind != "list"})
    except ValueError:  # nothing in common, as for two drives of Windows
        base = os.sep
    for path, kind, _, error in found:
        if error is not None:
            yield Frame(_relative(path, base) if len(found) > 1 else path, error=error)
        elif kind == "folder":
            yield from _walk(path, base, exclude)
        elif kind == "tar":
            yield from _scan_tar(path, base)
        elif kind == "list":
            yield from _scan_list(path)
        else:
            yield Frame(_relative(path, base), Path(path))
    yield from _scan_urls(urls, exclude)


def _before_pattern(parts: Iterable[str]) -> list[str]:
    return list(itertools.takewhile(lambda part: not glob.has_magic(part), parts))


def _scan_urls(urls: Sequence[str], exclude: Callable[[str], bool]) -> Iterator[Frame]:
    """Images behind URLs, named relative to the deepest folder that holds all of them."""
    parts = [_before_pattern(path_of(url).split("/")) for url in urls if _kind(url) != "list"]
    base = posixpath.commonprefix(parts)  # type: ignore[type-var]  also of lists
    for url in urls:
        if _kind(url) == "list":
            yield from _scan_list(url)
            continue
        is_empty = True
        try:
            for remote in find(url.rstrip("/"), exclude):
                path = path_of(remote.url)
                is_named = path == path_of(url)
                if not is_named and os.path.splitext(path)[1].lower() not in SUFFIXES:
                    continue
                is_empty = False
                inner = path.split("/")[len(base) :]
                name = "/".join(inner) or posixpath.basename(path)
                yield Frame(name, remote=remote)
        except (OSError, ValueError) as error:
            yield Frame(url, error=f"cannot be read: {error}")
            continue
        if is_empty:
            yield Frame(url, error="no images there")


def is_one_image(source: Source) -> bool:
    """Whether a source is a single image: an array, or the path of an image file."""
    if not isinstance(source, str | os.PathLike):
        return isinstance(source, np.ndarray) and source.ndim == 3
    path = local_path(os.fspath(source))
    return os.path.isfile(path) and _kind(path) == "file"


def _kind(path: str) -> str:
    if os.path.isdir(path):
        return "folder"
    suffix = os.path.splitext(path)[1].lower()
    return "list" if path == "-" else {".txt": "list", ".tar": "tar"}.get(suffix, "file")


def _is_debris(path: str) -> bool:
    return DEBRIS.fullmatch(os.path.basename(path)) is not None


def _glob(pattern: str, exclude: Callable[[str], bool]) -> list[str]:
    """The files that match, sorted, without those in excluded folders."""
    matches = [match for match in sorted(set(_expand(pattern))) if not os.path.isdir(match)]
    is_excluded = {
        folder: any(exclude(str(parent)) for parent in (Path(folder), *Path(folder).parents))
        for folder in set(map(os.path.dirname, matches))
    }
    return [match for match in matches if not is_excluded[os.path.dirname(match)]]


def _expand(pattern: str) -> Iterator[str]:
    """What matches. No folder is entered twice by **, while `glob` follows links in circles."""
    deep = re.match(r"(?:(.*?)/)??\*\*(?:/+(.*))?$", pattern, re.DOTALL)
    if deep is None:
        yield from glob.iglob(pattern)
        return
    visited: set[tuple[int, int] | None] = set()
    for top in glob.iglob(f"{deep[1]}/") if deep[1] is not None else [""]:
        for folder, inner, _ in os.walk(top or ".", followlinks=True):
            if (identity := _identity(folder)) in visited:
                inner.clear()
                continue
            visited.add(identity)
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            yield from _expand(os.path.join(glob.escape(folder), deep[2] or "*"))


def _walk(top: str, base: str, exclude: Callable[[str], bool]) -> Iterator[Frame]:
    """The images of a folder and of the folders in it.

    Links are followed, but no folder is entered twice.
    """
    is_empty = True
    visited: set[tuple[int, int]] = set()
    # the folders on the path to the current one, with what is left of each
    ahead = [(top, iter([(top, True)]))]
    while ahead:
        folder, entries = ahead[-1]
        try:
            path, is_folder = next(entries, (None, False))
        except OSError as error:
            path, is_folder, is_empty = None, False, False
            reason = f"the folder cannot be opened: {error.strerror}"
            yield Frame(_own_name(folder, base), error=reason)
        if path is None:
            ahead.pop()
        elif is_folder:
            identity = _identity(path)
            if path is not top and (identity in visited or exclude(path)):
                continue
            if identity is not None:
                visited.add(identity)
            ahead.append((path, _list_folder(path)))
        elif os.path.splitext(path)[1].lower() in SUFFIXES:
            is_empty = False
            yield Frame(_relative(path, base), Path(path))
    if is_empty:
        yield Frame(_own_name(top, base), error="no images in this folder")


def _list_folder(folder: str) -> Iterator[tuple[str, bool]]:
    """Paths in a folder that are not hidden, and whether each is (a link to) a folder.

    They are sorted in parts.
    """
    with os.scandir(folder) as entries:
        paths = (
            (
                entry.path,
                entry.is_dir(follow_symlinks=False)
                or (entry.is_symlink() and os.path.isdir(entry.path)),
            )
            for entry in entries
            if not entry.name.startswith(".")
        )
        # the folder is closed before its last part is gone through: folders may be deep
        while len(part := sorted(itertools.islice(paths, MAX_SORTED))) == MAX_SORTED:
            yield from part
    yield from part


def _scan_list(path: str) -> Iterator[Frame]:
    """The images that a text file names, by their paths; `-` is the standard input."""
    is_empty = True
    try:
        with _open_list(path) as file:
            for line in map(local_path, read_list(file)):
                is_empty = False
                if is_url(line):
                    yield Frame(path_of(line), remote=Remote(line))
                elif not _is_debris(line):
                    yield Frame(_inner(line), Path(line))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        yield Frame(path, error=f"the list cannot be read: {reason}")
    else:
        if is_empty:
            yield Frame(path, error="no paths in this list")


def _open_list(path: str) -> Any:
    if not is_url(path):
        return open(0 if path == "-" else path, "rb", closefd=path != "-")
    files, name = open_url(path)
    with errors_of(path):
        return files.open(name, "rb")


def _scan_tar(path: str, base: str) -> Iterator[Frame]:
    """The images in a tar file, named as if it were a folder."""
    is_empty, folder, file = True, _relative(path, base), Path(path)
    for member in read_tar(path):
        name = _inner(f"{folder}/{member.name}")
        is_hidden = any(part.startswith(".") for part in _inner(member.name).split("/"))
        if not member.name:
            is_empty = False
            yield Frame(_own_name(path, base), error=member.error)
        elif os.path.splitext(name)[1].lower() in SUFFIXES and not is_hidden:
            is_empty = False
            yield Frame(name, file, error=member.error, member=member)
    if is_empty:
        yield Frame(_own_name(path, base), error="no images in this tar file")


class _UniqueNames:
    """The first frame of a name keeps it; the next ones get ~2, ~3 before the suffix."""

    def __init__(self) -> None:
        self._seen: set[int] = set()  # hashes, in a third of the memory of the names

    def __call__(self, frame: Frame) -> Frame:
        name, count = frame.name, 1
        stem, suffix = os.path.splitext(name)
        while hash(name) in self._seen:
            count += 1
            name = f"{stem}~{count}{suffix}"
        self._seen.add(hash(name))
        return frame if name == frame.name else dataclasses.replace(frame, name=name)


def _relative(path: str, base: str) -> str:
    return _inner(os.path.relpath(os.path.abspath(path), base))


def _own_name(path: str, base: str) -> str:
    """The name of a folder or a tar file itself: as it was given if it is the base of all names."""
    return path if base == os.path.abspath(path) else _relative(path, base)


def _inner(path: str) -> str:  # its shortest form, without leading / or ../
    return re.sub(r"^(\.{0,2}/)+", "", os.path.normpath(path).replace(os.sep, "/"))


def _identity(path: str | Path) -> tuple[int, int] | None:
    """The same for all paths of one file or folder; None if it does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
