from __future__ import annotations

import pytest
import torch

from fader_demo.attributes import AttributeSchema
from train.discriminator import LatentDiscriminator, LatentMemory

SCHEMA = AttributeSchema.from_config([{"name": "Smiling"}, {"name": "Beard"}])


@pytest.mark.parametrize("size", [2, 4, 8])
def test_gives_one_logit_an_attribute(size: int) -> None:
    net = LatentDiscriminator(SCHEMA, (6, size, size), width=16)
    assert net(torch.randn(5, 6, size, size)).shape == (1, 5, 2)


def test_a_face_is_judged_alike_in_any_company() -> None:
    net = LatentDiscriminator(SCHEMA, (6, 4, 4), width=16, dropout=0.0)
    one, others = torch.randn(1, 6, 4, 4), 5 + 3 * torch.randn(7, 6, 4, 4)
    assert torch.allclose(net(one), net(torch.cat([one, others]))[:, :1], atol=1e-5)


def test_learns_what_a_latent_holds() -> None:
    torch.manual_seed(0)
    net = LatentDiscriminator(SCHEMA, (6, 4, 4), width=64)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(200):
        latents = torch.randn(64, 6, 4, 4)
        truth = (latents[:, :2, 1, 1] > 0).float()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(latents)[0], truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    latents = torch.randn(400, 6, 4, 4)
    truth = latents[:, :2, 1, 1] > 0
    assert ((net.eval()(latents)[0] > 0) == truth).float().mean() > 0.8


def test_perceptrons_read_beside_the_convolutions() -> None:
    net = LatentDiscriminator(SCHEMA, (6, 4, 4), width=16, perceptrons=2)
    assert net(torch.randn(5, 6, 4, 4)).shape == (3, 5, 2)


def test_one_reader_starts_anew_and_the_others_go_on() -> None:
    net = LatentDiscriminator(SCHEMA, (6, 4, 4), width=16, dropout=0.0, perceptrons=1)
    latents = torch.randn(5, 6, 4, 4)
    before = net(latents)
    random = torch.random.get_rng_state()
    weights = net.restart(1, seed=3)
    after = net(latents)
    assert torch.equal(after[0], before[0])
    assert not torch.equal(after[1], before[1])
    assert {id(weight) for weight in weights} == {id(w) for w in net.readers[1].parameters()}
    assert torch.equal(torch.random.get_rng_state(), random)
    net.restart(1, seed=3)
    assert torch.equal(net(latents), after)


def test_a_memory_holds_the_newest_latents_and_their_targets() -> None:
    memory = LatentMemory(6, (2, 1, 1), 1)
    for start in (0, 4):
        numbers = torch.arange(start, start + 4.0)
        memory.add(numbers.view(4, 1, 1, 1).expand(4, 2, 1, 1), 10 * numbers[:, None])
    latents, targets = memory.draw(300)
    assert latents.shape == (300, 2, 1, 1)
    assert set(latents[:, 0, 0, 0].tolist()) == {2, 3, 4, 5, 6, 7}
    assert torch.equal(targets[:, 0], 10 * latents[:, 1, 0, 0])


def test_a_memory_that_is_not_full_gives_what_it_has() -> None:
    memory = LatentMemory(100, (2, 1, 1), 1)
    memory.add(torch.ones(3, 2, 1, 1), torch.ones(3, 1))
    latents, targets = memory.draw(50)
    assert latents.min() == 1
    assert targets.min() == 1
