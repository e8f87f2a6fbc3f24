"""The latent discriminator: reads the attributes off a latent (paper, sections 3.2 and 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from fader_demo.attributes import AttributeSchema


class LatentDiscriminator(nn.Module):
    """Latent (N, C, h, w) -> logits (N, schema.prediction_size).

    Convolutions 4x4 of stride 2 down to one position, with dropout, then two linear layers.
    Group normalisation stands where the paper has batch normalisation: the latent's distribution
    moves while the encoder trains, and running statistics would lag behind it.
    """

    def __init__(
        self,
        schema: AttributeSchema,
        latent_shape: tuple[int, int, int],
        width: int = 512,
        dropout: float = 0.3,
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
        layers += [
            nn.Flatten(),
            nn.Linear(channels, width),
            nn.LeakyReLU(0.2),
            nn.Dropout(dropout),
            nn.Linear(width, schema.prediction_size),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        return self.layers(latent)
