"""Drawn crowds with exact labels: articulated people over clutter, with nothing to download.

Arguments set what makes crowds hard: the number of people, their size, how much they overlap, how
many the border cuts off, and blur. An image is a function of them and of a generator's state.
"""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from bottomup.data.scenes.background import draw_background
from bottomup.data.scenes.body import PATTERNED, Brush, Look, paint, sample_look
from bottomup.data.scenes.pose_prior import Pose, sample_pose

MIN_VISIBLE = 0.15  # of a person's pixels; people who show less have no labels, as in COCO


@dataclasses.dataclass(frozen=True)
class Crowd:
    """How hard the images are; a pair is a range, from which each image or person draws.

    Attributes:
        width: pixels.
        height: pixels.
        people: range of the number of people in an image.
        sizes: range of a person's size in pixels: the longer side of the box around its joints,
            before the border cuts it.
        overlap: share of people that are put onto another one.
        truncation: share of people that are moved across the border.
        blur: longest motion blur of an image, in pixels; each image draws its own.
        occluders: largest number of things in front of the people.
        pose_spread: 1 for poses as in photos; less gives calmer poses, more gives odder ones.
    """

    width: int = 256
    height: int = 256
    people: tuple[int, int] = (1, 10)
    sizes: tuple[float, float] = (32.0, 200.0)
    overlap: float = 0.5
    truncation: float = 0.25
    blur: float = 4.0
    occluders: int = 2
    pose_spread: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.people[0] <= self.people[1]:
            raise ValueError(f"people must be two numbers in ascending order, not {self.people}")
        if not 0 < self.sizes[0] <= self.sizes[1]:
            raise ValueError(
                f"sizes must be two positive numbers in ascending order, not {self.sizes}"
            )


@dataclasses.dataclass(frozen=True)
class Figure:
    """A person before it is drawn.

    Attributes:
        pose: the pose in its own units.
        points: (17, 2) the joints in pixels of the image.
        unit: pixels per unit of the pose.
        look: build and clothes.
    """

    pose: Pose
    points: Float[np.ndarray, "17 2"]
    unit: float
    look: Look

    @property
    def box(self) -> Float[np.ndarray, " 4"]:
        """x0, y0, x1, y1 around the joints."""
        return np.concatenate([self.points.min(0), self.points.max(0)])


