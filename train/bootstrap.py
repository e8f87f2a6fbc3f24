"""Figures with a 95 % interval, from a bootstrap over people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

Figure = dict[str, float]
"""{"mean", "low", "high"}: a mean over faces and the ends of its interval."""

RESAMPLES = 1_000


class People:
    """Bootstrap over people: whoever is drawn comes with all their photos.

    weights: (RESAMPLES, N), how often each resample drew each face.
    """

    def __init__(self, names: Sequence[str], seed: int = 0) -> None:
        _, members = np.unique(np.array(names), return_inverse=True)
        self.count = int(members.max()) + 1
        random = np.random.default_rng(seed)
        drawn = random.integers(0, self.count, (RESAMPLES, self.count))
        draws = np.stack([np.bincount(row, minlength=self.count) for row in drawn])
        self.weights = draws[:, members]

    def mean(self, values: Tensor | np.ndarray) -> Figure:
        """Mean over faces (N,) with its 95 % interval; NaNs are faces that do not count."""
        values = np.asarray(values, dtype=np.float64)
        counted = ~np.isnan(values)
        weights = self.weights[:, counted]
        weights = weights[weights.any(1)]  # a resample without one of these faces has no mean
        resampled = weights @ values[counted] / weights.sum(1)
        return figure(float(np.nanmean(values)), resampled)

    def statistic(
        self, measure: Callable[[Tensor, Tensor], float], scores: Tensor, truth: Tensor
    ) -> Figure:
        """A statistic of scores and truth (N,), with the interval of its resamples."""
        faces = np.arange(len(scores))
        draws = [np.repeat(faces, weights) for weights in self.weights[:200]]
        resampled = [measure(scores[rows], truth[rows]) for rows in draws]
        return figure(measure(scores, truth), np.array(resampled))


def figure(mean: float, resampled: Sequence[float] | np.ndarray) -> Figure:
    """The mean with the interval of its resamples (R,); NaNs are resamples that have none."""
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return {"mean": round(mean, 4), "low": round(float(low), 4), "high": round(float(high), 4)}
