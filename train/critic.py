"""The critics of edited faces: photos at all, and of faces with, or without, each attribute?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from fader_demo.attributes import AttributeSchema
from fader_demo.model import block_widths

ALSO_MOVED = 0.1
"""Chance that an attribute moves besides the one that does."""
STRENGTH = (-0.25, 1.5)
"""How far an attribute is moved from its label, 0, towards the other, 1, and beyond either."""
PUT_ON = 0.7
"""The lack of an attribute counts for so much of how frequent it is, and so moves sooner: what is
not there is harder to draw than to take away, and is practised more."""


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
    critic knows no labels and sees what no photo has: stains, smears, hair that is woven.

    Residual blocks that halve by means, as in StyleGAN2 (arXiv 1912.04958): maxima would send
    their gradient to one pixel in four, and of a gradient so fine the decoder makes grids. Layers
    are as they are, not normalised: ``roughness`` keeps the scores smooth.
    """

    SIDE = 8
    WIDTH = 48
    PACE = 1.5
    """Of its learning rate, beside the others' (two time scales, arXiv 1706.08500)."""
    SHARE = 0.5
    """See ``share``: in full once the critic tells six in ten photos from their edits."""
    CHANGE = 0.15
    """Of a pixel in [-1, 1]: one that an edit changes by as much counts in full."""

    told_apart: Tensor

    def __init__(self, image_size: int) -> None:
        super().__init__()
        halvings = (image_size // self.SIDE).bit_length() - 1
        first, *widths = block_widths(self.WIDTH, 8 * self.WIDTH, halvings)
        self.first = nn.Conv2d(3, first, 4, 2, 1)
        blocks = zip([first, *widths], widths, strict=False)
        self.blocks = nn.Sequential(*(_HalvingBlock(*channels) for channels in blocks))
        last = widths[-1] if widths else first
        self.head = nn.Sequential(
            nn.Conv2d(last, last // 2, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(last // 2, 1, 1)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, 0.2)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.register_buffer("told_apart", torch.tensor(0.5))

    @property
    def share(self) -> Tensor:
        """Of the gradient of the critic of labels, how much this one's is worth to the decoder."""
        return self.SHARE * ((self.told_apart - 0.5) / 0.1).clamp(0, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.blocks(F.leaky_relu(self.first(image), 0.2)))[:, 0]

    @classmethod
    def changed(cls, photo: Tensor, edited: Tensor) -> Tensor:
        """Faces (N, 3, S, S) twice -> (N, SIDE, SIDE), 0..1: how much an edit changes a patch."""
        change = (edited - photo).abs().amax(1, keepdim=True) / cls.CHANGE
        return F.adaptive_avg_pool2d(change.clamp(max=1), cls.SIDE)[:, 0]


class _HalvingBlock(nn.Module):
    """(N, C, h, w) -> (N, C', h / 2, w / 2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, 1, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(in_channels, out_channels, 3, 1, 1),
            nn.LeakyReLU(0.2),
            nn.AvgPool2d(2),
        )
        self.skip = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(in_channels, out_channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return (self.layers(x) + self.skip(x)) / 2**0.5


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
    """What the decoder minimises: -log P(photo) of the patches that it changed (not saturating).

    scores: (N, h, w), of edits. changed: (N, h, w), how much each counts.
    """
    return _mean(F.softplus(-scores), changed)


def photo_loss(real: Tensor, edited: Tensor, changed: Tensor) -> Tensor:
    """-log P over patches of photos and the same patches, changed, of their edits: (N, h, w).

    A face that has glasses is so no less a photo than one that has lost them.
    """
    return _mean(F.softplus(-real), changed) + _mean(F.softplus(edited), changed)


def roughness(critic: nn.Module, photos: Tensor, changed: Tensor) -> Tensor:
    """The mean square of the gradient of a photo's score by its pixels (R1, arXiv 1801.04406).

    photos: (N, 3, S, S). changed: (N, SIDE, SIDE), how much each patch counts. By how much the
    score of a photo with a little noise differs: so no second backward pass is needed (Lin et al.
    2025, arXiv 2501.08316).
    """
    noise = 0.05
    scores = critic(torch.cat([photos, photos + noise * torch.randn_like(photos)])).float()
    weights = changed / changed.sum((1, 2), keepdim=True).clamp(min=1e-3)
    plain, noisy = (scores * weights.repeat(2, 1, 1)).sum((1, 2)).chunk(2)
    return ((noisy - plain) / noise).square().mean()


def told_apart(real: Tensor, edited: Tensor, changed: Tensor) -> Tensor:
    """The part of the photos whose changed patches score higher than those of their edits."""
    return (((real - edited) * changed).sum((1, 2)) > 0).float().mean()


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
    alike = torch.where(labels > 0.5, labels.mean(0), PUT_ON * (1 - labels.mean(0)))
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
