"""The latent discriminator: reads the attributes off a latent (paper, sections 3.2 and 3.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fader_demo.attributes import AttributeSchema


class LatentDiscriminator(nn.Module):
    """Latent (N, C, h, w) -> logits (readers, N, schema.prediction_size).

    The first reader is the paper's: convolutions 4x4 of stride 2 down to one position, with
    dropout, then two linear layers. Group normalisation stands where the paper has batch
    normalisation: the latent's distribution moves while the encoder trains, and running statistics
    would lag behind it.

    perceptrons: further readers that see every number of the latent at once, as a fresh probe
    does, and so tell by what an encoder has hidden from convolutions.
    """

    def __init__(
        self,
        schema: AttributeSchema,
        latent_shape: tuple[int, int, int],
        width: int = 512,
        dropout: float = 0.3,
        perceptrons: int = 0,
    ) -> None:
        super().__init__()
        channels, size, _ = latent_shape
        layers: list[nn.Module] = []
        while size > 1:
            layers += [
                nn.Conv2d(channels, width, 4, 2, 1) if size > 2 else nn.Conv2d(channels, width, 2),
                nn.GroupNorm(8, width),
                nn.LeakyReLU(0.2),
                nn.Dropout(dropout),
            ]
            channels, size = width, size // 2
        readers = [nn.Sequential(*layers, *_head(channels, width, dropout, schema))]
        for _ in range(perceptrons):
            head = _head(math.prod(latent_shape), width, dropout, schema)
            readers.append(nn.Sequential(*head))
        self.readers = nn.ModuleList(readers)

    def forward(self, latent: Tensor) -> Tensor:
        return torch.stack([reader(latent) for reader in self.readers])

    def restart(self, index: int, seed: int) -> list[nn.Parameter]:
        """Gives a reader new weights, the same in all processes; returns them.

        What an encoder has learned to hide from a reader, it has not hidden from a new one.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for layer in self.readers[index].modules():
                if isinstance(layer, nn.Conv2d | nn.Linear | nn.GroupNorm):
                    layer.reset_parameters()
        return list(self.readers[index].parameters())


def _head(inputs: int, width: int, dropout: float, schema: AttributeSchema) -> list[nn.Module]:
    return [
        nn.Flatten(),
        nn.Linear(inputs, width),
        nn.LeakyReLU(0.2),
        nn.Dropout(dropout),
        nn.Linear(width, schema.prediction_size),
    ]


class LatentMemory(nn.Module):
    """The last ``size`` latents and their targets, for a discriminator that learns from more faces
    than one batch has: it sees as many as a fresh probe would, a few updates late.
    """

    latents: Tensor
    targets: Tensor
    seen: Tensor

    def __init__(self, size: int, latent_shape: tuple[int, int, int], target_size: int) -> None:
        super().__init__()
        self.register_buffer("latents", torch.zeros(size, *latent_shape, dtype=torch.bfloat16))
        self.register_buffer("targets", torch.zeros(size, target_size))
        self.register_buffer("seen", torch.tensor(0))

    def add(self, latents: Tensor, targets: Tensor) -> None:
        """Takes (N, C, h, w) and (N, target_size) in, in the place of the oldest."""
        places = (self.seen + torch.arange(len(latents))) % len(self.latents)
        self.latents[places] = latents.to(self.latents.dtype)
        self.targets[places] = targets
        self.seen += len(latents)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Latents and targets of ``count`` faces at random, some of them perhaps twice."""
        held = min(int(self.seen), len(self.latents))
        chosen = torch.randint(held, (count,), device=self.latents.device)
        return self.latents[chosen].float(), self.targets[chosen]
