"""One drawn person: limbs with thickness and shading, clothes, hair and a face, from back to front.

A person is painted onto a canvas of its own at a multiple of the final resolution; shrinking it
smooths the edges. Both sides of a body wear the same, so only anatomy tells left from right.
"""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from bottomup.data.scenes.pose_prior import Pose

SKIN, SHIRT, TROUSERS, HAIR, SHOE, DARK, WHITE = range(7)
PATTERNED = 254  # opacity of cloth with a pattern; everything else has 255
SKIN_TONES = np.array([
    (250, 214, 189), (242, 199, 168), (224, 176, 140), (199, 148, 110),
    (158, 110, 77), (117, 79, 54), (79, 54, 38),
])  # fmt: skip
HAIR_TONES = np.array(
    [(20, 16, 14), (45, 30, 22), (90, 60, 38), (150, 110, 60), (205, 175, 120), (140, 135, 130)]
)
_CIRCLE = np.stack([np.cos(np.arange(12) * np.pi / 6), np.sin(np.arange(12) * np.pi / 6)], 1)
# widths of the layers of a limb, as shares of the limb's
_ROUND, _FLAT = np.array([1.0, 0.82, 0.5])[:, None, None], np.ones((1, 1, 1))


@dataclasses.dataclass(frozen=True)
class Look:
    """The build and the clothes of a person; lengths in units of the torso's spread.

    Attributes:
        palette: (7, 3) RGB of every material.
        contrast: (3,) factors from the colour of the cloth to that of its pattern.
        patterned: the materials with the pattern.
        build: factor on the thickness of all limbs.
        sleeve: how far down the arm the shirt reaches, 0 to 2 (1 = elbow).
        trouser: how far down the leg the trousers reach, 0 to 2 (1 = knee).
        skirt: whether the two legs share one garment.
        long_hair: how far the hair reaches below the head.
        pattern: "plain", "stripes", "checks" or "blobs".
        period: length of a pattern's repetition.
        angle: direction of the pattern, radians.
        light: (2,) unit vector towards the light.
        arms_in_front: whether the arms hide the torso or the torso hides the arms.
    """

    palette: Float[np.ndarray, "7 3"]
    contrast: Float[np.ndarray, " 3"]
    patterned: tuple[int, ...]
    build: float
    sleeve: float
    trouser: float
    skirt: bool
    long_hair: float
    pattern: str
    period: float
    angle: float
    light: Float[np.ndarray, " 2"]
    arms_in_front: bool


def sample_look(rng: np.random.Generator) -> Look:
    """Draw a random look."""
    palette = np.empty((7, 3))
    tone = rng.uniform(0, len(SKIN_TONES) - 1)
    low = int(tone)
    palette[SKIN] = SKIN_TONES[low] + (tone - low) * (SKIN_TONES[low + 1] - SKIN_TONES[low])
    palette[HAIR] = HAIR_TONES[rng.integers(len(HAIR_TONES))] * rng.uniform(0.7, 1.2)
    grey, colour = rng.uniform(15, 240, (3, 1)), rng.uniform(0, 255, (3, 3))
    palette[[SHIRT, TROUSERS, SHOE]] = grey + (colour - grey) * rng.uniform(0, 1, (3, 1))
    palette[DARK], palette[WHITE] = palette[SKIN] * 0.3, 235
    sun = rng.uniform(0, 2 * np.pi)
    return Look(
        palette=palette * rng.uniform(0.75, 1.15),
        contrast=np.exp(rng.uniform(-1.2, 1.2, 3)),
        patterned=[(SHIRT,), (SHIRT, TROUSERS), (TROUSERS,)][rng.choice(3, p=[0.6, 0.2, 0.2])],
        build=rng.uniform(0.8, 1.3),
        sleeve=float(rng.choice([0.0, 0.6, 1.0, 1.95], p=[0.1, 0.4, 0.1, 0.4])),
        trouser=float(rng.choice([0.5, 1.0, 1.95], p=[0.2, 0.15, 0.65])),
        skirt=bool(rng.random() < 0.12),
        long_hair=rng.uniform(0, 0.5) * (rng.random() < 0.4),
        pattern=str(rng.choice(["plain", "stripes", "checks", "blobs"], p=[0.5, 0.2, 0.15, 0.15])),
        period=rng.uniform(0.15, 0.6),
        angle=rng.uniform(0, np.pi),
        light=np.array([np.cos(sun), np.sin(sun)]),
        arms_in_front=bool(rng.random() < 0.8),
    )


