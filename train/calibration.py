"""How far the decoder goes for a move of a slider, so that a face moved to a label looks it.

A decoder told "1" draws less of an attribute than photos that have it show: part of the photo's own
look stays in the latent. So a slider's move is amplified (``Attribute.gain``) until the estimator,
which training never asked about edits, reads the label off edited faces in the mean. A slider ends
where its configuration says that the decoder is believed no farther, or before, where going on
changes nothing more: a shaven face cannot lose its beard.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fader_demo.attributes import AttributeSchema
from fader_demo.estimator import AttributeEstimator, anchored
from fader_demo.model import Fader
from train.data import PreparedFaces, encode
from train.edits import BATCH, DIRECTIONS, Direction, EditedFaces, binary

WEAKEST = 0.75
"""The smallest gain. The largest is where the slider ends, counted from the other label."""
STEP = 0.25
"""Between the gains that are tried; what lies between two of them is interpolated."""
FLAT = 0.1
"""What the reading has to rise by, for each unit that the decoder is moved, to go on."""
FACES = 240


def calibrated(
    fader: Fader, estimator: AttributeEstimator, faces: PreparedFaces
) -> AttributeSchema:
    """The fader's schema with the gains of binary attributes, and sliders that fit them.

    faces: such as neither network was trained on, with their values as ``estimator`` reads them.
    """
    readings = _Readings(fader, estimator, faces.thinned(FACES))
    attributes = list(fader.schema)
    for index, attribute in binary(fader.schema):
        low, high = attribute.slider
        down, lowest = readings.gain_and_reach(index, "off", 1 - low)
        up, highest = readings.gain_and_reach(index, "on", high)
        slider = round(1 - lowest / down, 2), round(highest / up, 2)
        attributes[index] = replace(attribute, gain=(down, up), slider=slider)
    return AttributeSchema(attributes)


class _Readings(EditedFaces):
    """What the estimator reads off edits of faces."""

    def __init__(self, fader: Fader, estimator: AttributeEstimator, faces: PreparedFaces) -> None:
        super().__init__(fader, faces, encode(fader, faces))
        self.estimator = estimator

    def gain_and_reach(
        self, index: int, direction: Direction, largest: float
    ) -> tuple[float, float]:
        """The gain at which faces without the label, moved to it, read as it in the mean.

        And the gain beyond which they change no more; where they do not come to read as it, both
        are that one. Neither is more than ``largest``.
        """
        label = float(DIRECTIONS[::-1].index(direction))
        chosen = torch.nonzero(self.faces.labels[:, index].round() != label).flatten()
        if not len(chosen):
            return 1.0, largest
        gains = np.arange(WEAKEST, largest + STEP, STEP).clip(max=largest)
        read = [abs(self._mean(index, chosen, label, g) - (1 - label)) for g in gains]
        flat = [*(np.diff(read) < FLAT * np.diff(gains)), True]
        rising = slice(int(np.argmax(flat)) + 1)
        reach = gains[rising][-1]
        return round(float(np.interp(1.0, read[rising], gains[rising])), 2), float(reach)

    @torch.inference_mode()
    def _mean(self, index: int, chosen: Tensor, label: float, gain: float) -> float:
        parts = [self._read(index, part, label, gain) for part in chosen.split(BATCH)]
        return torch.cat(parts).mean().item()

    def _read(self, index: int, part: Tensor, label: float, gain: float) -> Tensor:
        values = self.faces.values[part].clone()
        values[:, index] += gain * (label - values[:, index])
        estimator = self.estimator
        logits = estimator(self.told(part, values))
        return anchored(estimator.schema, logits, estimator.anchors)[:, index]
