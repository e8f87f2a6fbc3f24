from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import torch
from small_run import ATTRIBUTES

from fader_demo.attributes import AttributeSchema
from train.data import BatchSampler, DatasetError, PreparedFaces, balanced_weights, label_anchors

SCHEMA = AttributeSchema.from_config(ATTRIBUTES)
COLUMNS = {"Beard": "not No_Beard"}


@pytest.fixture
def faces(prepared: Path) -> PreparedFaces:
    return PreparedFaces(prepared, "train", SCHEMA, COLUMNS)


def test_a_negated_column_swaps_its_labels(prepared: Path, faces: PreparedFaces) -> None:
    with (prepared / "table.csv").open() as file:
        no_beard = [float(row["No_Beard"]) for row in csv.DictReader(file)][: len(faces)]
    assert faces.labels[:, 1].tolist() == [1 - value for value in no_beard]


def test_splits_hold_their_own_rows(prepared: Path, faces: PreparedFaces) -> None:
    validation = PreparedFaces(prepared, "validation", SCHEMA, COLUMNS)
    assert (len(faces), len(validation)) == (160, 40)
    assert not set(faces.ids) & set(validation.ids)


def test_images_are_scaled_to_minus_one_and_one(faces: PreparedFaces) -> None:
    images = faces.batch(torch.arange(4)).images
    expected = torch.from_numpy(faces.images[:4].copy()).permute(0, 3, 1, 2) / 127.5 - 1
    assert torch.allclose(images, expected, atol=1e-6)


def test_a_folder_serves_sizes_that_divide_its_own(prepared: Path, faces: PreparedFaces) -> None:
    half = PreparedFaces(prepared, "train", SCHEMA, COLUMNS, faces.image_size // 2)
    whole = faces.batch(torch.arange(3)).images
    quarters = torch.stack([whole[:, :, y::2, x::2] for y in (0, 1) for x in (0, 1)])
    assert torch.allclose(half.batch(torch.arange(3)).images, quarters.mean(0), atol=1e-6)
    with pytest.raises(DatasetError, match="no whole part"):
        PreparedFaces(prepared, "train", SCHEMA, COLUMNS, 2 * faces.image_size)


def test_faces_held_on_a_device_are_the_same(prepared: Path, faces: PreparedFaces) -> None:
    held = PreparedFaces(prepared, "train", SCHEMA, COLUMNS)
    held.hold(torch.device("cpu"))
    chosen, flip = torch.tensor([7, 3]), torch.tensor([True, False])
    assert torch.equal(held.batch(chosen, flip).images, faces.batch(chosen, flip).images)
    everyone = torch.arange(5)
    few, expected = (each.thinned(5).batch(everyone).images for each in (held, faces))
    assert torch.equal(few, expected)


def test_flips_are_drawn_for_each_image(faces: PreparedFaces) -> None:
    plain = faces.batch(torch.arange(2)).images
    flipped = faces.batch(torch.arange(2), torch.tensor([True, False])).images
    assert torch.equal(flipped[0], plain[0].flip(2))
    assert torch.equal(flipped[1], plain[1])


def test_sampling_shows_rare_labels_more_often(faces: PreparedFaces) -> None:
    sampler = BatchSampler(faces, 40, seed=0)
    sampled = torch.cat([sampler(step).labels for step in range(40)])
    rare = faces.labels[:, 1].mean().item()
    assert sampled[:, 1].mean() > 2 * rare
    assert sampled.mean(0) == pytest.approx(sampler.prior.tolist(), abs=0.05)


def test_weights_balance_a_single_attribute_exactly() -> None:
    labels = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    weights = balanced_weights(AttributeSchema.from_config(ATTRIBUTES[:1]), labels)
    assert weights.tolist() == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3])


def test_batches_depend_on_seed_and_step_alone(faces: PreparedFaces) -> None:
    one, other = BatchSampler(faces, 16, seed=3), BatchSampler(faces, 16, seed=3)
    one(0), one(25)
    assert torch.equal(one(11).images, other(11).images)
    assert not torch.equal(one(11).images, BatchSampler(faces, 16, seed=4)(11).images)


def test_processes_share_a_batch_out(faces: PreparedFaces) -> None:
    whole = BatchSampler(faces, 16, seed=0)(5).images
    parts = [BatchSampler(faces, 16, 0, rank, 2)(5).images for rank in range(2)]
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), whole)


def test_a_batch_that_does_not_divide_is_refused(faces: PreparedFaces) -> None:
    with pytest.raises(ValueError, match="divide over 3"):
        BatchSampler(faces, 16, 0, 0, 3)


def test_anchors_are_the_mean_logits_of_each_label() -> None:
    schema = AttributeSchema.from_config(ATTRIBUTES[:1])
    logits, labels = torch.tensor([[-3.0], [-1.0], [4.0]]), torch.tensor([[0.0], [0.0], [1.0]])
    assert label_anchors(schema, logits, labels).tolist() == [[-2.0, 4.0]]


def test_thinned_faces_keep_pictures_and_labels_together(faces: PreparedFaces) -> None:
    fewer = faces.thinned(7)
    assert len(fewer) == 7
    position = faces.ids.index(fewer.ids[3])
    assert torch.equal(
        fewer.batch(torch.tensor([3])).images, faces.batch(torch.tensor([position])).images
    )
    assert torch.equal(fewer.labels[3], faces.labels[position])


def test_a_missing_folder_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"train\.prepare"):
        PreparedFaces(tmp_path, "train", SCHEMA)


def test_a_missing_column_is_named(prepared: Path) -> None:
    with pytest.raises(DatasetError, match="no column 'Beard'"):
        PreparedFaces(prepared, "train", SCHEMA)


def test_a_table_that_is_no_number_names_the_photo(prepared: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(prepared, tmp_path / "copy"))
    table = copy / "table.csv"
    lines = table.read_text().splitlines()
    lines[5] = "000004.jpg,train,2,yes,1"
    table.write_text("\n".join(lines))
    with pytest.raises(DatasetError, match=r"000004\.jpg has 'yes' for Smiling"):
        PreparedFaces(copy, "train", SCHEMA, COLUMNS)