@dataclasses.dataclass(frozen=True)
class Brush:
    """Paints shapes given in pixels of the image onto a window of it, magnified.

    Attributes:
        canvas: (h, w, 4) RGB and opacity of the window, zeros at first.
        origin: x, y of the window's top-left pixel in the image.
        zoom: pixels of the window per pixel of the image.
        look: colours, build and clothes.
    """

    canvas: UInt8[np.ndarray, "h w 4"]
    origin: Float[np.ndarray, " 2"]
    zoom: int
    look: Look

    def fill(self, outline: Float[np.ndarray, "n 2"], material: int, shade: float = 1.0) -> None:
        """Fill the convex hull of some points; a shade of 1 is the colour itself."""
        # in sixteenths of a pixel of the canvas
        corners = (outline - self.origin) * (16 * self.zoom) + 8 * (self.zoom - 1)
        hull = cv2.convexHull(np.rint(corners).astype(np.int32))
        opacity = PATTERNED if material in self.look.patterned else 255
        colour = (*(self.look.palette[material] * shade).tolist(), opacity)
        cv2.fillConvexPoly(self.canvas, hull, colour, shift=4)

    def limb(self, a: np.ndarray, b: np.ndarray, thick: float, thin: float, material: int) -> None:
        """Paint a tapered limb with round ends, brighter on the side of the light."""
        shares, shades = (_ROUND, (0.65, 0.88, 1.05)) if thick * self.zoom > 3 else (_FLAT, (0.85,))
        centre = self.look.light * (thick * 0.7) * (1 - shares)
        ends = [a + centre + _CIRCLE * thick * shares, b + centre + _CIRCLE * thin * shares]
        for outline, shade in zip(np.concatenate(ends, 1), shades, strict=True):
            self.fill(outline, material, shade)

    def blob(
        self,
        centre: np.ndarray,
        along: np.ndarray,
        across: np.ndarray,
        material: int,
        shade: float = 0.94,
    ) -> None:
        """Paint an ellipse, given by its two half axes."""
        self.fill(centre + _CIRCLE[:, :1] * along + _CIRCLE[:, 1:] * across, material, shade)


def paint(brush: Brush, pose: Pose, points: Float[np.ndarray, "17 2"], unit: float) -> None:
    """Paint a person from back to front.

    Args:
        brush: with the canvas and the look.
        pose: which parts of the face are visible.
        points: (17, 2) the joints in pixels of the image.
        unit: pixels of one unit of `pose`.
    """
    # the direction of the body decides what hides what
    look = brush.look
    size = unit * look.build
    up = _unit(points[[5, 6]].mean(0) - points[[11, 12]].mean(0))
    right = np.array([-up[1], up[0]])  # of the image, when upright
    turned = float((points[5] - points[6]) @ right) / unit  # > 0: chest visible, < 0: back
    ahead = float((points[0] - points[[3, 4]].mean(0)) @ right)  # < 0: the left side is near
    near, far = ((5, 11), (6, 12)) if ahead < 0 else ((6, 12), (5, 11))  # shoulder, hip
    profile = abs(turned) < 0.6
    arms_first = turned < 0 or not look.arms_in_front
    behind = [far[0]] if profile else [5, 6] if arms_first else []
    front = [near[0]] if profile else [] if arms_first else [5, 6]

    for shoulder in behind:
        _arm(brush, points, shoulder, size)
    toes = right * np.clip(ahead / unit * 2, -1, 1) - up * (0.3 if turned > 0 else 0.1)
    for hip in (far[1], near[1]):
        _leg(brush, points, hip, size, toes * size * 0.35)
    if look.skirt:
        thighs = points[[11, 12]] + 0.7 * (points[[13, 14]] - points[[11, 12]])
        brush.fill(_discs(points[[11, 12]], 0.3 * size, thighs, 0.36 * size), TROUSERS, 0.88)
    _torso(brush, points, size)
    _head(brush, pose, points, unit, up)
    for shoulder in front:
        _arm(brush, points, shoulder, size)


def _arm(brush: Brush, points: np.ndarray, shoulder: int, size: float) -> None:
    joints = points[[shoulder, shoulder + 2, shoulder + 4]]
    hand = joints[2] + 0.28 * _unit(joints[2] - joints[1]) * size
    brush.limb(joints[2], hand, 0.1 * size, 0.09 * size, SKIN)
    _dressed(brush, joints, (0.2 * size, 0.15 * size, 0.1 * size), brush.look.sleeve, SHIRT)


def _leg(brush: Brush, points: np.ndarray, hip: int, size: float, toes: np.ndarray) -> None:
    joints = points[[hip, hip + 2, hip + 4]]
    heel = joints[2] + 0.12 * size * _unit(joints[2] - joints[1])
    brush.limb(heel, heel + toes, 0.13 * size, 0.1 * size, SHOE)
    _dressed(brush, joints, (0.28 * size, 0.2 * size, 0.12 * size), brush.look.trouser, TROUSERS)


