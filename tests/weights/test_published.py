import re

from bottomup.weights.published import PUBLISHED, cache_folder, cached_path
from bottomup.weights.store import bundled


def test_every_file_has_a_place_of_its_own_and_a_hash(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert len({cached_path(name) for name in PUBLISHED}) == len(PUBLISHED)
    for name, published in PUBLISHED.items():
        assert cached_path(name).parent == cache_folder()
        assert published.url.startswith("https://")
        assert re.fullmatch(r"[0-9a-f]{8}", published.sha256), name
        assert published.file_name.endswith(".pth")
    assert not PUBLISHED.keys() & bundled().keys()


def test_the_hash_is_that_of_the_name():
    assert PUBLISHED["higherhrnet_w32_512"].sha256 == "8ae85183"
    assert PUBLISHED["hrnet_w48_imagenet"].sha256 == "8ef0771d"
