"""The directions of a latent in which probes find the attributes, for ``Erasure`` to take out.

A latent discriminator that moves along with an encoder is fooled long before the latent is empty: a
probe trained afresh on the frozen encoder still reads it. So the encoder is frozen, and what such
probes read is taken out of its latents, one probe after the other (iterative gradient-based
projection, Iskander et al. 2023, "Shielded Representations"): a probe's gradients say in which
directions it looks, these are projected out, and the next one has to look elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from fader_demo.attributes import AttributeSchema
from train.probe import trained_probe

PER_PROBE = 16
"""Directions taken out after each probe."""
STEPS = 150
HIDDEN = 256
LOOKED_AT = 2_048
"""Faces at which a probe's gradients are taken."""


def leaking_directions(
    schema: AttributeSchema, latents: Tensor, labels: Tensor, weights: Tensor, count: int
) -> Tensor:
    """Latents (N, ...) of training faces, labels (N, attributes) -> basis (D, count), orthonormal.

    weights (N,): how often a face is shown to a probe. The first directions are those of the
    differences between labels, without which no linear probe finds anything (LEACE, arXiv
    2306.03819, theorem 3.1).
    """
    rest = latents.flatten(1).float()
    rest = rest - rest.mean(0)
    basis = rest.new_zeros(rest.shape[1], 0)
    progress = tqdm(total=count, desc="Erasing", unit="direction", leave=False)
    with torch.random.fork_rng(devices=[]), progress:
        torch.manual_seed(0)
        while basis.shape[1] < count:
            if basis.shape[1]:
                probe = trained_probe(schema, rest, labels, HIDDEN, STEPS, weights)
                seen = rest[torch.multinomial(weights, LOOKED_AT, True)].requires_grad_()
                found = _looks_along(probe(seen), seen)
            else:
                found = _differences(schema, rest, labels)
            # Orthogonal to those before and to one another; what is beyond the count is left.
            found, _ = torch.linalg.qr(found - basis @ (basis.T @ found))
            found = found[:, : count - basis.shape[1]]
            basis = torch.cat([basis, found], dim=1)
            rest = rest - rest @ found @ found.T
            progress.update(found.shape[1])
    return basis


def _differences(schema: AttributeSchema, latents: Tensor, labels: Tensor) -> Tensor:
    """(D, schema.prediction_size), of length 1: how latents differ with each target."""
    target = schema.target(labels)
    across = latents.T @ (target - target.mean(0))
    return across / across.norm(dim=0).clamp(min=1e-9)


def _looks_along(logits: Tensor, latents: Tensor) -> Tensor:
    """(D, PER_PROBE): the principal directions of gradients, those of each logit counting alike."""
    gradients = []
    for logit in logits.unbind(1):
        (gradient,) = torch.autograd.grad(logit.sum(), latents, retain_graph=True)
        gradients.append(gradient / gradient.norm(dim=1).mean().clamp(min=1e-9))
    return torch.svd_lowrank(torch.cat(gradients), PER_PROBE + 8, niter=2)[2][:, :PER_PROBE]
