import numpy as np

from bottomup import COCO
from bottomup.data.copy_paste import paste_people
from bottomup.data.samples import LabelledImage
from tests.support.labelled_images import labelled


def person_at(x: float, y: float) -> np.ndarray:
    """Upright, 40 pixels tall, in the pose of a cross."""
    keypoints = np.zeros((17, 3), np.float32)
    offsets = np.array([[0, -20], [8, -10], [-8, -10], [5, 5], [-5, 5], [5, 20], [-5, 20]])
    keypoints[[0, 5, 6, 11, 12, 15, 16], :2] = offsets + np.array([x, y])
    keypoints[[0, 5, 6, 11, 12, 15, 16], 2] = 2
    return keypoints


def image_of(value: int, keypoints: np.ndarray) -> LabelledImage:
    image = np.full((120, 160, 3), value, np.uint8)
    return labelled(image, keypoints, mask=np.zeros((120, 160), bool))


def test_pixels_and_joints_arrive_together():
    donor = image_of(0, person_at(80, 60)[None])
    donor.image[55:66, 75:86] = 255  # a bright patch around the middle
    outline = np.zeros((120, 160), bool)
    outline[36:84, 68:92] = True
    empty = image_of(0, np.zeros((0, 17, 3), np.float32))
    for seed in range(20):
        pasted = paste_people(empty, donor, [outline], COCO.edges, np.random.default_rng(seed))
        labelled = pasted.keypoints[0, :, 2] > 0
        if not labelled[[5, 6, 15, 16]].all():
            continue  # the border cuts it
        middle = pasted.keypoints[0, [5, 6, 15, 16], :2].mean(0) - (
            0,
            5 * np.ptp(pasted.keypoints[0, [0, 15], 1]) / 40,
        )
        rows, columns = np.nonzero(pasted.image[..., 0] > 127)
        np.testing.assert_allclose(middle, [columns.mean(), rows.mean()], atol=1.5)
        assert pasted.mask[int(middle[1]), int(middle[0])]  # whoever is pasted is known
        return
    raise AssertionError("no person arrived whole")


def test_joints_under_a_pasted_person_become_hidden():
    crowd = np.stack([person_at(x, y) for x in range(10, 160, 15) for y in range(25, 110, 20)])
    outline = np.ones((120, 160), bool)
    for seed in range(10):
        receiver = image_of(7, crowd.copy())
        pasted = paste_people(
            receiver,
            image_of(200, person_at(80, 60)[None]),
            [outline],
            COCO.edges,
            np.random.default_rng(seed),
        )
        covered = (pasted.image[..., 0] > 104)[..., None]
        for x, y, visibility in pasted.keypoints[: len(crowd)].reshape(-1, 3):
            if (
                2 < x < 157
                and 2 < y < 117
                and visibility > 0
                and covered[int(y) - 2 : int(y) + 3, int(x)].all()
            ):
                assert visibility == 1
        assert (receiver.keypoints == crowd).all(), "the receiver itself must stay as it is"


def test_a_body_is_guessed_where_no_outline_is_known():
    donor = image_of(255, person_at(80, 60)[None])
    pasted = paste_people(
        image_of(0, np.zeros((0, 17, 3), np.float32)),
        donor,
        [None],
        COCO.edges,
        np.random.default_rng(4),
    )
    bright = pasted.image[..., 0] > 127
    for x, y, visibility in pasted.keypoints[0]:
        if visibility > 0 and 1 <= x < 159 and 1 <= y < 119:
            assert bright[round(y), round(x)]
    assert bright.mean() < 0.7


def test_a_huge_donor_gives_people_of_the_usual_size():
    """People of an image that is far larger, without outlines, are shrunk."""
    keypoints = (person_at(80, 60) * (50, 50, 1)).astype(np.float32)
    donor = labelled(np.full((6000, 8000, 3), 255, np.uint8), keypoints[None])
    for seed in range(2):
        receiver = image_of(0, np.zeros((0, 17, 3), np.float32))
        pasted = paste_people(receiver, donor, [None], COCO.edges, np.random.default_rng(seed))
        person = pasted.keypoints[0][pasted.keypoints[0, :, 2] > 0]
        assert np.ptp(person[:, :2], axis=0).max(initial=0) <= 0.9 * 120
        bright = pasted.image[..., 0] > 127
        assert 0 < bright.mean() < 0.7
        for x, y in person[:, :2]:
            if 2 <= x < 158 and 2 <= y < 118:
                assert bright[round(y), round(x)]


def test_a_person_who_lands_outside_changes_no_pixel():
    donor = image_of(255, person_at(80, 60)[None])
    outline = np.zeros((120, 160), bool)
    empty = image_of(0, np.zeros((0, 17, 3), np.float32))
    pasted = paste_people(empty, donor, [outline], COCO.edges, np.random.default_rng(0))
    assert not pasted.image.any()
    assert not pasted.mask.any()


def test_the_boxes_of_pasted_people_come_along():
    points = person_at(80, 60)
    tight = np.array([[72.0, 40, 88, 80]])  # around the joints
    receiver = labelled(np.zeros((120, 160, 3), np.uint8), points[None], boxes=tight)
    for seed in range(10):
        pasted = paste_people(receiver, receiver, [None], COCO.edges, np.random.default_rng(seed))
        np.testing.assert_array_equal(pasted.boxes[0], tight[0])
        if (pasted.keypoints[1, [0, 5, 6, 15, 16], 2] > 0).all():
            break
    joints = pasted.keypoints[1, pasted.keypoints[1, :, 2] > 0, :2]
    np.testing.assert_allclose(pasted.boxes[1], [*joints.min(0), *joints.max(0)], atol=1e-4)
