import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bottomup.data.image_ids import ImageIds, closest, match_names, number_of, read_annotated


def ids_of(names, annotated=None) -> list[int]:
    ids = ImageIds(annotated)
    for name in names:
        ids.claim(name)
    ids.match()
    return [ids(name) for name in names]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("000000012345.jpg", 12345),
        ("COCO_val2014_000000012345.jpg", 12345),
        ("val2017_000000012345.jpg", 12345),
        ("val_12345.jpg", 12345),
        ("deep/er/val-7.png", 7),
        ("106848.jpg", 106848),
        ("000000000000.jpg", 0),
        ("photo.jpg", None),
        ("12a.jpg", None),
        ("a12.jpg", None),
        ("x_.jpg", None),
        ("9999999999999999.jpg", None),  # beyond what every JSON reader keeps
        ("0000000000000000000000000000000012.jpg", 12),
        pytest.param("0" * 5000 + "7.jpg", 7, id="5000 zeros"),
        ("١٢٣.jpg", None),
        ("7\n_8.jpg", 8),
    ],
)
def test_number_of_a_name(name, number):
    assert number_of(name) == number


def test_numbers_of_names_then_running_numbers_that_no_name_claims():
    assert ids_of(["b.jpg", "a_1.jpg", "c.jpg", "x_3.jpg", "d.jpg"]) == [2, 1, 4, 3, 5]


def test_of_two_names_with_one_number_the_first_keeps_it():
    assert ids_of(["a/7.jpg", "b/7.jpg", "c/07.jpg", "d.jpg"]) == [7, 1, 2, 3]


def test_annotations_come_first():
    annotated = {"a.jpg": 50, "12.jpg": 60, "sub/x.jpg": 70}
    assert ids_of(["a.jpg", "12.jpg", "sub/x.jpg", "other/a_9.jpg"], annotated) == [50, 60, 70, 9]
    assert ids_of(["f/a.jpg", "f/12.jpg"], annotated) == [50, 60]  # by the last part of the path
    assert ids_of(["f/a.jpg", "g/a.jpg"], annotated) == [1, 2]  # which of them is not known
    assert ids_of(["f/a.jpg", "a.jpg"], annotated) == [1, 50]  # the whole path is the better match
    assert ids_of(["_50.jpg", "a.jpg"], annotated) == [
        1,
        50,
    ]  # the number of an annotated image is its own


@given(
    st.lists(st.from_regex(r"([ab]/)?(x_)?[0-3a]{1,2}\.jpg", fullmatch=True), unique=True),
    st.dictionaries(st.from_regex(r"([ab]/)?[0-3a]{1,2}\.jpg", fullmatch=True), st.integers(0, 40)),
    st.integers(0, 3),
)
def test_never_two_alike_and_always_the_same(names, annotated, num_unclaimed):
    annotated = {
        name: number
        for i, (name, number) in enumerate(annotated.items())
        if number not in [*annotated.values()][:i]
    }
    ids = ImageIds(annotated)
    for name in names[num_unclaimed:]:  # files may turn up between the look through and the run
        ids.claim(name)
    ids.match()
    given_ids = [ids(name) for name in names]
    assert len(set(given_ids)) == len(names)
    if num_unclaimed == 0:
        assert given_ids == ids_of(names, annotated)
        for name, number in zip(names, given_ids, strict=True):
            assert annotated.get(name, number) == number


@pytest.mark.parametrize(
    ("name", "annotated"),
    [
        ("a.jpg", "a.jpg"),
        ("a.jpg", "images/a.jpg"),
        ("images/a.jpg", "a.jpg"),
        ("a.jpg", "..\\..\\media\\a.jpg"),
        ("a.jpg", "C:\\photos\\a.jpg"),
        ("a.jpg", "/home/somebody/photos/a.jpg"),
        ("a.jpg", "./a.jpg"),
        ("a.jpg", "https://example.org/photos/a.jpg"),
        ("a b.jpg", "a%20b.jpg"),
        ("a%20b.jpg", "a b.jpg"),
        ("caf\u00e9 1.jpg", "photos/caf%C3%A9%201.jpg"),
        ("photos/a.jpg", "photos%2Fa.jpg"),
        ("caf\u00e9.jpg", "cafe\u0301.jpg"),
        ("cafe\u0301.jpg", "photos/caf\u00e9.jpg"),
        ("d.jpg", "D.JPG"),
        ("STRASSE.jpg", "stra\u00dfe.jpg"),
    ],
)
def test_a_name_is_matched_by_its_last_part(name, annotated):
    others = {"other.jpg": 1, "photos/another.jpg": 2}
    assert match_names([name, "more.jpg"], {annotated: 7} | others) == {name: 7}


