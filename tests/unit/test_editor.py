"""The editor: no edit changes nothing, an edit changes the face alone, the encoder runs once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms
from torch import Tensor, nn

import fader_demo
from fader_demo import Editor, Face, NoFaceError, SchemaError, UnreadableImageError
from fader_demo.editor import Edit, to_tensor

EDIT = {"Smiling": 2.0}


@pytest.fixture(scope="module")
def editor(tiny_model_folder: Path) -> Editor:
    return Editor.from_pretrained(tiny_model_folder, device="cpu")


@pytest.fixture(scope="module")
def face(editor: Editor, astronaut: Image.Image) -> Face:
    return editor.open(astronaut)


@pytest.fixture(scope="module")
def pair(editor: Editor, astronaut: Image.Image) -> Face:
    """The larger of two faces: the astronaut twice, the one at the right smaller."""
    photo = Image.new("RGB", (900, 512), "grey")
    photo.paste(astronaut, (0, 0))
    photo.paste(astronaut.resize((380, 380)), (516, 0))
    return editor.open(photo)


# Opening


def test_a_photo_opens_with_everything_an_edit_needs(editor: Editor, face: Face) -> None:
    assert face.latent.shape == editor.fader.latent_shape
    assert face.aligned.size == (64, 64)
    assert face.photo.size == (512, 512)
    assert face.index == 0
    assert set(face.values) == set(editor.schema.names)
    for name, value in face.values.items():
        assert editor.schema[name].clamp(value) == value
    left, top, right, bottom = face.boxes[0]
    assert left < 225 < right
    assert top < 115 < bottom


def test_a_photo_may_be_a_path_or_an_array(
    editor: Editor, face: Face, astronaut: Image.Image, tmp_path: Path
) -> None:
    astronaut.save(tmp_path / "photo.png")
    for photo in (tmp_path / "photo.png", np.array(astronaut)):
        again = editor.open(photo)
        torch.testing.assert_close(again.latent, face.latent)
        assert again.values == pytest.approx(face.values)


def test_a_latent_is_fitted_to_its_photo(editor: Editor, face: Face) -> None:
    photo, values = to_tensor(face.aligned), editor.schema.table(face.values)
    with torch.inference_mode():
        encoded = editor.fader.encode(photo, values)
        fitted, plain = (
            (editor.fader.decode(latent, values) - photo).square().mean()
            for latent in (face.latent[None], encoded)
        )
    assert fitted < plain


def test_a_photo_without_a_face_says_so(editor: Editor) -> None:
    with pytest.raises(NoFaceError, match="face"):
        editor.open(Image.new("RGB", (200, 200), "white"))


def test_what_is_no_photo_says_so(editor: Editor, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"not a photo")
    with pytest.raises(UnreadableImageError):
        editor.open(tmp_path / "photo.jpg")


def test_the_largest_face_comes_first_and_another_can_be_chosen(editor: Editor, pair: Face) -> None:
    assert len(pair.found) == 2
    assert pair.boxes[0][0] < 512 < pair.boxes[1][0]
    second = editor.open(pair.photo, face=1)
    assert second.index == 1
    torch.testing.assert_close(editor.choose(pair, 1).latent, second.latent)


def test_choosing_does_not_search_the_photo_again(
    editor: Editor, pair: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editor.aligner, "detect", None)
    assert editor.choose(pair, 1).found is pair.found
    assert editor.choose(pair, 0) is pair


@pytest.mark.parametrize("index", [-1, 2, 99])
def test_a_face_that_is_not_there(editor: Editor, pair: Face, index: int) -> None:
    with pytest.raises(IndexError, match="shows 2"):
        editor.choose(pair, index)


# No edit, no change


def _unchanged(face: Face) -> list[dict[str, float]]:
    one_named = [{name: value} for name, value in face.values.items()]
    return [{}, face.values, *one_named]


def test_no_edit_gives_the_photo_back_pixel_for_pixel(editor: Editor, face: Face) -> None:
    for values in _unchanged(face):
        assert _equal(editor.paste(face, values), face.photo)
        assert _equal(editor.render(face, values), face.aligned)
        assert _equal(editor.render(face, values, size=200), face.aligned_at(200))


def test_no_edit_in_a_strip_is_the_aligned_face(editor: Editor, face: Face) -> None:
    strip = editor.strip(face, "Smiling", [2.0, face.values["Smiling"]], size=64)
    assert _equal(strip.crop((64, 0, 128, 64)), face.aligned)


def test_what_comes_back_is_not_the_photo_that_is_kept(editor: Editor, face: Face) -> None:
    before = np.array(face.photo)
    for image in (editor.paste(face, {}), editor.paste(face, {}, max_side=64)):
        image.paste("red", (0, 0, 64, 64))
    editor.render(face, {}).paste("red", (0, 0, 64, 64))
    assert _equal(face.photo, before)
    assert not _equal(face.aligned, Image.new("RGB", (64, 64), "red"))


# Edits


@pytest.mark.parametrize(
    "values", [{"Smiling": 2}, {"Eyeglasses": -0.5}, {"Age": 90}, {"Hair": "brown"}, {"Hair": 0}]
)
def test_every_slider_changes_the_face(editor: Editor, face: Face, values: dict[str, Any]) -> None:
    assert _difference(editor.render(face, values), face.aligned).mean() > 2


def test_all_detail_is_the_photo_plus_what_two_decodes_differ_by(
    editor: Editor, face: Face
) -> None:
    edited = np.asarray(editor.reconstruct(face, EDIT), dtype=float)
    unedited = np.asarray(editor.reconstruct(face), dtype=float)
    expected = np.clip(np.asarray(face.aligned) + edited - unedited, 0, 255)
    assert np.abs(np.asarray(editor.render(face, EDIT, detail=1)) - expected).max() <= 1.5


def test_no_detail_is_what_the_decoder_draws(editor: Editor, face: Face) -> None:
    drawn = editor.reconstruct(face, EDIT)
    assert _difference(editor.render(face, EDIT, detail=0), drawn).max() <= 1
    pasted = editor.paste(face, EDIT, detail=0)
    centre = face.alignment.corners.mean(axis=0)
    middle = tuple(int(c) for c in (*(centre - 8), *(centre + 8)))
    assert _difference(pasted.crop(middle), face.photo.crop(middle)).mean() > 2


def test_detail_goes_from_the_decoder_to_the_photo_in_small_steps(
    editor: Editor, face: Face
) -> None:
    pictures = [editor.render(face, EDIT, detail=d) for d in np.linspace(0, 1, 11)]
    steps = [_difference(a, b).mean() for a, b in pairwise(pictures)]
    assert max(steps) < 0.5 * _difference(pictures[0], pictures[-1]).mean()


@pytest.mark.parametrize("detail", [-0.1, 1.1, math.nan])
def test_detail_has_its_limits(editor: Editor, face: Face, detail: float) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        editor.render(face, EDIT, detail=detail)


def test_pasting_changes_the_face_and_nothing_else(editor: Editor, face: Face) -> None:
    changed = _difference(editor.paste(face, EDIT), face.photo).max(axis=2)
    corners = face.alignment.corners
    left, top = np.floor(corners.min(axis=0)).astype(int).clip(0)
    right, bottom = np.ceil(corners.max(axis=0)).astype(int)
    assert changed[top:bottom, left:right].mean() > 2
    changed[top:bottom, left:right] = 0
    assert not changed.any()


def test_a_larger_rendering_shows_the_same_edit(editor: Editor, face: Face) -> None:
    large = editor.render(face, EDIT, size=256)
    assert large.size == (256, 256)
    smaller = large.resize((64, 64), Image.Resampling.BOX)
    missed = _difference(smaller, editor.render(face, EDIT)).mean()
    assert missed < 0.5 * _difference(smaller, face.aligned).mean()


def test_a_preview_is_the_pasted_photo_in_small(editor: Editor, face: Face) -> None:
    preview = editor.paste(face, EDIT, max_side=256)
    whole = editor.paste(face, EDIT).resize((256, 256), Image.Resampling.LANCZOS)
    assert preview.size == (256, 256)
    assert _difference(preview, whole).mean() < 1
    assert editor.paste(face, EDIT, max_side=2000).size == face.photo.size


def test_a_preview_keeps_the_photos_shape(editor: Editor, pair: Face) -> None:
    assert editor.paste(pair, EDIT, max_side=450).size == (450, 256)
    assert _equal(editor.paste(pair, {}, max_side=450), pair.photo_at(450))


def test_the_photo_is_resized_once_for_all_previews(face: Face) -> None:
    assert face.photo_at(100) is face.photo_at(100)
    assert face.aligned_at(100) is face.aligned_at(100)
    assert face.photo_at(512) is face.photo


# Values


def test_values_stop_at_the_sliders_ends(editor: Editor, face: Face) -> None:
    assert _equal(editor.render(face, {"Smiling": 1e6}), editor.render(face, {"Smiling": 2}))
    assert _equal(editor.paste(face, {"Age": -1e6}), editor.paste(face, {"Age": 0}))


@pytest.mark.parametrize(
    "values", [{"Smile": 1}, {"Smiling": math.nan}, {"Smiling": "1"}, {"Hair": "green"}]
)
def test_values_that_make_no_sense_are_refused(
    editor: Editor, face: Face, values: dict[str, Any]
) -> None:
    name = next(iter(values))
    for draw in (editor.render, editor.paste, editor.reconstruct):
        with pytest.raises(SchemaError, match=name):
            draw(face, values)
    with pytest.raises(SchemaError, match=name):
        editor.strip(face, name, [values[name]])


# Strips


def test_a_strip_shows_each_strength_and_its_label(editor: Editor, face: Face) -> None:
    strengths = [-1, 0.5, 2]
    strip = editor.strip(face, "Smiling", strengths, size=128)
    assert strip.width == 3 * 128
    for i, strength in enumerate(strengths):
        picture = strip.crop((i * 128, 0, (i + 1) * 128, 128))
        rendered = editor.render(face, {"Smiling": strength}, size=128)
        assert _difference(picture, rendered).max() <= 2
        label = np.asarray(strip.crop((i * 128, 128, (i + 1) * 128, strip.height)))
        assert label.min() < 80 < 250 < label.max()


def test_labels_tell_the_strengths_apart(editor: Editor, face: Face) -> None:
    labels = [
        np.asarray(editor.strip(face, "Age", [age], size=128).crop((0, 128, 128, 140)))
        for age in (20, 70)
    ]
    assert not np.array_equal(labels[0], labels[1])


def test_a_strip_follows_the_other_sliders(editor: Editor, face: Face) -> None:
    strip = editor.strip(face, "Smiling", [2], {"Age": 90, "Smiling": 0}, size=64)
    rendered = editor.render(face, {"Smiling": 2, "Age": 90})
    assert _difference(strip.crop((0, 0, 64, 64)), rendered).max() <= 2


def test_a_strip_of_nothing_is_refused(editor: Editor, face: Face) -> None:
    with pytest.raises(ValueError, match="at least one strength"):
        editor.strip(face, "Smiling", [])


# Grids


def test_a_grid_shows_every_pair_of_strengths(editor: Editor, face: Face) -> None:
    ages, hairs = [20, 80], ["black", "blond", "brown"]
    grid = editor.grid(face, "Age", ages, "Hair", hairs, {"Smiling": 2, "Age": 5}, size=64)
    left, top = grid.width - 3 * 64, grid.height - 2 * 64
    for y, age in enumerate(ages):
        for x, hair in enumerate(hairs):
            corner = left + 64 * x, top + 64 * y
            shown = grid.crop((*corner, corner[0] + 64, corner[1] + 64))
            rendered = editor.render(face, {"Smiling": 2, "Age": age, "Hair": hair})
            assert _difference(shown, rendered).max() <= 2
    for labels in (grid.crop((left, 0, grid.width, top)), grid.crop((0, top, left, grid.height))):
        assert np.asarray(labels).min() < 80


def test_a_large_grid_is_decoded_in_a_few_passes(editor: Editor, face: Face) -> None:
    with _decodes(editor) as decoded:
        editor.grid(face, "Smiling", np.linspace(-1, 2, 8), "Age", range(0, 90, 10), size=64)
    assert list(decoded) == [32, 32, 8]


def test_a_grid_of_one_attribute_or_of_nothing_is_refused(editor: Editor, face: Face) -> None:
    with pytest.raises(ValueError, match="not Age twice"):
        editor.grid(face, "Age", [20], "Age", [40])
    with pytest.raises(ValueError, match="at least one strength"):
        editor.grid(face, "Age", [20], "Smiling", [])
    with pytest.raises(SchemaError, match="Wings"):
        editor.grid(face, "Age", [20], "Wings", [1])


# Sweeps


def test_a_sweep_moves_evenly_through_its_stops(editor: Editor, face: Face) -> None:
    stops: list[dict[str, Any]] = [
        {"Age": 10, "Hair": "black"},
        {"Age": 50, "Hair": "brown"},
        {"Age": 30, "Smiling": 2, "Hair": "brown"},
    ]
    start = face.values["Smiling"]
    expected = [
        {"Age": 10, "Hair": "black"},
        {"Age": 20, "Hair": "black"},
        {"Age": 30, "Hair": "brown"},
        {"Age": 40, "Hair": "brown"},
        {"Age": 50, "Hair": "brown"},
        {"Age": 45, "Hair": "brown", "Smiling": start + (2 - start) / 4},
        {"Age": 40, "Hair": "brown", "Smiling": start + (2 - start) / 2},
        {"Age": 35, "Hair": "brown", "Smiling": start + (2 - start) * 3 / 4},
        {"Age": 30, "Hair": "brown", "Smiling": 2},
    ]
    frames = list(editor.sweep(face, stops, len(expected), max_side=200, detail=0.25))
    assert len(frames) == len(expected)
    for frame, values in zip(frames, expected, strict=True):
        pasted = editor.paste(face, values, max_side=200, detail=0.25)
        assert _difference(frame, pasted).max() <= 2


def test_a_sweep_from_the_photo_starts_with_the_photo_itself(editor: Editor, face: Face) -> None:
    first, *_, last = editor.sweep(face, [{}, EDIT, {}], 5)
    assert _equal(first, face.photo)
    assert _equal(last, face.photo)


def test_a_sweep_is_drawn_as_it_is_looked_at(editor: Editor, face: Face) -> None:
    with _decodes(editor) as decoded:
        frames = editor.sweep(face, [{"Age": 0}, {"Age": 90}], 1000, max_side=64)
        assert len(decoded) == 0
        next(frames)
        assert len(decoded) == 1
        assert max(decoded) <= 8


def test_a_sweep_that_makes_no_sense_is_refused_at_once(editor: Editor, face: Face) -> None:
    for stops, frames in (([EDIT], 5), ([], 5), ([{}, EDIT], 1)):
        with pytest.raises(ValueError, match="two stops and two frames"):
            editor.sweep(face, stops, frames)
    with pytest.raises(SchemaError, match="Wings"):
        editor.sweep(face, [{}, {"Wings": 1}], 5)
    with pytest.raises(ValueError, match="0 to 1"):
        editor.sweep(face, [{}, EDIT], 5, detail=2)


# Colours, and several faces


def test_a_face_knows_the_profile_of_its_file_and_its_pictures_do_not(
    editor: Editor, astronaut: Image.Image
) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tagged = astronaut.copy()
    tagged.info["icc_profile"] = profile
    face = editor.open(tagged)
    assert face.profile == profile
    for values in ({}, EDIT):
        for picture in (
            editor.paste(face, values),
            editor.paste(face, values, max_side=100),
            editor.render(face, values),
        ):
            assert picture.info == {}
    assert editor.open(astronaut).profile is None


def test_an_edited_photo_takes_the_edit_of_another_face(editor: Editor, pair: Face) -> None:
    second = editor.choose(pair, 1)
    both = editor.paste(second.on(editor.paste(pair, EDIT)), EDIT)
    for face in (pair, second):
        left, top, right, bottom = map(int, face.boxes[face.index])
        box = (left, max(top, 0), right, bottom)
        assert _equal(both.crop(box), editor.paste(face, EDIT).crop(box))


# What an edit costs, and who may share an editor


def test_a_photo_is_encoded_once_and_a_slider_move_decodes_once(
    editor: Editor, astronaut: Image.Image
) -> None:
    with _calls(editor.fader.encoder) as encoded, _calls(editor.estimator) as estimated:
        face = editor.open(astronaut)
        with _decodes(editor) as decoded:
            for strength in np.linspace(-1, 2, 100):
                editor.render(face, {"Smiling": strength})
            assert len(decoded) == 100
            editor.strip(face, "Smiling", [-1, 0, 1, 2], size=64)
            assert len(decoded) == 101
            editor.paste(face, EDIT)
            editor.paste(face, {})
            assert len(decoded) == 102
    assert len(encoded) == len(estimated) == 1


def test_several_faces_are_pasted_by_one_pass_of_the_decoder(
    editor: Editor, face: Face, pair: Face
) -> None:
    edits = [Edit(face, EDIT), Edit(pair, {"Age": 80}, 0.1), Edit(face, {}), Edit(face, {"Age": 9})]
    with _decodes(editor) as decoded:
        together = list(editor.paste_all(edits, max_side=200))
    assert len(decoded) == 1
    for edit, picture in zip(edits, together, strict=True):
        alone = editor.paste(edit.face, edit.values, 200, edit.detail)
        assert _difference(picture, alone).max() <= 1
    with pytest.raises(SchemaError, match="Nose"):
        editor.paste_all([Edit(face, EDIT), Edit(face, {"Nose": 1})])


def test_the_decoder_draws_what_the_model_draws(editor: Editor, face: Face) -> None:
    values = face.values | {"Smiling": 2.0, "Hair": 1.0}
    with torch.inference_mode():
        drawn = editor.fader.decode(face.latent[None], editor.schema.table(values))[0]
    expected = (drawn + 1).permute(1, 2, 0).numpy() * 127.5
    assert _difference(editor.reconstruct(face, values), expected).max() < 0.51


def test_nothing_is_kept_for_gradients(editor: Editor, face: Face) -> None:
    assert not face.latent.requires_grad
    assert not any(module.training for module in editor.fader.modules())
    assert not any(module.training for module in editor.estimator.modules())


def test_threads_share_an_editor_without_mixing_faces(editor: Editor, pair: Face) -> None:
    both = [pair, editor.choose(pair, 1)]
    jobs = [(face, {"Smiling": s}) for s in np.linspace(-1, 2, 12) for face in both]
    alone = [editor.render(face, values) for face, values in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda job: editor.render(*job), jobs))
    assert all(_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_the_package_offers_what_it_lists() -> None:
    assert all(getattr(fader_demo, name) for name in fader_demo.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = fader_demo.nothing


Pixels = Image.Image | NDArray[Any]


def _difference(a: Pixels, b: Pixels) -> NDArray[np.float64]:
    return np.abs(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64))


def _equal(a: Pixels, b: Pixels) -> bool:
    return np.array_equal(np.asarray(a), np.asarray(b))


@contextmanager
def _calls(module: nn.Module) -> Iterator[Sequence[int]]:
    """The batch size of each call of a module, while this lasts."""
    batches: list[int] = []
    hook = module.register_forward_hook(
        lambda _module, inputs, _out: batches.append(len(inputs[0]))
    )
    try:
        yield batches
    finally:
        hook.remove()


@contextmanager
def _decodes(editor: Editor) -> Iterator[Sequence[int]]:
    """The number of faces in each decode, while this lasts; the plain decoder must not run."""
    batches: list[int] = []
    decode = editor.decoder.decode

    def counted(prepared: Tensor, values: Tensor) -> Tensor:
        batches.append(len(values))
        return decode(prepared, values)

    with patch.object(editor.decoder, "decode", counted), _calls(editor.fader.decoder) as plain:
        yield batches
    assert not plain
