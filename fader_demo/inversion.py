"""The latent of a photo: what the encoder makes of it, fitted to that one photo."""

from __future__ import annotations

import torch
from torch import Tensor

from fader_demo.model import Fader

STEPS = 10
"""More rebuild a photo better still, but are waited for, and edits hardly show it."""

RATE = 0.05
"""How far the first step moves a latent, root mean square; each later one moves it less."""

MOMENTUM = 0.5


def fit(fader: Fader, image: Tensor, values: Tensor) -> Tensor:
    """Photos (N, 3, S, S) in [-1, 1], their values (N, attributes) -> latents (N, *latent_shape).

    An encoder has all photos to serve and errs on each. So its latent is where a gradient descent
    begins, on the squared error of this photo's reconstruction (Zhu et al. 2016, arXiv 1609.03552,
    section 3.2). It ends soon: latents stay like those for which the decoder learned to edit. Of
    the latents on the way a photo gets the best, so that none rebuilds it worse than the encoder's.
    What of an attribute the decoder does not draw when it is told the values comes into the latent.

    The Fader must be in eval mode.
    """
    with torch.inference_mode(False), torch.enable_grad():
        image, values = image.clone(), values.clone()  # inference tensors have no gradients
        with torch.no_grad():
            latent = fader.encode(image, values)
        best, least = latent, image.new_full((len(image), 1, 1, 1), torch.inf)
        direction = torch.zeros_like(latent)
        for step in range(STEPS + 1):
            latent.requires_grad_()
            error = (fader.decode(latent, values) - image).square().sum((1, 2, 3), keepdim=True)
            best = torch.where(error < least, latent, best).detach()
            least = torch.minimum(error, least).detach()
            if step == STEPS:
                break
            (gradient,) = torch.autograd.grad(error.sum(), latent)
            direction = direction.lerp(gradient, 1 - MOMENTUM)
            size = direction.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12)
            latent = latent.detach() - RATE * (1 - step / STEPS) * direction / size
        return best


def invert(fader: Fader, image: Tensor, values: Tensor) -> Tensor:
    """The same less what is linear in the labels, as far as it was measured (``train.erasure``)."""
    return fader.fitted_erasure(fit(fader, image, values), fader.schema.encode(values))
