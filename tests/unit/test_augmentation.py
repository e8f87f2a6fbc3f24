"""Pictures as the estimator and the critics are shown them."""

from __future__ import annotations

import torch

from train.augmentation import augment


def test_each_picture_is_moved_and_lit_by_itself() -> None:
    torch.manual_seed(0)
    same = (torch.rand(1, 3, 8, 8) - 0.5).repeat_interleave(4, 2).repeat_interleave(4, 3)
    seen = augment(same.expand(64, -1, -1, -1))
    assert seen.shape == (64, 3, 32, 32)
    assert (seen - seen[:1]).flatten(1).abs().amax(1)[1:].min() > 0.01
    light = seen.mean((2, 3)) - same.mean((2, 3))
    assert light.abs().max() < 0.25
    assert light.std(0).min() > 0.02


def test_a_photo_and_its_edit_are_moved_and_lit_alike() -> None:
    photo = torch.rand(16, 3, 32, 32) - 0.5
    one, other = augment(torch.cat([photo, photo], dim=1)).chunk(2, dim=1)
    assert torch.equal(one, other)
    assert (one - photo).abs().amax((1, 2, 3)).min() > 0.01


def test_a_picture_moves_no_farther_than_it_may() -> None:
    torch.manual_seed(0)
    dots = torch.full((256, 3, 64, 64), -1.0)
    dots[:, :, 32, 32] = 1.0
    brightest = augment(dots).mean(1).flatten(1).argmax(1)
    away = torch.stack([brightest // 64 - 32, brightest % 64 - 32]).float()
    assert 2 <= away.abs().max() <= 4, "4 % of 64 pixels, and one for the scale"
    assert away.mean(1).abs().max() < 0.5


def test_the_decoder_learns_through_it() -> None:
    torch.manual_seed(0)
    images = (torch.rand(8, 3, 32, 32) - 0.5).requires_grad_()
    augment(images)[:, :, 8:24, 8:24].sum().backward()
    assert images.grad is not None
    assert images.grad[:, :, 12:20, 12:20].abs().min() > 0
