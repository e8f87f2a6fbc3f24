"""Losses over predictions of attributes, for every kind of attribute."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fader_demo.attributes import AttributeSchema

AdversaryTarget = Literal["flipped", "prior"]


def prediction_loss(schema: AttributeSchema, logits: Tensor, target: Tensor) -> Tensor:
    """-log P(y | .) in nats, the mean over faces and attributes (paper, equation 1).

    logits, target: (N, schema.prediction_size); target as ``schema.target`` makes it.
    """
    return torch.stack(
        [
            _cross_entropy(attribute.kind == "binary", part, wanted)
            for attribute, part, wanted in _parts(schema, logits, target)
        ]
    ).mean()


def adversarial_loss(
    schema: AttributeSchema, logits: Tensor, target: Tensor, aim: Literal["flipped"] | Tensor
) -> Tensor:
    """What encoder and decoder minimise against the discriminator, in nats.

    aim "flipped": -log P(1 - y | E(x)), the published objective (paper, equation 2); for more
    than two classes, -log P(not y | E(x)). aim a tensor (schema.prediction_size,), the mean
    target over the training data: the cross-entropy to that prior, least when the discriminator
    says no more than it could without the latent, and so bounded.
    """
    if isinstance(aim, Tensor):
        return prediction_loss(schema, logits, aim.expand_as(logits))
    return torch.stack(
        [
            _not_this(attribute.kind == "binary", part, wanted)
            for attribute, part, wanted in _parts(schema, logits, target)
        ]
    ).mean()


def prior_entropy(schema: AttributeSchema, prior: Tensor) -> Tensor:
    """Nats that a prediction costs which knows the prior (schema.prediction_size,) alone."""
    target = prior.unsqueeze(0)
    logits = torch.cat(
        [
            torch.logit(part, eps=1e-6) if attribute.kind == "binary" else part.clamp(1e-6).log()
            for attribute, part in zip(schema, schema.split_prediction(target), strict=True)
        ],
        dim=1,
    )
    return prediction_loss(schema, logits, target)


def block_error(rebuilt: Tensor, images: Tensor) -> Tensor:
    """Mean squared error of the means of blocks of 8 px: images (N, 3, S, S) twice.

    Critics see edits, in which what a decode has wrong everywhere cancels out: unseen by them,
    noses turn green, which is least like glasses.
    """
    return F.mse_loss(F.avg_pool2d(rebuilt, 8), F.avg_pool2d(images, 8))


def change_loss(change: Tensor) -> Tensor:
    """How much an edit changes pixels, and how unlike their neighbours: images (N, 3, S, S).

    The mean absolute change (of the residual images of Shen and Liu, arXiv 1612.05363) and its
    total variation (Rudin, Osher and Fatemi 1992), which grids and stains have more of than
    frames of glasses.
    """
    variation = change.diff(dim=2).abs().mean() + change.diff(dim=3).abs().mean()
    return change.abs().mean() + variation


def balanced(images: Tensor, loss: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """A scalar whose gradient at images (N, 3, S, S) is that of the first loss and, added to it,
    that of the other one, made ``share`` times as long.

    The steepness of a critic changes a hundredfold while it learns; measured by another's, its
    gradient counts for as much all along (VQGAN's adaptive weight, arXiv 2012.09841, section 3.1).
    """
    first = torch.autograd.grad(loss, images, retain_graph=True)[0]
    second = torch.autograd.grad(other, images)[0]
    weight = share * first.norm() / second.norm().clamp(min=1e-12)
    return (images * (first + weight * second)).sum()


def _parts(schema: AttributeSchema, logits: Tensor, target: Tensor) -> zip:
    return zip(
        schema, schema.split_prediction(logits), schema.split_prediction(target), strict=True
    )


def _cross_entropy(binary: bool, logits: Tensor, target: Tensor) -> Tensor:
    if binary:
        return F.binary_cross_entropy_with_logits(logits, target)
    return F.cross_entropy(logits, target)


def _not_this(binary: bool, logits: Tensor, target: Tensor) -> Tensor:
    if binary:
        return F.binary_cross_entropy_with_logits(logits, 1 - target)
    hit = (logits.softmax(dim=1) * target).sum(dim=1)
    return -torch.log1p(-hit.clamp(max=1 - 1e-6)).mean()
