"""How well label maps agree: counts of pixels by true and predicted class, added up over pictures, and the numbers made of them.

Source of the definitions: Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015, section 5. With
n_ij the pixels of class i that are predicted as j and t_i = sum_j n_ij:

    pixel accuracy   sum_i n_ii / sum_i t_i
    class accuracy   mean_i n_ii / t_i
    IoU of class i   n_ii / (t_i + sum_j n_ji - n_ii)

All but the counts are in [0, 1], higher is better, and NaN where there is nothing to divide by.
"""

from __future__ import annotations

import numpy as np

from pixloom.errors import ConfigError


def confusion(prediction: np.ndarray, target: np.ndarray, *, classes: int) -> np.ndarray:
    """Pixels by true class (rows) and predicted class (columns); the last column counts predictions that are no class.

    Args:
        prediction: ids (height, width); whatever is not in 0 .. classes - 1 is no class.
        target: ids of the same shape; pixels outside 0 .. classes - 1 have no label and are left out.
        classes: how many there are.

    Returns:
        (classes, classes + 1) int64.

    Raises:
        ConfigError: the shapes differ.

    >>> confusion(np.array([[0, 1, 1, -1]]), np.array([[0, 0, 1, -1]]), classes=2).tolist()
    [[1, 1, 0], [0, 1, 0]]
    """
    if prediction.shape != target.shape:
        raise ConfigError(f"the predicted label map is {prediction.shape} and the true one {target.shape}")
    labelled = (target >= 0) & (target < classes)
    true, found = target[labelled].astype(np.int64), prediction[labelled].astype(np.int64)
    found[(found < 0) | (found >= classes)] = classes
    counts: np.ndarray = np.bincount(true * (classes + 1) + found, minlength=classes * (classes + 1)).reshape(classes, classes + 1)
    return counts


def pixel_accuracy(counts: np.ndarray) -> float:
    """The share of labelled pixels that are right."""
    return float(_ratio(_right(counts).sum(keepdims=True), counts.sum(keepdims=True).ravel())[0])


def class_accuracy(counts: np.ndarray) -> float:
    """The share of a class's pixels that are right, the mean over the classes that occur."""
    return _mean(_ratio(_right(counts), counts.sum(axis=1)))


def iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of every class, (classes,); NaN for one that neither occurs nor is predicted."""
    return _ratio(_right(counts), _either(counts) - _right(counts))


def miou(counts: np.ndarray) -> float:
    """The mean of :func:`iou` over the classes that occur or are predicted.

    >>> miou(np.array([[1, 1, 0], [0, 1, 0]]))
    0.5
    """
    return _mean(iou(counts))


def dice(counts: np.ndarray) -> np.ndarray:
    """2 n_ii / (t_i + sum_j n_ji) of every class, (classes,): the F1 score (Dice, 1945); NaN as for :func:`iou`."""
    return _ratio(2 * _right(counts), _either(counts))


def _right(counts: np.ndarray) -> np.ndarray:
    right: np.ndarray = np.diagonal(counts)
    return right


def _either(counts: np.ndarray) -> np.ndarray:
    """Pixels of a class and pixels predicted as it; what is both counts twice."""
    total: np.ndarray = counts.sum(axis=1) + counts.sum(axis=0)[: len(counts)]
    return total


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratio


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
