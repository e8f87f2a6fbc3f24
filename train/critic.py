"""The critics of edited faces: photos at all, and of faces with, or without, each attribute?"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from fader_demo.attributes import AttributeSchema
from fader_demo.estimator import READING_SIZE, AttributeEstimator
from fader_demo.model import block_widths

ALSO_MOVED = 0.1
"""Chance that an attribute moves besides the one that does."""
STRENGTH = (-0.25, 1.5)
"""How far an attribute is moved from its label, 0, towards the other, 1, and beyond either."""


class Critic(nn.Module):
    """Face (N, 3, S, S) -> scores (N, attributes, 2): a real photo with label 0, with label 1.

    One score for every attribute and label (as StarGAN v2 has one for every domain, arXiv
    1912.01865), from patches of a third of the face (as PatchGAN, arXiv 1611.07004), and of these
    from where the attribute shows. Of all photos of beards there is none of a woman: a critic that
    saw the eyes would take no beard on her for real, and a decoder could not learn to draw one.

    Spectral normalisation (arXiv 1802.05957) keeps the scores smooth without a gradient penalty,
    which would cost a second backward pass.
    """

    SIDE = 8

    seen: Tensor

    def __init__(self, schema: AttributeSchema, image_size: int, width: int) -> None:
        super().__init__()
        depth = (image_size // self.SIDE).bit_length() - 1
        layers: list[nn.Module] = []
        channels = 3
        for out_channels in block_widths(width, 8 * width, depth):
            layers += [
                spectral_norm(nn.Conv2d(channels, out_channels, 4, 2, 1)),
                nn.LeakyReLU(0.2),
            ]
            channels = out_channels
        self.layers = nn.Sequential(*layers)
        self.head = spectral_norm(nn.Linear(channels * self.SIDE**2, 2 * len(schema)))
        # Moving one attribute at a time tells the region of each.
        regions = schema.region(torch.zeros(len(schema), len(schema)), torch.eye(len(schema)))
        seen = F.adaptive_avg_pool2d(regions, self.SIDE).expand(-1, channels, -1, -1)
        self.register_buffer("seen", seen.flatten(1).repeat_interleave(2, 0), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        features = self.layers(image).flatten(1)
        weight, bias = cast(Tensor, self.head.weight), cast(Tensor, self.head.bias)
        return F.linear(features, weight * self.seen, bias).unflatten(1, (-1, 2))


class PhotoCritic(nn.Module):
    """Face (N, 3, S, S) -> scores (N, SIDE, SIDE): each patch one of a photo, and not of an edit.

    A label's score is soon content with a colour that goes with the label, blue for beards; this
    critic knows no labels and sees what no photo has: stains, smears, half of a pair of glasses.

    It looks through the first blocks of the attribute estimator, which are held, and learns heads
    alone (as projected GANs do, arXiv 2111.01007): of the same edits, a critic of its own layers
    tells two in three from their photos after as many steps as this one takes for nearly all.
    Blocks pool by the mean here, and see faces as small as the estimator reads them: maxima send
    their gradient to one pixel in four, and of a gradient so fine the decoder makes grids.
    """

    SIDE = 8
    WIDTH = 64
    PACE = 4
    """Of its learning rate, beside the others' (two time scales, arXiv 1706.08500)."""
    SEEN = (0, 1)
    """The blocks that heads look at: patches of an eighth and of three tenths of the face."""
    CHANGE = 0.15
    """Of a pixel in [-1, 1]: one that an edit changes by as much counts in full."""

    def __init__(self, estimator: AttributeEstimator) -> None:
        super().__init__()
        blocks = copy.deepcopy(estimator.blocks[: max(self.SEEN) + 1]).children()
        self.blocks = nn.Sequential(
            *(nn.Sequential(*[*block.children()][:-1], nn.AvgPool2d(2)) for block in blocks)
        )
        self.blocks.eval().requires_grad_(False)
        channels = [m.out_channels for m in self.blocks.modules() if isinstance(m, nn.Conv2d)]
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels[level], self.WIDTH, 3, 1, 1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(self.WIDTH, 1, 1),
            )
            for level in self.SEEN
        )

    def train(self, mode: bool = True) -> PhotoCritic:
        super().train(mode)
        self.blocks.eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        image = F.adaptive_avg_pool2d(image, READING_SIZE)
        maps = []
        for block in self.blocks:
            image = block(image)
            maps.append(image)
        seen = zip(self.SEEN, self.heads, strict=True)
        scores = [F.adaptive_avg_pool2d(head(maps[level]), self.SIDE) for level, head in seen]
        return torch.cat(scores, dim=1).mean(1)

    @classmethod
    def changed(cls, photo: Tensor, edited: Tensor) -> Tensor:
        """Faces (N, 3, S, S) twice -> (N, SIDE, SIDE), 0..1: how much an edit changes a patch."""
        change = (edited - photo).abs().amax(1, keepdim=True) / cls.CHANGE
        return F.adaptive_avg_pool2d(change.clamp(max=1), cls.SIDE)[:, 0]


