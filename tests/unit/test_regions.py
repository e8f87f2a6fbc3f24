"""Regions: where on aligned faces an attribute shows."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from small_run import write_prepared

from fader_demo.attributes import REGION_SIDE, Attribute, AttributeSchema
from fader_demo.model import Fader, smooth
from train.data import BatchSampler, PreparedFaces
from train.objective import FaderTask, Guidance, Objective
from train.regions import located

SCHEMA = AttributeSchema([Attribute("Hat"), Attribute("Male"), Attribute("Rough")])
SIZE = 64
FACES = 600


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> PreparedFaces:
    """Noise, in which hats are light tops, men darker bottoms, and rough a chequered left half.

    Nine in ten men wear hats and one in ten of the others.
    """
    folder = tmp_path_factory.mktemp("faces")
    random = np.random.default_rng(0)
    male, rough = random.integers(0, 2, (2, FACES))
    hat = np.where(random.random(FACES) < 0.1, 1 - male, male)
    images = random.normal(128, 10, (FACES, SIZE, SIZE, 3))
    images[:, : SIZE // 4] += 40 * hat[:, None, None, None]
    images[:, -SIZE // 4 :] -= 40 * male[:, None, None, None]
    chequered = np.indices((SIZE, SIZE)).sum(0) % 2 * 2 - 1
    chequered[:, SIZE // 2 :] = 0
    images += 30 * rough[:, None, None, None] * chequered[:, :, None]
    rows = [(f"{i}.jpg", "train", hat[i], male[i], rough[i]) for i in range(FACES)]
    write_prepared(folder, images, ("id", "split", *SCHEMA.names), rows)
    return PreparedFaces(folder, "train", SCHEMA)


def test_an_attribute_is_where_its_faces_differ_all_else_alike(faces: PreparedFaces) -> None:
    hat, male, _ = (_digits(attribute) for attribute in located(SCHEMA, faces))
    top, middle, bottom = slice(0, 3), slice(6, 10), slice(13, 16)
    assert hat[top].min() == 9 and hat[middle].max() == 0
    assert hat[bottom].max() == 0  # though most who wear hats are dark there
    assert male[bottom].min() == 9 and male[middle].max() == 0
    assert male[top].max() == 0


def test_a_texture_shows_though_it_makes_nothing_lighter(faces: PreparedFaces) -> None:
    rough = _digits(located(SCHEMA, faces)["Rough"])
    assert rough[4:12].min() == 9  # either side: faces are mirrored


def test_a_region_that_is_given_stays(faces: PreparedFaces) -> None:
    drawn = ("0123456789" + "0" * 6,) * REGION_SIDE
    schema = AttributeSchema([Attribute("Hat", region=drawn), *SCHEMA[1:]])
    assert located(schema, faces)["Hat"].region == drawn


def test_no_face_is_looked_at_for_regions_that_are_all_given(
    faces: PreparedFaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = ("9" * REGION_SIDE,) * REGION_SIDE
    schema = AttributeSchema([Attribute(name, region=drawn) for name in SCHEMA.names])
    monkeypatch.delattr(PreparedFaces, "batch")
    assert located(schema, faces) == schema


def test_with_few_faces_an_attribute_may_change_everything(faces: PreparedFaces) -> None:
    assert all(not attribute.region for attribute in located(SCHEMA, faces.thinned(150)))


def test_critics_are_shown_edits_within_their_regions_as_smooth_as_photos(
    faces: PreparedFaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.objective.augment", lambda pictures: pictures)
    left = ("9" * 8 + "0" * 8,) * REGION_SIDE
    attributes = [asdict(Attribute(name, region=left)) for name in SCHEMA.names]
    fader = Fader(attributes, image_size=SIZE, width=4, max_width=8, depth=3)
    objective = Objective(guidance=Guidance(weight=0.1, critic_width=4))
    sampler = BatchSampler(faces, 8, seed=0)
    task = FaderTask(fader, objective, sampler.prior, Accelerator(cpu=True))
    shown = []
    for name in ("critic", "photo_critic"):
        task.modules[name].register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    batch = sampler(0)
    task.step(batch, 0)
    pictures, same_pictures, _, edits, same_edits = shown
    assert pictures is same_pictures and edits is same_edits
    photos = smooth(batch.images)
    assert torch.equal(pictures[:8], photos)
    torch.testing.assert_close(pictures[8:], edits)
    change = (edits - photos).abs()
    assert change[..., SIZE // 2 + 4 :].max() < 1e-5
    assert change[..., : SIZE // 2].amax((1, 2, 3)).min() > 0.01


def _digits(attribute: Attribute) -> torch.Tensor:
    return torch.tensor([list(map(int, row)) for row in attribute.region])
