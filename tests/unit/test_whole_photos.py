"""Edits of whole photos: what is left of them after paste."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from small_run import ATTRIBUTES

from fader_demo.attributes import AttributeSchema
from fader_demo.editor import Editor, Face
from train import whole_photos
from train.data import DatasetError, PreparedFaces
from train.whole_photos import PhotoSample, whole_photo_figures

PIXELS = {"Smiling": (255, 255, 255), "Eyeglasses": (0, 0, 0)}


class Brightness:
    """A judge that knows its answer: every attribute's score is how light the face is, 0 to 1."""

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((1, 2, 3))[:, None].repeat(1, 4).add(1).div(2)


@pytest.fixture
def photos(astronaut: Image.Image, tmp_path: Path) -> PhotoSample:
    dark = astronaut.point(lambda level: level // 2)
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path, photo in zip(paths, (dark, dark, Image.new("RGB", (96, 96))), strict=True):
        photo.save(path)
    return PhotoSample(paths, ["one", "two", "three"])


def test_what_paste_draws_is_judged_on_the_face_cut_out_again(
    tiny_model_folder: Path, photos: PhotoSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """White photos have crossed, black ones have not; a photo without a face is counted apart."""

    def paste(self: Editor, face: Face, values: Mapping[str, Any]) -> Image.Image:
        (name,) = values
        return Image.new("RGB", face.photo.size, PIXELS[name])

    monkeypatch.setattr(Editor, "paste", paste)
    editor = Editor.from_pretrained(tiny_model_folder)
    figures = whole_photo_figures(editor, Brightness(), photos)  # type: ignore[arg-type]
    assert (figures["faces"], figures["not_found"]) == (2, 1)
    assert set(figures["attributes"]) == {"Smiling", "Eyeglasses"}
    for name, share in (("Smiling", 1.0), ("Eyeglasses", 0.0)):
        assert figures["attributes"][name] == {
            "on_at_label": {"mean": share, "low": share, "high": share},
            "on_at_end": {"mean": share, "low": share, "high": share},
            "swap_at_label": share,
            "swap_at_end": share,
        }


def test_without_one_face_there_are_no_figures(
    tiny_model_folder: Path, photos: PhotoSample
) -> None:
    empty = PhotoSample(photos.paths[2:], photos.people[2:])
    editor = Editor.from_pretrained(tiny_model_folder)
    figures = whole_photo_figures(editor, Brightness(), empty)  # type: ignore[arg-type]
    assert figures == {"faces": 0, "not_found": 1, "attributes": {}}


def test_a_sample_is_spread_over_people(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_photos, "PHOTOS", 10)
    faces = PreparedFaces(prepared, "test", AttributeSchema.from_config(ATTRIBUTES[:1]))
    for name in faces.ids:
        (tmp_path / name).touch()
    sample = PhotoSample.of(faces, tmp_path)
    assert len(set(sample.paths)) == len(set(sample.people)) == 10


def test_a_folder_of_other_photos_is_refused(prepared: Path, tmp_path: Path) -> None:
    faces = PreparedFaces(prepared, "test", AttributeSchema.from_config(ATTRIBUTES[:1]))
    with pytest.raises(DatasetError, match=r"no photo .*000200\.jpg"):
        PhotoSample.of(faces, tmp_path)
