"""Average precision of boxes by the COCO evaluation, and how many objects of each class were counted."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from rowrnn.lab.tasks.boxes.examples import Scenes
from rowrnn.models.boxes import Boxes

THRESHOLDS = np.linspace(0.02, 0.98, 49)


def average_precision(said: Boxes, truth: Scenes, classes: Sequence[str]) -> dict[str, Any]:
    """Returns the average precision at an overlap of .5, and its mean over .5, .55, … .95, by pycocotools.

    Args:
        said: what was found, of all pictures.
        truth: the true boxes.
        classes: names of the classes.

    Returns:
        Fractions: "ap_50" and "ap", means over the classes that occur, and "ap_50_by_class".
    """
    from pycocotools.coco import COCO  # Imported only where used.
    from pycocotools.cocoeval import COCOeval

    present = np.asarray(truth.present)
    pictures, _ = np.nonzero(present)
    objects = zip(pictures, np.asarray(truth.boxes)[present], np.asarray(truth.classes)[present], strict=True)
    annotations = [
        {"id": number + 1, "image_id": int(image), "iscrowd": 0, **_box(box), "category_id": int(kind)}
        for number, (image, box, kind) in enumerate(objects)
    ]
    results = [
        {"image_id": image, **_box(box), "category_id": int(kind), "score": float(score)}
        for image, of_image in enumerate(zip(*map(np.asarray, said[:3]), strict=True))
        for box, kind, score in zip(*of_image, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # It prints what it does.
        true: Any = COCO()
        true.dataset = {
            "info": {},
            "images": [{"id": image} for image in range(len(present))],
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in enumerate(classes)],
        }
        true.createIndex()
        evaluation = COCOeval(true, true.loadRes(results), "bbox")
        evaluation.params.maxDets = [1, 10, said.scores.shape[1]]
        evaluation.evaluate()
        evaluation.accumulate()
    # [thresholds of overlap, recalls, classes, sizes, numbers of boxes]; -1 where a class does not occur
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    occurs = (precision > -1).all(axis=(0, 1))
    by_class = {name: float(precision[0, :, place].mean()) for place, name in enumerate(classes) if occurs[place]}
    return {
        "ap_50": float(precision[0][:, occurs].mean()),
        "ap": float(precision[:, :, occurs].mean()),
        "ap_50_by_class": by_class,
    }


def _box(box: Float[np.ndarray, "4"]) -> dict[str, Any]:
    left, top, right, bottom = map(float, box)
    width, height = right - left, bottom - top
    return {"bbox": [left, top, width, height], "area": width * height}


def counts(said: Boxes, threshold: float, classes: int) -> Int[np.ndarray, "b classes"]:
    """Returns how many objects of each class have a score of at least a threshold."""
    kinds, sure = np.asarray(said.classes), np.asarray(said.scores) >= threshold
    return np.stack([((kinds == number) & sure).sum(axis=1) for number in range(classes)], axis=1)


def true_counts(truth: Scenes, classes: int) -> Int[np.ndarray, "b classes"]:
    """Returns how many objects of each class there are."""
    kinds, present = np.asarray(truth.classes), np.asarray(truth.present)
    return np.stack([((kinds == number) & present).sum(axis=1) for number in range(classes)], axis=1)


def best_threshold(said: Boxes, truth: Scenes, classes: int) -> float:
    """Returns the threshold with which the objects of each class are counted best: with the fewest wrong, on average.

    Of thresholds that are as good the one in the middle.
    """
    wanted = true_counts(truth, classes)
    errors = np.array([np.abs(counts(said, threshold, classes) - wanted).mean() for threshold in THRESHOLDS])
    best = np.flatnonzero(errors == errors.min())
    return float(THRESHOLDS[best[len(best) // 2]])


def counted_right(said: Int[np.ndarray, "b classes"], truth: Int[np.ndarray, "b classes"]) -> Bool[np.ndarray, "b"]:
    """Returns of which pictures the objects of every class were counted right."""
    return (said == truth).all(axis=1)