def adversarial_edit_loss(scores: Tensor, edit: Edit, real: Tensor, labels: Tensor) -> Tensor:
    """What the decoder minimises: edits that do not pass for photos of what they claim to be.

    scores, real: (N, attributes, 2), of edits and of their photos, which have these labels. A label
    that stays need not show more than it does in the photo, and one that is new no more than it
    does in the photos that have it, in the mean: else faces without glasses are drawn as what is
    least like glasses, with noses red and green.
    """
    said, own = _said_of(scores, edit.labels), _said_of(real, labels)
    has = torch.stack([labels <= 0.5, labels > 0.5], dim=2)
    typical = torch.where(has, real, 0).sum(0) / has.sum(0).clamp(min=1)
    typical = torch.where(has.any(0), typical, torch.inf)
    stays = (edit.labels > 0.5) == (labels > 0.5)
    enough = torch.where(stays, own, _said_of(typical.expand_as(real), edit.labels))
    return -(edit.weights * torch.minimum(said, enough)).sum(1).mean()


def critic_loss(real: Tensor, labels: Tensor, edited: Tensor, edit: Edit) -> Tensor:
    """Hinge loss: photos at their labels are right; photos at the other label and edits are wrong.

    real, edited: scores (N, attributes, 2). labels: (N, attributes), the photos'. Photos with the
    wrong label teach the critic what an attribute is, before edits are any good.
    """
    right = F.relu(1 - _said_of(real, labels)).mean()
    mismatched = F.relu(1 + _said_of(real, 1 - labels)).mean()
    fake = (edit.weights * F.relu(1 + _said_of(edited, edit.labels))).sum(1).mean()
    return right + (mismatched + fake) / 2


def adversarial_photo_loss(scores: Tensor, changed: Tensor) -> Tensor:
    """What the decoder minimises: changed patches that do not pass for ones of photos.

    scores: (N, h, w), of edits. changed: (N, h, w), how much each counts.
    """
    return -_mean(scores, changed)


def photo_loss(real: Tensor, edited: Tensor, changed: Tensor) -> Tensor:
    """Hinge loss over patches of photos and the same patches, changed, of their edits: (N, h, w).

    A face that has glasses is so no less a photo than one that has lost them.
    """
    return _mean(F.relu(1 - real), changed) + _mean(F.relu(1 + edited), changed)


@dataclass(frozen=True)
class Edit:
    """What photos are to be turned into, (N, attributes) each.

    values: what the decoder is told. labels: 0 or 1, what the edited photo is then to pass for.
    weights, sum 1 for each photo: half on the attributes that move, half on those that must stay.
    """

    values: Tensor
    labels: Tensor
    weights: Tensor


def random_edit(schema: AttributeSchema, labels: Tensor, values: Tensor) -> Edit:
    """Moves one binary attribute of each photo towards its other label, and at times some more.

    The rarer its label among these photos, the sooner an attribute is the one that moves: most
    photos of glasses show them taken off, since few others can. The strength is anywhere on a
    slider. Short of the other label an edit is to pass for a photo with either, with this one as
    often as its strength says: so the decoder learns what half an attribute is, from critics that
    have seen photos of all and of nothing.
    """
    binary = schema.binary.to(labels.device)
    alike = torch.where(labels > 0.5, labels.mean(0), 1 - labels.mean(0))
    # The first to ring of alarms with rates 1 / alike: each with a chance in proportion to it.
    alarm = torch.where(binary, alike * torch.empty_like(labels).exponential_(), torch.inf)
    also = torch.rand_like(labels) < ALSO_MOVED
    moved = binary & (also | (alarm == alarm.amin(1, keepdim=True)))
    low, high = STRENGTH
    strength = low + (high - low) * torch.rand_like(labels)
    across = torch.rand_like(labels) < strength
    wanted = torch.where(moved & across, 1 - labels, labels)
    told = labels.lerp(1 - labels, strength)
    rest = ~moved
    weights = 0.5 * (_share(moved) + _share(rest))
    return Edit(torch.where(moved, told, values), wanted, weights)


def _mean(scores: Tensor, weights: Tensor) -> Tensor:
    return (scores * weights).sum() / weights.sum().clamp(min=1e-6)


def _share(chosen: Tensor) -> Tensor:
    return chosen / chosen.sum(1, keepdim=True).clamp(min=1)


def _said_of(scores: Tensor, labels: Tensor) -> Tensor:
    """Scores (N, attributes, 2) -> those (N, attributes) of the given labels."""
    return scores.gather(2, (labels > 0.5).long().unsqueeze(2)).squeeze(2)
