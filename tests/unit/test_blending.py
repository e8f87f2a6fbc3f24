"""Blending: the photo keeps its detail, except where an edit redraws the face."""

from __future__ import annotations

import pytest
import torch

from fader_demo.blending import blend, confine

SIZE = 128


@pytest.fixture
def decodes() -> tuple[torch.Tensor, torch.Tensor]:
    """A grey face, and one whose right half is much brighter and left half a little."""
    unedited = torch.zeros(1, 3, SIZE, SIZE)
    edited = unedited + 0.02
    edited[..., SIZE // 2 :] = 0.8
    return unedited, edited


@pytest.fixture
def detailed() -> torch.Tensor:
    """A photo of the grey face with fine detail everywhere."""
    return 0.1 * torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def test_nothing_changes_where_the_decodes_agree(
    decodes: tuple[torch.Tensor, torch.Tensor], detailed: torch.Tensor
) -> None:
    unedited, _ = decodes
    assert torch.equal(blend(unedited, unedited).apply(detailed), detailed)


def test_detail_stays_where_the_edit_is_small_and_goes_where_it_is_large(
    decodes: tuple[torch.Tensor, torch.Tensor], detailed: torch.Tensor
) -> None:
    result = blend(*decodes).apply(detailed)
    left, right = slice(0, SIZE // 2 - 8), slice(SIZE // 2 + 8, SIZE)
    torch.testing.assert_close(result[..., left], detailed[..., left] + 0.02)
    torch.testing.assert_close(result[..., right], decodes[1][..., right])


def test_outside_its_region_an_edit_changes_nothing() -> None:
    unedited = torch.zeros(1, 3, SIZE, SIZE)
    region = torch.zeros(1, 1, 16, 16)
    region[..., 8:] = 1  # the right half
    confined = confine(unedited, unedited + 0.8, region)
    assert confined[..., : SIZE // 2 - 4].abs().max() == 0
    assert confined[..., SIZE // 2 + 4 :].min() == 0.8
    assert confined.diff(dim=3).abs().max() < 0.2  # and its border is soft


def test_an_edit_that_may_change_all_is_as_it_was_drawn(
    decodes: tuple[torch.Tensor, torch.Tensor],
) -> None:
    assert torch.equal(confine(*decodes, torch.ones(1, 1, 16, 16)), decodes[1])


def test_the_border_of_what_is_redrawn_is_soft(
    decodes: tuple[torch.Tensor, torch.Tensor],
) -> None:
    keep = blend(*decodes).keep[0, 0, SIZE // 2]
    assert keep.min() == 0 and keep.max() == 1
    assert keep.diff().abs().max() < 0.6


def test_a_stronger_edit_redraws_more(detailed: torch.Tensor) -> None:
    unedited = torch.zeros(1, 3, SIZE, SIZE)
    kept = [blend(unedited, unedited + s).keep.mean().item() for s in (0, 0.15, 0.2, 0.25, 0.5)]
    assert kept[0] == 1 and kept[-1] == 0
    assert kept == sorted(kept, reverse=True)


def test_faces_are_blended_one_by_one(decodes: tuple[torch.Tensor, torch.Tensor]) -> None:
    unedited, edited = decodes
    both = blend(torch.cat([unedited, unedited]), torch.cat([unedited, edited]))
    assert torch.equal(both[0:1].keep, blend(unedited, unedited).keep)
    assert torch.equal(both[1:2].drawn, blend(unedited, edited).drawn)


def test_the_mask_sends_no_gradient_and_the_edited_decode_all_of_it() -> None:
    edited = torch.full((1, 3, SIZE, SIZE), 0.2, requires_grad=True)
    change = blend(torch.zeros(1, 3, SIZE, SIZE), edited)
    assert not change.keep.requires_grad
    change.apply(torch.zeros(1, 3, SIZE, SIZE)).sum().backward()
    assert edited.grad is not None
    torch.testing.assert_close(edited.grad, torch.ones_like(edited))


def test_levels_are_the_same_change(
    decodes: tuple[torch.Tensor, torch.Tensor], detailed: torch.Tensor
) -> None:
    change = blend(*decodes)
    levels = change.in_levels.apply((detailed + 1) * 127.5)
    torch.testing.assert_close(levels / 127.5 - 1, change.apply(detailed), atol=1e-5, rtol=1e-4)
