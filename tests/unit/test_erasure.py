"""What probes find in a latent is taken out of it."""

from __future__ import annotations

import pytest
import torch

from fader_demo.attributes import AttributeSchema
from fader_demo.model import Erasure
from train.erasure import leaking_directions
from train.probe import probe_auc

SCHEMA = AttributeSchema.from_config([{"name": "Straight"}, {"name": "Bent"}])
SIZE, FACES = 40, 6000
Latents = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def latents() -> Latents:
    """One label is a difference along a line; the other is where two numbers are of one sign, which
    no line tells."""
    torch.manual_seed(0)
    numbers = torch.randn(FACES, SIZE)
    straight = torch.rand(FACES) < 0.5
    numbers[:, 2] += 2.0 * straight
    bent = numbers[:, 0] * numbers[:, 1] > 0
    turned = torch.linalg.qr(torch.randn(SIZE, SIZE))[0]
    return (numbers @ turned).view(FACES, 10, 2, 2), torch.stack([straight, bent], 1).float()


@pytest.fixture(scope="module")
def basis(latents: Latents) -> torch.Tensor:
    return leaking_directions(SCHEMA, *latents, torch.ones(FACES), count=14)


def aucs(latents: Latents, hidden: int) -> dict[str, float]:
    """Of fresh probes, on faces that they have not seen."""
    numbers, labels = latents
    known, unseen = slice(FACES // 2), slice(FACES // 2, FACES)
    return probe_auc(
        SCHEMA, (numbers[known], labels[known]), (numbers[unseen], labels[unseen]), hidden, seed=7
    )


def test_fresh_probes_find_nothing_in_what_is_left(latents: Latents, basis: torch.Tensor) -> None:
    assert aucs(latents, 0)["Straight"] > 0.9 and aucs(latents, 256)["Bent"] > 0.9
    erasure = Erasure(SIZE, SCHEMA.code_size, directions=14).eval()
    erasure.basis = basis
    left = erasure(latents[0], SCHEMA.encode(latents[1]))
    assert max(aucs((left, latents[1]), 0).values()) < 0.57
    assert max(aucs((left, latents[1]), 256).values()) < 0.62


def test_directions_are_orthonormal_and_as_many_as_asked_for(basis: torch.Tensor) -> None:
    assert basis.shape == (SIZE, 14)
    torch.testing.assert_close(basis.T @ basis, torch.eye(14), atol=1e-4, rtol=0)


def test_they_are_the_same_each_time_and_leave_chance_alone(
    latents: Latents, basis: torch.Tensor
) -> None:
    before = torch.random.get_rng_state()
    again = leaking_directions(SCHEMA, *latents, torch.ones(FACES), count=14)
    assert torch.equal(again, basis)
    assert torch.equal(torch.random.get_rng_state(), before)
