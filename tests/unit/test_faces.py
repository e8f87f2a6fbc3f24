"""A face is found, framed always alike, and an edit of it comes back to its place in the photo."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from fader_demo import faces
from fader_demo.faces import (
    TEMPLATE,
    Alignment,
    Detection,
    FaceAligner,
    NoFaceError,
    crop,
    fit_alignment,
    fit_similarity,
    paste,
    transform_points,
)
from fader_demo.photos import PhotoError, read_photo

SIZE = 128


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Several threads on a busy machine make small networks slower, not faster."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def aligner() -> FaceAligner:
    return FaceAligner(SIZE)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """512 x 512; one face of about 90 x 110 pixels around (222, 117)."""
    return Image.fromarray(astronaut())


@pytest.fixture(scope="module")
def aligned(aligner: FaceAligner, photo: Image.Image) -> np.ndarray:
    return align_largest(aligner, photo)


def align_largest(aligner: FaceAligner, photo: Image.Image) -> np.ndarray:
    image, _ = aligner.align(photo, aligner.detect(photo)[0])
    assert image.mode == "RGB"
    assert image.size == (SIZE, SIZE)
    return np.asarray(image).astype(float)


def similarity(scale: float, degrees: float, x: float, y: float, size: int = SIZE) -> Alignment:
    angle = np.deg2rad(degrees)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return Alignment(np.array([[cos, -sin, x], [sin, cos, y]]), size)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(60, 196, (height, width, 3)).astype(np.uint8)


def displacement(face: Detection, reference: Detection, to_reference: np.ndarray) -> float:
    """By how many aligned pixels two framings of one face differ; `to_reference` (2, 3) takes
    points of the first photo to the second."""
    template = np.array(list(TEMPLATE.values())) * SIZE
    framed = transform_points(fit_alignment(face.landmarks, SIZE).matrix, template)
    back = fit_alignment(reference.landmarks, SIZE).inverse
    there = transform_points(back, transform_points(to_reference, framed))
    return float(np.abs(there - template).max())


def shift(x: float, y: float, scale: float = 1.0) -> np.ndarray:
    return np.array([[scale, 0, x], [0, scale, y]])


def middle(image: np.ndarray) -> np.ndarray:
    """The face proper, without hair and background."""
    return image[SIZE // 4 : -SIZE // 8, SIZE // 4 : -SIZE // 4]


# Geometry


def test_a_known_similarity_is_recovered() -> None:
    points = np.random.default_rng(0).normal(size=(4, 2)) * 50
    matrix = similarity(2.5, 33, -7, 12).matrix
    assert np.allclose(fit_similarity(points, transform_points(matrix, points)), matrix)


def test_the_fit_is_the_least_squares_one() -> None:
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(4, 2)), rng.normal(size=(4, 2))

    def error(a: float, b: float, x: float, y: float) -> float:
        matrix = np.array([[a, -b, x], [b, a, y]])
        return float(((transform_points(matrix, source) - target) ** 2).sum())

    fitted = fit_similarity(source, target)
    best = np.array([fitted[0, 0], fitted[1, 0], fitted[0, 2], fitted[1, 2]])
    for step in np.vstack([np.eye(4), -np.eye(4)]) * 1e-3:
        assert error(*(best + step)) > error(*best)


def test_alignment_is_not_mirrored_for_mirrored_landmarks() -> None:
    landmarks = np.array([[60, 40], [40, 40], [50, 50], [58, 60], [42, 60]], float)
    assert np.linalg.det(fit_alignment(landmarks, SIZE).matrix[:, :2]) > 0


def test_landmarks_land_on_the_template_whatever_the_nose_does() -> None:
    place = similarity(3, -20, 100, 50)
    on_template = np.array(list(TEMPLATE.values())) * SIZE
    left, right, mouth_left, mouth_right = transform_points(place.matrix, on_template)
    for nose in [(0.0, 0.0), (500.0, 10.0)]:
        landmarks = np.array([left, right, nose, mouth_left, mouth_right])
        assert np.allclose(fit_alignment(landmarks, SIZE).matrix, place.matrix)


def test_coinciding_landmarks_frame_no_face() -> None:
    with pytest.raises(NoFaceError):
        fit_alignment(np.ones((5, 2)), SIZE)


def test_alignment_scales_with_the_photo_and_with_the_crop() -> None:
    alignment = similarity(3, 25, 40, 60)
    point = [(17.0, 90.0)]
    in_photo = transform_points(alignment.matrix, point)
    assert alignment.scale == pytest.approx(3)
    assert np.allclose(transform_points(alignment.inverse, in_photo), point)
    assert np.allclose(transform_points(alignment.scaled(0.5).matrix, point), in_photo / 2)
    double = alignment.resized(2 * SIZE)
    assert np.allclose(transform_points(double.matrix, np.array(point) * 2), in_photo)
    assert np.allclose(double.corners, alignment.corners)


# Detection


def test_the_face_is_found_with_its_landmarks(aligner: FaceAligner, photo: Image.Image) -> None:
    (face,) = aligner.detect(photo)
    left, top, right, bottom = face.box
    eye_left, eye_right, nose, mouth_left, mouth_right = face.landmarks
    assert 160 < left < 200 and 250 < right < 290 and 40 < top < 80 and 160 < bottom < 190
    assert face.landmarks.dtype == np.float64
    assert face.confidence > 0.95
    assert left < eye_left[0] < nose[0] < eye_right[0] < right
    assert eye_left[1] < nose[1] < mouth_left[1]
    assert mouth_left[0] < mouth_right[0]


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0, 4.0])
def test_framing_does_not_depend_on_the_resolution(
    aligner: FaceAligner, photo: Image.Image, factor: float
) -> None:
    side = round(512 * factor)
    face = aligner.detect(photo.resize((side, side), Image.Resampling.LANCZOS))[0]
    jitter = displacement(face, aligner.detect(photo)[0], shift(0, 0, 1 / factor))
    assert jitter < (3 if factor < 0.5 else 1.5)  # at 0.25 the face is 22 pixels wide


@pytest.mark.parametrize(
    "box", [(100, 0, 350, 250), (150, 30, 300, 200), (175, 55, 330, 215), (185, 80, 262, 165)]
)
def test_framing_does_not_depend_on_what_is_around_the_face(
    aligner: FaceAligner, photo: Image.Image, box: tuple[int, int, int, int]
) -> None:
    face = aligner.detect(photo.crop(box))[0]
    assert displacement(face, aligner.detect(photo)[0], shift(box[0], box[1])) < 1.5


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_photo_on_its_side_is_understood(
    aligner: FaceAligner, photo: Image.Image, turns: int
) -> None:
    upright = photo.crop((80, 10, 380, 260))  # not square, lest width and height be mixed up
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(np.asarray(upright), turns)))
    width, height = upright.size
    back = {
        1: np.array([[0, -1, width], [1, 0, 0]]),
        2: np.array([[-1, 0, width], [0, -1, height]]),
        3: np.array([[0, 1, 0], [-1, 0, height]]),
    }[turns]
    found, reference = aligner.detect(turned)[0], aligner.detect(upright)[0]
    assert displacement(found, reference, back.astype(float)) < 1
    corners = transform_points(back.astype(float), np.array(found.box).reshape(2, 2))
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    assert np.abs(box - reference.box).max() < 5


def test_several_faces_come_largest_first(aligner: FaceAligner, photo: Image.Image) -> None:
    head = photo.crop((100, 0, 350, 250))
    group = Image.new("RGB", (1200, 700), (90, 120, 90))
    group.paste(head.resize((300, 300)), (20, 200))
    group.paste(head.resize((600, 600)), (350, 50))
    group.paste(head.resize((200, 200)), (980, 250))
    found = aligner.detect(group)
    assert [round(face.center[0], -2) for face in found] == [600, 200, 1100]
    assert found[0].area > 2 * found[1].area > 2 * found[2].area


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (300, 300), (128, 128, 128)),
        Image.new("RGB", (40, 40)),
        Image.new("RGB", (16, 16)),
        Image.new("RGB", (4000, 40)),
        Image.fromarray(noise(200, 300)),
    ],
    ids=["plain", "least", "below the least", "strip", "noise"],
)
def test_no_face_is_an_empty_list(aligner: FaceAligner, image: Image.Image) -> None:
    assert aligner.detect(image) == []


def test_a_body_without_a_head_is_no_face(aligner: FaceAligner, photo: Image.Image) -> None:
    assert aligner.detect(photo.crop((0, 250, 250, 512))) == []


def test_no_face_error_tells_the_visitor_what_to_do() -> None:
    assert issubclass(NoFaceError, PhotoError)
    assert "Use a photo" in str(NoFaceError())


def test_threads_do_not_disturb_each_other(aligner: FaceAligner, photo: Image.Image) -> None:
    photos = [photo, photo.resize((200, 200)), photo.crop((100, 0, 350, 250)), photo] * 2
    alone = [aligner.detect(p)[0].landmarks for p in photos]
    with ThreadPoolExecutor(4) as pool:
        together = [found[0].landmarks for found in pool.map(aligner.detect, photos)]
    for one, other in zip(alone, together, strict=True):
        assert np.allclose(one, other, atol=1e-2)


# Framing


def test_eyes_and_mouth_are_where_the_template_says(photo: Image.Image) -> None:
    side = 256
    large = FaceAligner(side)
    image, _ = large.align(photo, large.detect(photo)[0])
    landmarks = large.detect(image)[0].landmarks[[0, 1, 3, 4]]
    assert np.abs(landmarks / side - list(TEMPLATE.values())).max() < 0.04


def test_the_middle_of_the_crop_comes_from_its_middle_in_the_photo() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    image[100:, 100:] = 255
    result = np.asarray(crop(Image.fromarray(image), similarity(1, 0, 36, 36)))
    assert (result == image[36:164, 36:164]).all()  # a whole-pixel shift changes no pixel


@pytest.mark.parametrize("degrees", [-25, 12, 30])
def test_a_turned_photo_gives_the_same_face(
    aligner: FaceAligner, photo: Image.Image, aligned: np.ndarray, degrees: float
) -> None:
    turned = photo.rotate(degrees, Image.Resampling.BICUBIC, center=(222, 117))
    result = align_largest(aligner, turned)
    unaligned = np.asarray(Image.fromarray(aligned.astype(np.uint8)).rotate(degrees), dtype=float)
    difference = np.abs(middle(result) - middle(aligned)).mean()
    assert difference < 18
    assert difference < 0.5 * np.abs(middle(unaligned) - middle(aligned)).mean()


def test_a_photo_turned_by_exif_or_stored_otherwise_gives_the_same_face(
    aligner: FaceAligner, photo: Image.Image, aligned: np.ndarray, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    photo.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    photo.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    deep = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    grey = aligned.mean(axis=2, keepdims=True).repeat(3, axis=2)
    for path in sorted(tmp_path.iterdir()):
        expected = grey if path.stem == "deep" else aligned
        result = align_largest(aligner, read_photo(path))
        assert np.abs(middle(result) - middle(expected)).mean() < 9, path.name


def test_a_face_near_the_edge_is_framed_alike(
    aligner: FaceAligner, photo: Image.Image, aligned: np.ndarray
) -> None:
    near = photo.crop((175, 55, 330, 215))
    image, alignment = aligner.align(near, aligner.detect(near)[0])
    assert alignment.corners.min() < -10  # the crop does reach beyond the photo
    assert np.abs(middle(np.asarray(image, float)) - middle(aligned)).mean() < 12
    assert (np.asarray(image).max(axis=2) > 0).mean() > 0.99  # no black border


def test_beyond_the_edge_the_photo_is_mirrored() -> None:
    image = noise(100, 100)
    result = np.asarray(crop(Image.fromarray(image), similarity(1, 0, -14, -14)))
    assert (result == np.pad(image, ((14, 14), (14, 14), (0, 0)), mode="symmetric")).all()


def test_a_crop_much_larger_than_the_photo_is_mirrored_again_and_again() -> None:
    image = noise(10, 20)
    result = np.asarray(crop(Image.fromarray(image), similarity(1, 0, -60, -55)))
    expected = np.pad(image, ((55, 63), (60, 48), (0, 0)), mode="symmetric")
    assert (result == expected).all()


@pytest.mark.parametrize("scale", [1.7, 5, 15.6])
def test_fine_texture_does_not_alias(scale: float) -> None:
    board = (np.indices((2400, 2400)).sum(axis=0) % 2 * 255).astype(np.uint8)
    photo = Image.fromarray(np.repeat(board[:, :, None], 3, axis=2))
    result = np.asarray(crop(photo, similarity(scale, 8, 200, 150)), float)
    assert result.std() < 3
    assert result.mean() == pytest.approx(127.5, abs=2)


def test_reduction_keeps_what_the_crop_can_show() -> None:
    x = np.arange(2000)
    wave = 127.5 + 100 * np.sin(2 * np.pi * x / 80)  # 8 pixels a period in the crop
    photo = Image.fromarray(np.broadcast_to(wave[None, :, None], (2000, 2000, 3)).astype(np.uint8))
    result = np.asarray(crop(photo, similarity(10, 0, 300, 300)), float)[64, :, 0]
    expected = 127.5 + 100 * np.sin(2 * np.pi * (300 + 10 * (np.arange(SIZE) + 0.5)) / 80)
    assert np.abs(result - expected).mean() < 8


@pytest.mark.parametrize(
    "alignment",
    [
        similarity(6, 0, 700, 200, 64),
        similarity(10, 30, -100, -250, 64),
        similarity(5, -120, 700, 900, 64),
        similarity(40, 0, -700, -800, 64),
    ],
    ids=["within", "beyond a corner", "turned", "larger than the photo"],
)
def test_reducing_only_what_the_crop_shows_changes_nothing(
    photo: Image.Image, alignment: Alignment
) -> None:
    large = photo.resize((1500, 1200), Image.Resampling.BICUBIC)
    by = alignment.scale / 2
    size = (round(1500 / by), round(1200 / by))
    reduced = large.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    # Hardly less than the whole, lest rounding make it more, which is drawn twice as large.
    double = alignment.resized(2 * alignment.size).scaled((1 - 1e-9) / by)
    expected = crop(reduced, double).resize((64, 64), Image.Resampling.BICUBIC)
    difference = np.asarray(crop(large, alignment), int) - np.asarray(expected, int)
    assert np.abs(difference).max() <= 2  # Pillow's bicubic sampling cuts off fractions of a level


def test_enlarging_is_smooth() -> None:
    step = np.zeros((40, 40, 3), np.uint8)
    step[:, 20:] = 200
    row = np.asarray(crop(Image.fromarray(step), similarity(0.2, 0, 7, 7)), int)[64, :, 0]
    assert np.abs(np.diff(row)).max() < 80  # nearest-neighbour sampling would jump by 200


def test_size_must_be_sensible() -> None:
    with pytest.raises(ValueError, match="size"):
        FaceAligner(0)


# The way back


TURNED = similarity(4, 30, 500, 200)


def blob(x: float, y: float, height: float = 40.0, width: float = 5.0) -> np.ndarray:
    centres = np.arange(SIZE) + 0.5
    bump = np.exp(-((centres[None] - x) ** 2 + (centres[:, None] - y) ** 2) / (2 * width**2))
    return np.repeat((height * bump)[:, :, None], 3, axis=2).astype(np.float32)


KEPT = np.ones((SIZE, SIZE), np.float32)


def added(photo: np.ndarray, drawn: np.ndarray, alignment: Alignment) -> np.ndarray:
    return paste(photo, KEPT, drawn, alignment).astype(float) - photo


def test_no_difference_gives_the_photo_back_pixel_for_pixel() -> None:
    photo = noise(700, 900)
    result = paste(photo, KEPT, np.zeros((SIZE, SIZE, 3), np.float32), TURNED)
    assert (result == photo).all()
    assert result is not photo


@pytest.mark.parametrize(
    "alignment",
    [TURNED, similarity(1, 0, 30, 20), similarity(0.4, -15, 60, 80), similarity(2.3, 90, 400, 30)],
    ids=["large and turned", "same size", "small", "lying"],
)
def test_an_edit_comes_back_to_its_place(alignment: Alignment) -> None:
    photo = np.full((900, 900, 3), 100, np.uint8)
    change = added(photo, blob(40.5, 90.5), alignment).sum(axis=2)
    y, x = np.mgrid[:900, :900] + 0.5
    found = np.array([(x * change).sum(), (y * change).sum()]) / change.sum()
    expected = transform_points(alignment.matrix, [(40.5, 90.5)])[0]
    assert np.abs(found - expected).max() < 0.15
    assert change.max() / 3 == pytest.approx(40, abs=3)


@pytest.mark.parametrize("scale", [1.0, 3.0, 0.5])
def test_align_after_paste_shows_the_edit(scale: float) -> None:
    alignment = similarity(scale, 20, 200, 150)
    photo = np.full((800, 800, 3), 100, np.uint8)
    delta = blob(60, 70, width=8)
    pasted = Image.fromarray(paste(photo, KEPT, delta, alignment))
    shown = np.asarray(crop(pasted, alignment), float) - 100
    assert np.abs(shown - delta).max() < 3


def test_nothing_outside_the_crop_changes() -> None:
    photo = noise(900, 1000)
    changed = (paste(photo, KEPT, np.full((SIZE, SIZE, 3), 50.0), TURNED) != photo).any(axis=2)
    y, x = np.nonzero(changed)
    inside = transform_points(TURNED.inverse, np.stack([x + 0.5, y + 0.5], axis=1))
    assert changed.any()
    assert inside.min() > 0 and inside.max() < SIZE


def test_an_edit_fades_out_without_a_seam() -> None:
    photo = np.full((900, 1000, 3), 100, np.uint8)
    change = added(photo, np.full((SIZE, SIZE, 3), 80.0), TURNED)[:, :, 0]
    assert change.max() == 80
    assert np.abs(np.diff(change, axis=0)).max() <= 3
    assert np.abs(np.diff(change, axis=1)).max() <= 3


def test_pores_survive_an_edit() -> None:
    photo = noise(900, 1000)  # every pixel a pore
    change = added(photo, blob(64, 64, height=30, width=20), TURNED)
    fine = np.abs(np.diff(change, n=2, axis=1)).mean()
    assert np.abs(change).max() > 25
    assert fine < 1  # rounding, against more than 60 in the photo itself
    assert np.abs(np.diff(photo.astype(float), n=2, axis=1)).mean() > 60


def test_an_enlarged_edit_is_smooth() -> None:
    photo = np.full((2400, 2400, 3), 100, np.uint8)
    alignment = similarity(16, 0, 100, 100)
    delta = np.zeros((SIZE, SIZE, 3), np.float32)
    delta[:, 64:] = 100
    change = added(photo, delta, alignment)[1100, :, 0]
    assert np.abs(np.diff(change)).max() <= 10  # 16 pixels wide, no step of 100
    assert (change[800:1000] == 0).all()


def test_a_reduced_edit_does_not_alias() -> None:
    photo = np.full((200, 200, 3), 100, np.uint8)
    board = np.repeat((np.indices((SIZE, SIZE)).sum(axis=0) % 2 * 100.0 - 50)[:, :, None], 3, 2)
    assert np.abs(added(photo, board, similarity(0.3, 10, 80, 80))).max() <= 2


def test_levels_are_clipped_not_wrapped() -> None:
    photo = np.full((300, 300, 3), 250, np.uint8)
    alignment = similarity(1, 0, 50, 50)
    assert paste(photo, KEPT, np.full((SIZE, SIZE, 3), 100.0), alignment).max() == 255
    assert paste(photo, KEPT, np.full((SIZE, SIZE, 3), -400.0), alignment).min() == 0


@pytest.mark.parametrize(("x", "y"), [(-60, -60), (250, 250), (-500, 20)])
def test_a_crop_that_leaves_the_photo_is_pasted_as_far_as_it_goes(x: float, y: float) -> None:
    photo = np.full((300, 300, 3), 100, np.uint8)
    alignment = similarity(1, 0, x, y)
    result = paste(photo, KEPT, np.full((SIZE, SIZE, 3), 40.0), alignment)
    assert result.shape == photo.shape
    wide = np.full((1300, 1300, 3), 100, np.uint8)
    wider = paste(wide, KEPT, np.full((SIZE, SIZE, 3), 40.0), similarity(1, 0, x + 500, y + 500))
    assert (result == wider[500:800, 500:800]).all()


def test_working_in_bands_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = noise(700, 900)
    whole = paste(photo, KEPT, blob(50, 60), TURNED)
    monkeypatch.setattr(faces, "_BAND", 5000)
    assert (paste(photo, KEPT, blob(50, 60), TURNED) == whole).all()


def test_arrays_and_tensors_paste_alike_and_the_input_stays() -> None:
    photo = noise(300, 300)
    before = photo.copy()
    alignment = similarity(2, 5, 10, 10)
    tensor = torch.tensor(blob(50, 60), requires_grad=True)
    assert (
        paste(photo, KEPT, blob(50, 60), alignment) == paste(photo, KEPT, tensor, alignment)
    ).all()
    assert (photo == before).all()


def test_a_read_only_photo_can_be_pasted_to(photo: Image.Image) -> None:
    pixels = np.asarray(photo)
    assert not pixels.flags.writeable
    assert paste(pixels, KEPT, blob(60, 60), similarity(1, 0, 100, 100)).flags.writeable


@pytest.mark.parametrize("shape", [(3, SIZE, SIZE), (64, 64, 3), (SIZE, SIZE)])
def test_a_difference_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="drawn has shape"):
        paste(noise(300, 300), KEPT, np.ones(shape, np.float32), TURNED)


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="keep has shape"):
        paste(noise(300, 300), KEPT[:64], np.zeros((SIZE, SIZE, 3), np.float32), TURNED)


def test_where_nothing_is_kept_the_photo_is_drawn_over_without_a_trace() -> None:
    photo = noise(900, 1000)
    result = paste(photo, 0 * KEPT, np.full((SIZE, SIZE, 3), 90.0), TURNED)
    centre_x, centre_y = transform_points(TURNED.matrix, [(SIZE / 2, SIZE / 2)])[0].astype(int)
    assert (result[centre_y - 80 : centre_y + 80, centre_x - 80 : centre_x + 80] == 90).all()
    assert (result[:100, :100] == photo[:100, :100]).all()


def test_a_real_face_edited_in_a_large_photo(aligner: FaceAligner, photo: Image.Image) -> None:
    large = photo.resize((2048, 2048), Image.Resampling.LANCZOS)
    pixels = np.asarray(large)
    face: Detection = aligner.detect(large)[0]
    _, alignment = aligner.align(large, face)
    mouth = np.mean([TEMPLATE["mouth_left"], TEMPLATE["mouth_right"]], axis=0) * SIZE
    change = np.abs(added(pixels, blob(*mouth, height=-30), alignment)).sum(axis=2)
    y, x = np.unravel_index(change.argmax(), change.shape)
    assert np.hypot(*(np.array([x, y]) - face.landmarks[3:].mean(axis=0))) < 0.1 * alignment.size