@pytest.mark.parametrize(
    ("names", "annotated", "expected"),
    [
        # which of two is not known
        (["a.jpg"], {"x/a.jpg": 1, "y/a.jpg": 2}, {}),
        (["x/a.jpg", "y/a.jpg"], {"a.jpg": 1}, {}),
        (["x/a.jpg", "y/a.jpg"], {"z/a.jpg": 1}, {}),
        (["A.jpg", "a.JPG"], {"a.jpg": 1}, {}),
        # a whole name is known, and what else ends like it is not
        (["x/a.jpg", "a.jpg"], {"a.jpg": 1}, {"a.jpg": 1}),
        (["x/a.jpg", "a.jpg"], {"a.jpg": 1, "y/a.jpg": 2}, {"a.jpg": 1}),
        (["x/a.jpg"], {"x/a.jpg": 1, "y/a.jpg": 2}, {"x/a.jpg": 1}),
        (["x/a.jpg", "A.JPG"], {"a.jpg": 1}, {"A.JPG": 1}),
        # as many parts as tell them apart
        (["p/x/a.jpg", "p/y/a.jpg"], {"/q/y/a.jpg": 2, "/q/x/a.jpg": 1},
         {"p/x/a.jpg": 1, "p/y/a.jpg": 2}),
        (["x/a.jpg", "y/a.jpg"], {"D:\\x\\A.jpg": 1, "D:\\z\\A.jpg": 2}, {"x/a.jpg": 1}),
        (["f/aB.jpg", "f/Ab.jpg"], {"aB.jpg": 1, "Ab.jpg": 2}, {"f/aB.jpg": 1, "f/Ab.jpg": 2}),
        ([], {"a.jpg": 1}, {}),
        (["a.jpg"], {}, {}),
    ],
)  # fmt: skip
def test_names_that_end_alike_are_never_mixed_up(names, annotated, expected):
    assert match_names(names, annotated) == expected
    assert match_names(names[::-1], dict(reversed(annotated.items()))) == expected


def test_unmatched_names_are_told():
    ids = ImageIds({"x/a.jpg": 5, "y/a.jpg": 6, "b.jpg": 7})
    for name in ("a.jpg", "b.jpg", "c_5.jpg"):
        ids.claim(name)
    ids.match()
    assert ids.unmatched == ["a.jpg", "c_5.jpg"]
    assert closest("A.jpg", ["b.jpg", "x/a.jpg"]) == "x/a.jpg"
    assert closest("c.jpg", ["b.jpg", "x/a.jpg"]) == "b.jpg"


def test_read_annotated(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps({"images": [{"file_name": "x.jpg", "id": 4}, {"file_name": "y.jpg", "id": 5}]})
    )
    assert read_annotated(path) == ({"x.jpg": 4, "y.jpg": 5}, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "is it a results file"),
        ('{"images": 5}', "no list 'images'"),
        ('{"images": []}', "has no images"),
        ('{"images": [{"id": 1}]}', "'file_name' is None, not the name of a file"),
        ('{"images": [{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "a"}]}', "two ids"),
        (
            '{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]}',
            r"images\[1\] \(id 1\): images\[0\] has the same id",
        ),
    ],
)
def test_annotations_that_do_not_fit_are_refused(tmp_path, content, reason):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=reason):
        read_annotated(tmp_path / "a.json")
    with pytest.raises(ValueError, match="No such file"):
        read_annotated(tmp_path / "b.json")