def _dressed(
    brush: Brush, joints: np.ndarray, radii: tuple[float, float, float], reach: float, material: int
) -> None:
    """Paint two bones in a row, the far one first: cloth as far as it reaches, skin beyond."""
    for bone in (1, 0):
        a, b, thick, thin = joints[bone], joints[bone + 1], radii[bone], radii[bone + 1]
        covered = np.clip(reach - bone, 0, 1)
        if covered < 1:
            brush.limb(a, b, thick, thin, SKIN)
        if covered > 0:
            end, width = a + covered * (b - a), thick + covered * (thin - thick)
            brush.limb(a, end, 1.12 * thick, 1.12 * width, material)


def _torso(brush: Brush, points: np.ndarray, size: float) -> None:
    shoulders, hips = points[[5, 6]], points[[11, 12]]
    for share, shade in ((1.0, 0.72), (0.85, 0.9), (0.55, 1.03)):
        shift = brush.look.light * size * (1 - share) * 0.25
        discs = _discs(shoulders + shift, 0.2 * size * share, hips + shift, 0.26 * size * share)
        brush.fill(discs, SHIRT, shade)
    brush.limb(hips[0], hips[1], 0.27 * size, 0.27 * size, TROUSERS)


def _head(brush: Brush, pose: Pose, points: np.ndarray, unit: float, up: np.ndarray) -> None:
    # the head leans with the neck and shifts towards the face
    look = brush.look
    neck, ears = points[[5, 6]].mean(0), points[[3, 4]].mean(0)
    up = _unit(0.5 * up + _unit(ears - neck))
    right = np.array([-up[1], up[0]])
    has_face = pose.shown[0]
    offset = (points[0] - ears) @ right if has_face else 0.0
    centre = ears + 0.12 * unit * up + right * np.clip(offset, -0.2 * unit, 0.2 * unit) * 0.3
    tall, wide = 0.46 * unit * up, 0.36 * unit * right
    hair = -right * np.clip(offset, -0.15 * unit, 0.15 * unit) + 0.08 * unit * up

    # hair, neck and ears, then the face or the back of the head
    if look.long_hair:
        tip = centre + hair - up * unit * (0.3 + look.long_hair)
        brush.limb(centre + hair, tip, 0.38 * unit, 0.3 * unit, HAIR)
    brush.blob(centre + hair, 1.04 * tall, 1.08 * wide, HAIR, 0.85)
    brush.limb(neck, ears, 0.17 * unit, 0.15 * unit, SKIN)
    for ear in points[[3, 4]][pose.shown[[3, 4]]]:
        brush.blob(ear, 0.09 * unit * up, 0.06 * unit * right, SKIN, 0.81)
    if not has_face:
        brush.blob(centre, tall, wide, HAIR, 0.88)
        return
    brush.blob(centre - 0.03 * unit * up, 0.93 * tall, 0.92 * wide, SKIN, 0.81)
    lit = centre - 0.03 * unit * up + look.light * 0.06 * unit
    brush.blob(lit, 0.8 * tall, 0.75 * wide, SKIN, 1.02)
    fringe = _CIRCLE * [0.33 * unit, 0.2 * unit]
    brush.fill(centre + 0.22 * unit * up + 0.5 * hair + fringe, HAIR, 0.94)
    _face(brush, pose, points, unit, up, right)


def _face(
    brush: Brush, pose: Pose, points: np.ndarray, unit: float, up: np.ndarray, right: np.ndarray
) -> None:
    for eye in points[[1, 2]][pose.shown[[1, 2]]]:
        brush.blob(eye, 0.045 * unit * up, 0.075 * unit * right, WHITE)
        brush.blob(eye, 0.042 * unit * up, 0.042 * unit * right, DARK)
        brush.blob(eye + 0.09 * unit * up, 0.015 * unit * up, 0.09 * unit * right, HAIR, 0.75)
    nose = np.stack([0.16 * up, -0.06 * right, 0.06 * right, -0.04 * up])
    brush.fill(points[0] + nose * unit, SKIN, 0.72)
    brush.blob(points[0] - 0.17 * unit * up, 0.025 * unit * up, 0.1 * unit * right, DARK, 1.2)


def _discs(a: np.ndarray, a_radius: float, b: np.ndarray, b_radius: float) -> np.ndarray:
    return np.concatenate(
        [*(p + _CIRCLE * a_radius for p in a), *(p + _CIRCLE * b_radius for p in b)]
    )


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-6)
