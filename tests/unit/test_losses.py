from __future__ import annotations

import math

import pytest
import torch

from fader_demo.attributes import AttributeSchema
from train.losses import (
    adversarial_loss,
    balanced,
    block_error,
    change_loss,
    prediction_loss,
    prior_entropy,
)

SCHEMA = AttributeSchema.from_config(
    [
        {"name": "Smiling"},
        {"name": "Hair", "kind": "categorical", "choices": ["black", "brown", "blond"]},
        {"name": "Age", "kind": "continuous", "range": [0, 70], "slider": [0, 90], "default": 30},
    ]
)
LABELS = torch.tensor([[1.0, 2.0, 30.0], [0.0, 0.0, 70.0]])
TARGET = SCHEMA.target(LABELS)
SURE = (TARGET - 0.5) * 40


def test_prediction_loss_is_nats_averaged_over_attributes() -> None:
    nothing_known = torch.zeros_like(TARGET)
    expected = (math.log(2) + math.log(3) + math.log(8)) / 3
    assert prediction_loss(SCHEMA, nothing_known, TARGET).item() == pytest.approx(expected)
    assert prediction_loss(SCHEMA, SURE, TARGET) < 0.1 < prediction_loss(SCHEMA, -SURE, TARGET)


def test_flipped_loss_is_the_published_one_for_a_binary_attribute() -> None:
    schema = AttributeSchema.from_config([{"name": "Smiling"}])
    logits, target = torch.tensor([[1.5], [-0.5]]), torch.tensor([[1.0], [0.0]])
    p_of_other = torch.tensor(
        [1 - torch.sigmoid(torch.tensor(1.5)), torch.sigmoid(torch.tensor(-0.5))]
    )
    assert adversarial_loss(schema, logits, target, "flipped").item() == pytest.approx(
        -p_of_other.log().mean().item()
    )


def test_flipped_loss_rewards_a_wrong_discriminator_for_every_kind() -> None:
    wrong = adversarial_loss(SCHEMA, -SURE, TARGET, "flipped")
    right = adversarial_loss(SCHEMA, SURE, TARGET, "flipped")
    assert wrong < 0.1 < 1 < right


def test_prior_loss_is_least_where_the_discriminator_says_the_prior() -> None:
    prior = TARGET.mean(0)
    at_prior = prior_entropy(SCHEMA, prior)
    for logits in (SURE, -SURE):
        assert adversarial_loss(SCHEMA, logits, TARGET, prior) > at_prior + 0.5


def test_prior_entropy_of_even_labels() -> None:
    schema = AttributeSchema.from_config([{"name": "Smiling"}])
    assert prior_entropy(schema, torch.tensor([0.5])).item() == pytest.approx(math.log(2))


def test_a_grid_is_a_greater_change_than_a_frame_of_as_many_pixels() -> None:
    grid, frame = torch.zeros(2, 1, 3, 16, 16)
    grid[..., ::4, ::4] = 0.5  # 16 pixels, none beside another
    frame[..., 4:8, 4:8] = 0.5
    assert grid.abs().mean() == frame.abs().mean()
    assert change_loss(grid) > 2 * change_loss(frame)
    torch.testing.assert_close(change_loss(torch.full((1, 3, 8, 8), -0.2)), torch.tensor(0.2))


def test_of_two_gradients_the_second_is_made_as_long_as_its_share_of_the_first() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss, other = images.square().sum(), 1e-4 * images.pow(3).sum()
    first = torch.autograd.grad(loss, images, retain_graph=True)[0]
    second = torch.autograd.grad(other, images, retain_graph=True)[0]
    both = balanced(images, loss, other, torch.tensor(0.5))
    gradient = torch.autograd.grad(both, images)[0]
    torch.testing.assert_close(gradient, first + second * (0.5 * first.norm() / second.norm()))


def test_a_share_of_nothing_leaves_the_first_gradient() -> None:
    images = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss, other = images.square().sum(), images.pow(3).sum()
    first = torch.autograd.grad(loss, images, retain_graph=True)[0]
    both = balanced(images, loss, other, torch.tensor(0.0))
    torch.testing.assert_close(torch.autograd.grad(both, images)[0], first)


def test_an_error_of_blocks_is_that_of_a_tint_and_not_of_what_is_fine() -> None:
    images = torch.zeros(2, 3, 16, 16)
    green = images.clone()
    green[:, 1, :8] = 0.5
    assert block_error(green, images).item() == pytest.approx(0.5**2 / 6)
    fine = images.clone()
    fine[..., ::2], fine[..., 1::2] = 0.5, -0.5
    assert block_error(fine, images) == 0
