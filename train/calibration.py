"""How far the decoder goes for a move of a slider, so that a face moved to a label looks it.

A decoder told "1" draws less of an attribute than photos that have it show: part of the photo's own
look stays in the latent. So a slider's move is amplified (``Attribute.gain``) until the estimator,
which training never asked about edits, reads the label off edited faces in the mean. Nor does the
look keep pace with what the decoder is told: glasses come at once and late. So what shows nothing
is passed at once (``Attribute.onset``), and the rest of the way is bent (``Attribute.halfway``)
until a slider half way to the label reads as half way. A slider ends where its configuration says
that the decoder is believed no farther, or before, where going on changes nothing more: a shaven
face cannot lose its beard.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fader_demo.attributes import AttributeSchema
from fader_demo.estimator import AttributeEstimator, anchored
from fader_demo.model import Fader
from train.data import PreparedFaces, invert
from train.edits import BATCH, DIRECTIONS, Direction, EditedFaces, binary

WEAKEST = 0.75
"""The smallest gain. The largest is where the slider ends, counted from the other label."""
HALFWAY = (0.3, 0.7)
"""The least and the most that a way is bent; at 0.25 and 0.75 a slider would come to a stop."""
STEP = 0.25
"""Between the gains that are tried; what lies between two of them is interpolated."""
FLAT = 0.1
"""What the reading has to rise by, for each unit that the decoder is moved, to go on."""
SHOWN = 0.1
"""What of the way to the label readings have to rise by before an attribute is said to show."""
FARTHEST_ONSET = 0.6
"""The most that is passed at once; what shows later than that is too weak to be hurried."""
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
        down, up = readings.response(index, "off", 1 - low), readings.response(index, "on", high)
        attributes[index] = replace(
            attribute,
            gain=(down.gain, up.gain),
            halfway=(down.halfway, up.halfway),
            onset=(down.onset, up.onset),
            slider=(round(1 - down.reach / down.gain, 2), round(up.reach / up.gain, 2)),
        )
    return AttributeSchema(attributes)


@dataclass(frozen=True)
class _Response:
    """gain: at which faces without a label, moved to it, read as it in the mean. onset: what of it
    goes by before they read more of it than they did. halfway: the share of the rest at which they
    read half of the label. reach: the gain beyond which they change no more.

    Where they do not come to read as the label, gain and reach are the same.
    """

    gain: float
    onset: float
    halfway: float
    reach: float


class _Readings(EditedFaces):
    """What the estimator reads off edits of faces."""

    def __init__(self, fader: Fader, estimator: AttributeEstimator, faces: PreparedFaces) -> None:
        super().__init__(fader, faces, invert(fader, faces))
        self.estimator = estimator

    def response(self, index: int, direction: Direction, largest: float) -> _Response:
        """Of the faces without the label to the decoder's moves, none more than ``largest``."""
        label = float(DIRECTIONS[::-1].index(direction))
        chosen = torch.nonzero(self.faces.labels[:, index].round() != label).flatten()
        if not len(chosen):
            return _Response(1.0, 0.0, 0.5, largest)
        gains = np.arange(0, largest + STEP, STEP).clip(max=largest)
        means = np.array([self._mean(index, chosen, label, gain) for gain in gains])
        read = means if label else 1 - means
        flat = np.append(np.diff(read) < FLAT * np.diff(gains), True)
        first = int(WEAKEST / STEP)
        end = first + int(np.argmax(flat[first:])) + 1
        gain = float(np.interp(1.0, read[first:end], gains[first:end]))
        rising, tried = np.maximum.accumulate(read[:end]), gains[:end]
        goal = float(np.interp(gain, tried, read[:end]))

        def gain_at(share: float) -> float:
            return float(np.interp(read[0] + share * (goal - read[0]), rising, tried))

        # A way that keeps pace has come that far by itself.
        onset = float(np.clip(gain_at(SHOWN) - SHOWN * gain, 0, FARTHEST_ONSET))
        halfway = float(np.clip((gain_at(0.5) - onset) / (gain - onset), *HALFWAY))
        reach = float(tried[-1])
        return _Response(round(gain, 2), round(onset, 2), round(halfway, 2), reach)

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
