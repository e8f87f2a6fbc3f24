"""The critic's losses and the edits it is shown."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from fader_demo.attributes import AttributeSchema
from train.critic import (
    Critic,
    Edit,
    PhotoCritic,
    adversarial_edit_loss,
    adversarial_photo_loss,
    critic_loss,
    photo_loss,
    random_edit,
    roughness,
    told_apart,
)

SCHEMA = AttributeSchema.from_config(
    [
        {"name": "Smiling"},
        {"name": "Age", "kind": "continuous", "range": [20, 70], "slider": [0, 90], "default": 40},
        {"name": "Male"},
        {"name": "Bangs"},
    ]
)


def edits(count: int = 4000) -> tuple[torch.Tensor, torch.Tensor, Edit]:
    torch.manual_seed(0)
    labels = (torch.rand(count, 4) > 0.5).float()
    labels[:, 1] = 33.0
    values = labels + 0.1 * torch.randn_like(labels)
    return labels, values, random_edit(SCHEMA, labels, values)


def test_an_edit_moves_one_binary_attribute_and_seldom_more() -> None:
    _, values, edit = edits()
    moved = edit.values != values
    assert moved.any(1).all()
    assert not moved[:, 1].any(), "a continuous attribute has no other label"
    assert 1.05 < moved.sum(1).float().mean() < 1.4
    share = moved.float().mean(0)[[0, 2, 3]]
    assert share.max() - share.min() < 0.05
    assert torch.equal(edit.values[~moved], values[~moved])


def test_an_attribute_with_a_rare_label_is_the_first_to_move() -> None:
    torch.manual_seed(0)
    labels = (torch.rand(4000, 4) > torch.tensor([0.5, 0.5, 0.5, 0.95])).float()
    moved = random_edit(SCHEMA, labels, labels).values != labels
    rare = labels[:, 3] > 0.5
    assert moved[rare, 3].float().mean() > 0.7
    assert moved[~rare, 3].float().mean() < 0.4


def test_attributes_are_put_on_more_often_than_taken_off() -> None:
    labels, values, edit = edits()
    moved = (edit.values != values)[:, [0, 2, 3]]
    has = labels[:, [0, 2, 3]] > 0.5
    assert 1.15 < moved[~has].float().mean() / moved[has].float().mean() < 1.5


def test_a_moved_attribute_lies_anywhere_on_a_slider() -> None:
    labels, values, edit = edits()
    moved = edit.values != values
    way = torch.where(labels > 0.5, 1 - edit.values, edit.values)[moved]
    assert -0.25 <= way.min() < -0.2
    assert 1.45 < way.max() < 1.5
    counts = torch.histc(way, 7, -0.25, 1.5) / len(way)
    assert counts.sub(1 / 7).abs().max() < 0.02


def test_an_edit_claims_the_other_label_as_often_as_its_strength_says() -> None:
    labels, values, edit = edits(20_000)
    moved = edit.values != values
    way = torch.where(labels > 0.5, 1 - edit.values, edit.values)[moved]
    claims = (edit.labels != labels)[moved].float()
    for low in (0.0, 0.25, 0.5, 0.75):
        between = (way >= low) & (way < low + 0.25)
        assert abs(claims[between].mean().item() - (low + 0.125)) < 0.04
    assert not claims[way < 0].any()
    assert claims[way > 1].all()
    assert torch.equal((edit.labels != labels) & ~moved, torch.zeros_like(moved))


def test_what_moved_weighs_as_much_as_all_that_did_not() -> None:
    labels, values, edit = edits()
    moved = edit.values != values
    torch.testing.assert_close((edit.weights * moved).sum(1), torch.full((len(labels),), 0.5))
    torch.testing.assert_close(edit.weights.sum(1), torch.ones(len(labels)))


def test_the_critic_is_content_when_photos_pass_and_edits_do_not() -> None:
    labels = torch.tensor([[1.0, 0.0]])
    edit = Edit(
        values=labels, labels=torch.tensor([[0.0, 0.0]]), weights=torch.tensor([[0.5, 0.5]])
    )
    right = torch.tensor([[[-1.0, 1.0], [1.0, -1.0]]])
    assert critic_loss(right, labels, torch.full((1, 2, 2), -1.0), edit) == 0
    assert critic_loss(-right, labels, torch.full((1, 2, 2), -1.0), edit) == 3
    assert critic_loss(right, labels, torch.full((1, 2, 2), 1.0), edit) == 1


def test_the_decoder_is_judged_by_what_the_edit_claims() -> None:
    edit = Edit(
        values=torch.zeros(1, 2),
        labels=torch.tensor([[1.0, 0.0]]),
        weights=torch.tensor([[0.75, 0.25]]),
    )
    scores, labels = torch.tensor([[[9.0, 2.0], [4.0, 9.0]]]), torch.zeros(1, 2)
    content = torch.full((1, 2, 2), 9.0)
    assert adversarial_edit_loss(scores, edit, content, labels) == -(0.75 * 2 + 0.25 * 4)


def test_what_stays_need_not_show_more_than_in_the_photo() -> None:
    """The first attribute has changed its label, the second has kept it and shows it enough."""
    edit = Edit(
        values=torch.zeros(1, 2),
        labels=torch.tensor([[1.0, 0.0]]),
        weights=torch.tensor([[0.5, 0.5]]),
    )
    scores = torch.tensor([[[0.0, 0.3], [0.9, 0.0]]], requires_grad=True)
    photo, labels = torch.tensor([[[0.1, 0.0], [0.7, 0.0]]]), torch.zeros(1, 2)
    adversarial_edit_loss(scores, edit, photo, labels).backward()
    assert torch.equal(scores.grad, torch.tensor([[[0.0, -0.5], [0.0, 0.0]]]))


def test_what_is_new_need_not_show_more_than_in_photos_that_have_it() -> None:
    """Two photos are turned from 0 to 1, of which others show 0.4 in the mean; one passes that."""
    labels = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    edit = Edit(
        values=torch.zeros(4, 1),
        labels=torch.tensor([[1.0], [1.0], [1.0], [1.0]]),
        weights=torch.tensor([[1.0], [1.0], [0.0], [0.0]]),
    )
    photos = torch.tensor([[[0.0, 9.0]], [[0.0, 9.0]], [[0.0, 0.3]], [[0.0, 0.5]]])
    scores = torch.tensor([[[0.0, 0.5]], [[0.0, 0.3]], [[0.0, 0.0]], [[0.0, 0.0]]])
    scores.requires_grad_(True)
    loss = adversarial_edit_loss(scores, edit, photos, labels)
    torch.testing.assert_close(loss, torch.tensor(-(0.4 + 0.3) / 4))
    loss.backward()
    assert torch.equal(scores.grad[:, 0, 1], torch.tensor([0.0, -0.25, 0.0, 0.0]))


def test_a_critic_learns_what_an_attribute_looks_like() -> None:
    """From photos alone: one score rises where the mark is, the other where it is not."""
    torch.manual_seed(0)
    critic = Critic(AttributeSchema.from_config([{"name": "Hat"}]), image_size=32, width=8)
    optimizer = torch.optim.Adam(critic.parameters(), 2e-3, betas=(0.5, 0.999))

    def photos(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = (torch.rand(count, 1) > 0.5).float()
        images = 0.3 * torch.randn(count, 3, 32, 32)
        images[:, :, 8:14, 4:28] -= labels[:, :, None, None]
        return images, labels

    for _ in range(60):
        images, labels = photos(16)
        none = Edit(labels, labels, torch.zeros_like(labels))
        scores = critic(images)
        loss = critic_loss(scores, labels, scores, none)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images, labels = photos(200)
    scores = critic.eval()(images)
    assert scores.shape == (200, 1, 2)
    assert ((scores[:, 0, 1] > scores[:, 0, 0]) == (labels[:, 0] > 0.5)).float().mean() > 0.95


def test_an_attribute_is_judged_only_where_it_shows() -> None:
    lower_half = ["0" * 16] * 8 + ["9" * 16] * 8
    schema = AttributeSchema.from_config(
        [{"name": "Beard", "region": lower_half}, {"name": "Male"}, {"name": "Hat"}]
    )
    torch.manual_seed(0)
    critic = Critic(schema, image_size=64, width=8).eval()
    face = torch.rand(1, 3, 64, 64)
    other = face.clone()
    other[:, :, :16] = 0  # farther from the lower half than a patch reaches
    changed = (critic(face) - critic(other)).abs().amax(2)[0]
    assert changed[0] < 1e-6
    assert changed[1:].min() > 1e-4


def test_stains_are_told_from_photos_whatever_the_label() -> None:
    torch.manual_seed(0)
    critic = PhotoCritic(64)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-3, betas=(0.5, 0.999))

    def pictures(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        photos = 0.3 * torch.randn(count, 3, 64, 64)
        stained = photos.clone()
        stained[:, 2, 32:] += 0.6 * (torch.rand(count, 32, 64) > 0.7)
        return photos, stained

    for _ in range(60):
        photos, stained = pictures(16)
        real, edited = critic(torch.cat([photos, stained])).chunk(2)
        loss = photo_loss(real, edited, PhotoCritic.changed(photos, stained))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    photos, stained = pictures(100)
    scores = critic.eval()(torch.cat([photos, stained]))
    assert scores.shape == (200, 8, 8)
    real, edited = scores[:, 5:].mean((1, 2)).chunk(2)
    assert (real > 0).float().mean() > 0.95
    assert (edited < 0).float().mean() > 0.95


def test_what_it_asks_of_a_pixel_it_asks_of_its_neighbours() -> None:
    torch.manual_seed(0)
    critic = PhotoCritic(128).eval()
    with_maxima = copy.deepcopy(critic)
    for block in with_maxima.blocks:
        block.layers[-1], block.skip[0] = nn.MaxPool2d(2), nn.MaxPool2d(2)

    def shared(critic: PhotoCritic) -> torch.Tensor:
        image = torch.rand(4, 3, 128, 128, requires_grad=True)
        (gradient,) = torch.autograd.grad(critic(image).sum(), image)
        return torch.nn.functional.avg_pool2d(gradient, 8).norm() * 8 / gradient.norm()

    assert shared(critic) > 1.5 * shared(with_maxima)


@pytest.mark.parametrize("size", [16, 64, 256])
def test_it_scores_patches_of_faces_of_any_size(size: int) -> None:
    assert PhotoCritic(size)(torch.zeros(2, 3, size, size)).shape == (2, 8, 8)


def test_it_counts_for_more_the_better_it_tells_edits_from_photos() -> None:
    critic, shares = PhotoCritic(16), []
    for told in (0.4, 0.5, 0.55, 0.6, 1.0):
        critic.told_apart.fill_(told)
        shares.append(critic.share.item() / critic.SHARE)
    assert shares == pytest.approx([0, 0, 0.5, 1, 1], abs=1e-5)

    real = torch.tensor([1.0, 2.0, 0.0])[:, None, None].expand(3, 8, 8)
    edited = torch.tensor([0.0, 3.0, -1.0])[:, None, None].expand(3, 8, 8)
    assert told_apart(real, edited, torch.ones(3, 8, 8)).item() == pytest.approx(2 / 3)


def test_roughness_is_the_square_of_a_scores_gradient() -> None:
    torch.manual_seed(0)
    slope = torch.randn(3, 16, 16)

    def critic(image: torch.Tensor) -> torch.Tensor:
        score = (image * slope).sum((1, 2, 3)) + 5
        return score[:, None, None].expand(-1, 8, 8)

    changed = torch.rand(4000, 8, 8)
    rough = roughness(critic, torch.rand(4000, 3, 16, 16), changed)
    assert rough.item() == pytest.approx(slope.square().sum().item(), rel=0.1)
    assert roughness(critic, torch.rand(5, 3, 16, 16), torch.zeros(5, 8, 8)) == 0


def test_patches_count_as_far_as_an_edit_changes_them() -> None:
    photo = torch.zeros(1, 3, 64, 64)
    edited = photo.clone()
    edited[:, 1, :8, :8], edited[:, 1, :8, 8:16] = 0.5, 0.075
    changed = PhotoCritic.changed(photo, edited)
    assert changed.shape == (1, 8, 8)
    torch.testing.assert_close(changed[0, 0, :3], torch.tensor([1.0, 0.5, 0.0]))

    scores = torch.tensor([[[1.0, -7.0], [3.0, -7.0]]])
    weights = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    taken_for_edits = (math.log1p(math.exp(-1)) + math.log1p(math.exp(-3))) / 2
    assert adversarial_photo_loss(scores, weights).item() == pytest.approx(taken_for_edits)
    right = photo_loss(scores, -scores, weights).item()
    assert right == pytest.approx(2 * taken_for_edits)
    # -log(1 - p) and -log p differ by the logit, here 2 in the mean.
    assert photo_loss(-scores, scores, weights).item() == pytest.approx(right + 2 * 2)
    assert adversarial_photo_loss(scores, torch.zeros_like(weights)) == 0, "an edit of nothing"
