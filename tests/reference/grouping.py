"""The grouping of the reference implementation, slow and obvious."""

import numpy as np
from scipy.optimize import linear_sum_assignment


def find_peaks(heatmap, tag_map, max_people=30, threshold=0.1):
    """Rows of x, y, value, tag for one joint, by descending value."""
    height, width = heatmap.shape
    padded = np.pad(heatmap, 2, constant_values=-np.inf)
    largest = np.full(heatmap.shape, -np.inf)
    for dy in range(5):
        for dx in range(5):
            largest = np.maximum(largest, padded[dy : dy + height, dx : dx + width])
    ys, xs = np.nonzero((heatmap == largest) & (heatmap > threshold))
    best = np.argsort(-heatmap[ys, xs], kind="stable")[:max_people]
    return [
        np.array([xs[i], ys[i], heatmap[ys[i], xs[i]], *tag_map[ys[i], xs[i]]], np.float64)
        for i in best
    ]


def group(heatmaps, tags, order, max_people=30, tag_threshold=1.0):
    """(P, K, 3 + L) people before adjust and refine."""
    num_joints, dims = len(heatmaps), 3 + tags.shape[3]
    people = []
    for joint in order:
        peaks = find_peaks(heatmaps[joint], tags[joint], max_people)
        opened = []
        if people and peaks:
            means = [
                np.mean([row[3:] for row in person if row[2] > 0], axis=0) for person in people
            ]
            distance = np.array(
                [[np.linalg.norm(peak[3:] - mean) for mean in means] for peak in peaks]
            )
            cost = np.round(distance) * 100 - np.array([[peak[2]] for peak in peaks])
            if len(peaks) > len(people):
                cost = np.concatenate(
                    [cost, np.full((len(peaks), len(peaks) - len(people)), 1e10)], axis=1
                )
            partner = dict(zip(*linear_sum_assignment(cost), strict=True))
        else:
            partner = {}
        for i, peak in enumerate(peaks):
            person = partner.get(i)
            if person is not None and person < len(people) and distance[i, person] < tag_threshold:
                people[person][joint] = peak
            else:
                opened.append(np.zeros((num_joints, dims)))
                opened[-1][joint] = peak
        people += opened
    return np.array(people).reshape(len(people), num_joints, dims)


def quarter_offset(heatmap, x, y):
    """Coordinates moved a quarter towards the larger neighbours, and half a cell further."""
    height, width = heatmap.shape
    right = heatmap[y, min(x + 1, width - 1)] > heatmap[y, max(x - 1, 0)]
    below = heatmap[min(y + 1, height - 1), x] > heatmap[max(y - 1, 0), x]
    return x + (0.75 if right else 0.25), y + (0.75 if below else 0.25)


def adjust(people, heatmaps):
    """The people with finer coordinates."""
    people = people.copy()
    for person in people:
        for joint in np.flatnonzero(person[:, 2] > 0):
            x, y = person[joint, :2].astype(int)
            person[joint, :2] = quarter_offset(heatmaps[joint], x, y)
    return people


def refine(person, heatmaps, tags):
    """One person with absent joints filled in where heatmap - round(tag distance) is largest."""
    person = person.copy()
    present = np.flatnonzero(person[:, 2] > 0)
    mean = np.mean([tags[k, int(person[k, 1]), int(person[k, 0])] for k in present], axis=0)
    for joint in range(len(person)):
        distance = np.sqrt(((tags[joint] - mean) ** 2).sum(2))
        best = np.argmax(heatmaps[joint] - np.round(distance))
        y, x = np.unravel_index(best, heatmaps[joint].shape)
        if person[joint, 2] == 0 and heatmaps[joint, y, x] > 0:
            person[joint, :2] = quarter_offset(heatmaps[joint], x, y)
            person[joint, 2] = heatmaps[joint, y, x]
    return person


def decode(heatmaps, tags, order, max_people=30):
    """All steps: (P, K, 3) x, y, value, and (P,) scores."""
    people = adjust(group(heatmaps, tags, order, max_people), heatmaps)
    scores = people[:, :, 2].mean(1)
    if len(people) == 0:
        return people[..., :3], scores
    return np.stack([refine(person, heatmaps, tags) for person in people])[..., :3], scores
