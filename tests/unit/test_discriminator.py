from __future__ import annotations

import pytest
import torch

from fader_demo.attributes import AttributeSchema
from train.discriminator import LatentDiscriminator

SCHEMA = AttributeSchema.from_config([{"name": "Smiling"}, {"name": "Beard"}])


@pytest.mark.parametrize("size", [2, 4, 8])
def test_gives_one_logit_an_attribute(size: int) -> None:
    net = LatentDiscriminator(SCHEMA, (6, size, size), width=16)
    assert net(torch.randn(5, 6, size, size)).shape == (5, 2)


def test_a_face_is_judged_alike_in_any_company() -> None:
    net = LatentDiscriminator(SCHEMA, (6, 4, 4), width=16, dropout=0.0)
    one, others = torch.randn(1, 6, 4, 4), 5 + 3 * torch.randn(7, 6, 4, 4)
    assert torch.allclose(net(one), net(torch.cat([one, others]))[:1], atol=1e-5)


def test_learns_what_a_latent_holds() -> None:
    torch.manual_seed(0)
    net = LatentDiscriminator(SCHEMA, (6, 4, 4), width=64)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(200):
        latents = torch.randn(64, 6, 4, 4)
        truth = (latents[:, :2, 1, 1] > 0).float()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(latents), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    latents = torch.randn(400, 6, 4, 4)
    truth = latents[:, :2, 1, 1] > 0
    assert ((net.eval()(latents) > 0) == truth).float().mean() > 0.8