@dataclasses.dataclass(frozen=True)
class Scene:
    """A drawn image with its labels.

    Attributes:
        image: (H, W, 3) RGB.
        keypoints: (N, 17, 3) x, y in pixels, and visibility: 2 visible, 1 hidden behind somebody
            or something, 0 outside of the image, turned away, or of a person who is nearly
            invisible.
        owner: (H, W) the number of the person that each pixel shows, from 1; 0 for nobody.
    """

    image: UInt8[np.ndarray, "H W 3"]
    keypoints: Float[np.ndarray, "N 17 3"]
    owner: UInt8[np.ndarray, "H W"]

    @property
    def boxes(self) -> Float[np.ndarray, "N 4"]:
        """(N, 4) x0, y0, x1, y1 around the visible pixels of each person; zeros without any."""
        regions = [
            (self.owner == number + 1).view(np.uint8) for number in range(len(self.keypoints))
        ]
        boxes = np.array([cv2.boundingRect(region) for region in regions], float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return boxes

    @property
    def mask(self) -> Bool[np.ndarray, "H W"]:
        """(H, W) False on people without labels."""
        unlabelled = np.flatnonzero((self.keypoints[..., 2] == 0).all(1)) + 1
        return ~np.isin(self.owner, unlabelled)


def draw_scene(crowd: Crowd, rng: np.random.Generator) -> Scene:
    """Draw one image.

    Raises:
        ValueError: more than 254 people.
    """
    return render(arrange(crowd, rng), crowd, rng)


def arrange(crowd: Crowd, rng: np.random.Generator) -> list[Figure]:
    """Choose the people of an image and their positions, from back to front."""
    count = int(rng.integers(crowd.people[0], crowd.people[1] + 1))
    if count > 254:
        raise ValueError(f"at most 254 people fit into an image, not {count}")

    wh = np.array([crowd.width, crowd.height])
    figures: list[Figure] = []
    for _ in range(count):
        pose, look = sample_pose(rng, spread=crowd.pose_spread), sample_look(rng)
        extent = np.ptp(pose.points, axis=0)
        size = np.exp(rng.uniform(*np.log(crowd.sizes)))
        centre = rng.uniform((0, 0), wh)
        onto_another = bool(figures) and rng.random() < crowd.overlap
        if onto_another:
            box = figures[rng.integers(len(figures))].box
            size = np.clip(np.max(box[2:] - box[:2]) * rng.uniform(0.75, 1.33), *crowd.sizes)
            centre = (box[:2] + box[2:]) / 2 + rng.uniform(-0.35, 0.35, 2) * (box[2:] - box[:2])
        unit = float(size / extent.max())
        half = extent * unit / 2
        if not onto_another:  # inside the image, as far as it fits
            inside = np.clip(centre, half, np.maximum(wh - half, half))
            centre = np.where(2 * half < wh, inside, wh / 2)
        if rng.random() < crowd.truncation:
            centre = _cut_off(centre, half, wh, rng)
        middle = (pose.points.min(0) + pose.points.max(0)) / 2
        figures.append(Figure(pose, (pose.points - middle) * unit + centre, unit, look))

    # who stands lower in the image is nearer, more or less
    nearness = [figure.box[3] + figure.unit * rng.normal(0, 0.5) for figure in figures]
    return [figures[i] for i in np.argsort(nearness)]


def render(figures: list[Figure], crowd: Crowd, rng: np.random.Generator) -> Scene:
    """Draw people over a background, the first one farthest away, and photograph the scene."""
    image = draw_background(rng, crowd.width, crowd.height)
    owner = np.zeros((crowd.height, crowd.width), np.uint8)
    # pixels of each person before others hide them
    drawn = [_draw_figure(image, owner, n, figure, rng) for n, figure in enumerate(figures, 1)]
    for _ in range(rng.integers(0, crowd.occluders + 1)):
        _draw_occluder(image, owner, rng)
    keypoints = np.zeros((len(figures), 17, 3), np.float32)
    for number, figure in enumerate(figures, 1):
        if np.count_nonzero(owner == number) >= max(MIN_VISIBLE * drawn[number - 1], 1):
            keypoints[number - 1] = _label(figure, owner, number)
    return Scene(_photograph(image, crowd, rng), keypoints, owner)


def _cut_off(
    centre: np.ndarray, half: np.ndarray, wh: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Move a box across one border, 10 to 60 percent of it outside."""
    axis, beyond = int(rng.random() < 0.6), rng.uniform(0.1, 0.6) * 2
    low = axis == 0 and rng.random() < 0.5  # the bottom border cuts, the top one never does
    moved = centre.copy()
    moved[axis] = half[axis] * (1 - beyond) if low else wh[axis] - half[axis] * (1 - beyond)
    return moved


def _draw_figure(
    image: np.ndarray, owner: np.ndarray, number: int, figure: Figure, rng: np.random.Generator
) -> int:
    """Paint one person onto the image and the map of owners.

    Returns:
        the number of its pixels inside the image.
    """
    wh = owner.shape[::-1]
    x0, y0 = np.clip(np.floor(figure.box[:2] - figure.unit), 0, wh).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(figure.box[2:] + figure.unit), 0, wh).astype(int).tolist()
    if x0 >= x1 or y0 >= y1:
        return 0

    # magnified, on a canvas of its own
    zoom = 2 if figure.unit > 12 else 4
    canvas = np.zeros(((y1 - y0) * zoom, (x1 - x0) * zoom, 4), np.uint8)
    brush = Brush(canvas, np.array([x0, y0], float), zoom, figure.look)
    paint(brush, figure.pose, figure.points, figure.unit)
    if figure.look.pattern != "plain":
        there = (canvas[..., 3] == PATTERNED) & _pattern(figure, zoom, canvas.shape[:2], rng)
        canvas[there, :3] = np.minimum(canvas[there, :3] * figure.look.contrast, 255)

    # shrunk, which smooths the edges, and blended into the image
    shrunk = cv2.resize(canvas, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    window, opacity = image[y0:y1, x0:x1], shrunk[..., 3]
    behind = cv2.multiply(window, cv2.merge([255 - opacity] * 3), scale=1 / 255)
    window[:] = cv2.add(behind, shrunk[..., :3])
    owner[y0:y1, x0:x1][opacity > 127] = number
    return int(np.count_nonzero(opacity > 127))


def _pattern(
    figure: Figure, zoom: int, shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """Where cloth has its second colour."""
    height, width = shape
    look = figure.look
    wave = 2 * np.pi / (look.period * figure.unit * zoom)
    if look.pattern == "blobs":
        cells = (max(int(height * wave / 6), 2), max(int(width * wave / 6), 2))
        noise = rng.standard_normal(np.minimum(cells, 64), np.float32)
        return cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR) > 0.4
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    along = np.sin((x * np.cos(look.angle) + y * np.sin(look.angle)) * wave) > 0
    across = np.sin((y * np.cos(look.angle) - x * np.sin(look.angle)) * wave) > 0
    return along if look.pattern == "stripes" else along ^ across


def _draw_occluder(image: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> None:
    height, width = owner.shape
    x, y = rng.uniform((0, 0), (width, height))
    long, short = rng.uniform(0.1, 0.5) * height, rng.uniform(0.03, 0.15) * width
    corners = cv2.boxPoints(((x, y), (short, long), rng.uniform(-20, 20))).round().astype(np.int32)
    cv2.fillConvexPoly(image, corners, rng.uniform(0, 255, 3).tolist(), cv2.LINE_AA)
    cv2.fillConvexPoly(owner, corners, 0)


def _label(figure: Figure, owner: np.ndarray, number: int) -> np.ndarray:
    """(17, 3) the joints of a person with their visibility."""
    height, width = owner.shape
    cells = np.floor(figure.points + 0.5).astype(int)
    inside = (cells >= 0).all(1) & (cells < (width, height)).all(1) & figure.pose.shown
    x, y = np.where(inside[:, None], cells, 0).T
    visibility = np.where(inside, np.where(owner[y, x] == number, 2, 1), 0)
    return np.column_stack([figure.points * inside[:, None], visibility]).astype(np.float32)


def _photograph(image: np.ndarray, crowd: Crowd, rng: np.random.Generator) -> np.ndarray:
    """Add blur, light, noise and compression; the geometry stays."""
    # motion blur
    length = int(rng.uniform(0, crowd.blur))
    if length >= 1 and rng.random() < 0.5:
        kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
        angle = rng.uniform(0, np.pi)
        step = np.round(length * np.array([np.cos(angle), np.sin(angle)])).astype(int)
        cv2.line(kernel, (length - step).tolist(), (length + step).tolist(), 1.0)
        image = cv2.filter2D(image, -1, kernel / kernel.sum())

    # white balance and exposure, noise, JPEG
    gain, lift = rng.uniform(0.7, 1.25) * rng.uniform(0.9, 1.1, 3), rng.uniform(-20, 20)
    table = np.clip(np.arange(256)[:, None] * gain + lift, 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table[:, None])
    noise = rng.integers(-9, 10, (*image.shape[:2], 1), np.int16) * rng.uniform(0, 1.5)
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    _, file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 98))])
    return np.ascontiguousarray(cv2.imdecode(file, cv2.IMREAD_COLOR))
