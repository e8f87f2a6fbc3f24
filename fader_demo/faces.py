"""Finding a face, cutting it out upright and always framed alike, and putting an edit back.

One convention for coordinates holds throughout: they are continuous, in pixels, x to the right and
y down, and pixel i covers i..i+1, so its centre lies at i + 0.5. Resizing a photo by f therefore
multiplies coordinates by f, nothing more.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from fader_demo.photos import PhotoError

if TYPE_CHECKING:
    import torch

# torch is imported where it is used: reading these constants should not cost 300 MB.

TEMPLATE: dict[str, tuple[float, float]] = {
    "left_eye": (0.38, 0.48),
    "right_eye": (0.62, 0.48),
    "mouth_left": (0.40, 0.73),
    "mouth_right": (0.60, 0.73),
}
"""Where the landmarks land in the aligned face, as fractions of its side. Left is the viewer's.

Wide enough for hair, ears and chin. The nose is left out, since it moves with the pose.
"""

DETECTION_SIDE = 640
"""Long side, in pixels, of the picture in which faces are looked for, border included."""

FEATHER = 0.125
"""Width of the border over which a pasted edit fades to nothing, as a fraction of the crop."""

_LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")  # MTCNN's order
_SMALLEST_FACE = 1 / 16  # of that picture's long side; smaller ones are bystanders
_BORDER = 0.1  # of the photo's long side: without one, faces at the edge get wrong landmarks
_WIDE_BORDER = 0.5  # for faces that fill the photo, which MTCNN otherwise misses or misplaces
_FILLING = 0.8  # share of the photo's width or height from which a face fills it
_SURE = 0.95  # confidence below which other readings of the photo are tried
_MTCNN_SMALLEST = 20  # pixels; MTCNN's own floor
_MTCNN_THRESHOLDS = [0.6, 0.7, 0.7]
_MTCNN_FACTOR = 0.709
_MARGIN = 4  # pixels of context that bicubic sampling needs around a patch, with some to spare
_REDUCING_GAP = 3.0  # Pillow's measure of haste; from here on nothing can be told from none
_BAND = 1 << 19  # pixels that paste works on at a time, so that its memory stays small


class NoFaceError(PhotoError):
    """No face was found in the photo."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(
            message
            or "No face was found. Use a photo that shows a face from the front, well lit and not "
            "covered."
        )


@dataclass(frozen=True, eq=False)
class Detection:
    """A face found in a photo.

    Attributes:
        landmarks: (5, 2) x, y in photo pixels: left eye, right eye, nose, left and right mouth
            corner, as the viewer sees them.
        box: left, top, right, bottom in photo pixels; may reach beyond the photo.
        confidence: 0..1.
    """

    landmarks: NDArray[np.float64]
    box: tuple[float, float, float, float]
    confidence: float

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        left, top, right, bottom = self.box
        return max(right - left, 0.0) * max(bottom - top, 0.0)

    @property
    def center(self) -> tuple[float, float]:
        """Middle of the box, x and y in photo pixels."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


@dataclass(frozen=True, eq=False)
class Alignment:
    """The similarity transform between an aligned face and its photo.

    Attributes:
        matrix: (2, 3); takes (x, y, 1) in aligned pixels to x, y in photo pixels. Coordinates are
            continuous: the centre of the top left pixel is (0.5, 0.5).
        size: side of the aligned face in pixels.
    """

    matrix: NDArray[np.float64]
    size: int

    @property
    def scale(self) -> float:
        """Photo pixels to one aligned pixel."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    @property
    def inverse(self) -> NDArray[np.float64]:
        """(2, 3) matrix from photo pixels to aligned pixels."""
        linear = np.linalg.inv(self.matrix[:, :2])
        return np.hstack([linear, -linear @ self.matrix[:, 2:]])

    @property
    def corners(self) -> NDArray[np.float64]:
        """(4, 2) corners of the crop in photo pixels, clockwise from the top left."""
        side = float(self.size)
        return transform_points(self.matrix, [(0, 0), (side, 0), (side, side), (0, side)])

    def scaled(self, factor: float) -> Alignment:
        """The same crop in the photo resized by `factor` (0.5 halves it)."""
        return Alignment(self.matrix * factor, self.size)

    def resized(self, size: int) -> Alignment:
        """The same crop of the same photo, drawn with another side in pixels."""
        zoom = np.diag([self.size / size, self.size / size, 1.0])
        return Alignment(self.matrix @ zoom, size)


class FaceAligner:
    """Finds faces and cuts them out upright, each `size` pixels square and framed alike.

    The detector is MTCNN (Zhang et al. 2016, arXiv 1604.02878) with the weights that come with
    facenet-pytorch. It is loaded on first use, keeps no state between calls, and so serves any
    number of threads.
    """

    def __init__(self, size: int) -> None:
        if size < 8:
            raise ValueError(f"size must be at least 8 pixels, not {size}")
        self.size = size

    def detect(self, photo: Image.Image) -> list[Detection]:
        """The faces in an RGB photo, largest first; empty when there is none.

        A photo that lies on its side and does not say so is understood as well: in its faces the
        landmarks are turned.
        """
        faces = _detect_in_view(photo, _BORDER)
        if not faces or _fills(faces[0], photo):
            faces = _detect_in_view(photo, _WIDE_BORDER) or faces
        if _any_sure(faces):
            return faces
        for turns in (1, 3, 2):
            turned = _detect_in_view(photo, _BORDER, turns)
            if _any_sure(turned):
                return turned
        return faces

    def align(self, photo: Image.Image, face: Detection) -> tuple[Image.Image, Alignment]:
        """Cut a face out: an RGB image of `size` x `size`, and the transform that made it.

        Where the crop reaches beyond the photo, the photo is mirrored at its edge.
        """
        alignment = fit_alignment(face.landmarks, self.size)
        return crop(photo, alignment), alignment


def fit_alignment(landmarks: ArrayLike, size: int) -> Alignment:
    """The similarity transform that brings a face's eyes and mouth closest to `TEMPLATE`.

    Args:
        landmarks: (5, 2) in photo pixels, in the order of `Detection.landmarks`.
        size: side of the aligned face in pixels.

    Raises:
        NoFaceError: the landmarks coincide, so that no face can be framed by them.
    """
    points = np.asarray(landmarks, dtype=np.float64)[[_LANDMARKS.index(k) for k in TEMPLATE]]
    target = np.array(list(TEMPLATE.values())) * size
    if np.ptp(points, axis=0).max() < 1e-6:
        raise NoFaceError()
    return Alignment(fit_similarity(target, points), size)


def fit_similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares rotation, scale and shift from points (N, 2) to points (N, 2), no mirroring.

    Umeyama 1991 ("Least-squares estimation of transformation parameters between two point
    patterns"), which in the plane needs no singular value decomposition.

    Returns:
        (2, 3) matrix.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    s, t = source - source_mean, target - target_mean
    spread = (s**2).sum()
    a = (s * t).sum() / spread  # scale * cos
    b = (s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum() / spread  # scale * sin
    linear = np.array([[a, -b], [b, a]])
    return np.hstack([linear, (target_mean - linear @ source_mean)[:, None]])


def transform_points(matrix: NDArray[np.float64], points: ArrayLike) -> NDArray[np.float64]:
    """Apply a (2, 3) matrix to points (N, 2)."""
    return np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]


def crop(photo: Image.Image, alignment: Alignment) -> Image.Image:
    """Draw the aligned face: RGB, `alignment.size` square.

    When the face is larger than the crop, it is drawn twice as large and halved, off a photo that
    was reduced to that resolution first: each step filters what the next could not resolve, so
    nothing aliases.
    """
    size = alignment.size
    if alignment.scale <= 1:
        return _warp(photo, alignment)
    double = _warp(photo, alignment.resized(2 * size))
    return double.resize((size, size), Image.Resampling.BICUBIC)


def paste(
    photo: NDArray[np.uint8],
    keep: ArrayLike | torch.Tensor,
    drawn: ArrayLike | torch.Tensor,
    alignment: Alignment,
) -> NDArray[np.uint8]:
    """Put an edit into the whole photo, at the photo's own resolution: ``photo * keep + drawn``.

    Args:
        photo: (H, W, 3) uint8.
        keep: (size, size), how much of the photo stays at each pixel of the aligned face, 0..1.
        drawn: (size, size, 3), what is added there, in 8-bit levels.
        alignment: where the aligned face lies in the photo.

    Returns:
        A new (H, W, 3) uint8 array. The edit fades out over the `FEATHER` of the crop that is next
        to its edge; pixels outside the crop are those of the photo, and so is every pixel where
        keep is 1 and drawn is 0.

    Raises:
        ValueError: keep or drawn does not have the aligned face's shape.
    """
    import torch

    shape = (alignment.size, alignment.size)
    planes = []
    for name, values, expected in (("keep", keep, shape), ("drawn", drawn, (*shape, 3))):
        plane = torch.as_tensor(values).detach().to("cpu", torch.float32)
        if tuple(plane.shape) != expected:
            raise ValueError(f"{name} has shape {tuple(plane.shape)}, expected {expected}")
        planes.append(plane.reshape(*shape, -1))
    # How far keep is from 1, and drawn: both fade to 0 at the edge of the crop. In memory a pixel's
    # numbers lie together, for which sampling takes half the time.
    change = torch.cat([planes[0] - 1, planes[1]], dim=-1).permute(2, 0, 1)[None]
    result = photo.copy()
    if not change.any():
        return result
    change = _match_resolution(change, alignment.scale)
    for rows, columns in _bands(alignment, photo.shape[1], photo.shape[0]):
        part = _at_pixels(change, alignment, rows, columns)
        region = result[rows, columns]
        edited = region.astype(np.float32)
        edited *= part[..., :1] + 1
        edited += part[..., 1:]
        region[:] = np.rint(edited.clip(0, 255, out=edited), out=edited)
    return result


# Detection


_detector: Any = None
_detector_lock = threading.Lock()


def _mtcnn() -> Any:
    """The detector, loaded once for the process (30 ms, weights from the installed package)."""
    global _detector
    with _detector_lock:
        if _detector is None:
            from facenet_pytorch import MTCNN

            _detector = MTCNN(device="cpu").eval()
    return _detector


def _run_mtcnn(pixels: NDArray[np.uint8]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Boxes (5: left, top, right, bottom, confidence) and landmarks (5, 2) found in (H, W, 3)."""
    import torch
    from facenet_pytorch.models.utils.detect_face import detect_face

    nets = _mtcnn()
    smallest = max(_MTCNN_SMALLEST, round(max(pixels.shape[:2]) * _SMALLEST_FACE))
    if min(pixels.shape[:2]) < smallest:  # MTCNN raises ValueError when it has no scale to try
        return []
    # The function under MTCNN.detect: that method reads the smallest size off the object, which
    # threads share.
    with torch.inference_mode():
        boxes, landmarks = detect_face(
            pixels[None],
            smallest,
            nets.pnet,
            nets.rnet,
            nets.onet,
            _MTCNN_THRESHOLDS,
            _MTCNN_FACTOR,
            torch.device("cpu"),
        )
    if len(boxes) == 0 or len(boxes[0]) == 0:
        return []
    found = zip(boxes[0], landmarks[0], strict=True)
    return [(np.asarray(b, dtype=np.float64), np.asarray(p, dtype=np.float64)) for b, p in found]


def _fills(face: Detection, photo: Image.Image) -> bool:
    left, top, right, bottom = face.box
    return right - left > _FILLING * photo.width or bottom - top > _FILLING * photo.height


def _any_sure(faces: list[Detection]) -> bool:
    return any(face.confidence >= _SURE for face in faces)


def _detect_in_view(photo: Image.Image, border: float, turns: int = 0) -> list[Detection]:
    """Faces found in the photo with a grey border and turned, in photo pixels, largest first.

    Args:
        border: its width as a fraction of the photo's long side.
        turns: quarter turns anticlockwise.
    """
    thumbnail = _reduce(photo, max(photo.size) * (1 + 2 * border) / DETECTION_SIDE)
    edge = round(border * max(thumbnail.size))
    pixels = np.pad(np.asarray(thumbnail), ((edge,) * 2, (edge,) * 2, (0, 0)), constant_values=128)
    factor = np.array(photo.size) / np.array(thumbnail.size)
    found = []
    for box, landmarks in _run_mtcnn(np.rot90(pixels, turns)):
        corners = _unturned(box[:4].reshape(2, 2), pixels.shape[1], pixels.shape[0], turns)
        corners = (corners - edge) * factor
        points = _unturned(landmarks, pixels.shape[1], pixels.shape[0], turns)
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        place = (float(left), float(top), float(right), float(bottom))
        found.append(Detection((points - edge) * factor, place, float(box[4])))
    return sorted(found, key=lambda face: face.area, reverse=True)


def _unturned(
    points: NDArray[np.float64], width: int, height: int, turns: int
) -> NDArray[np.float64]:
    """Points (N, 2) in np.rot90(picture, turns) as points in the picture of width x height."""
    for turn in range(turns % 4, 0, -1):
        across = width if turn % 2 else height  # of the picture before this turn
        points = np.stack([across - points[:, 1], points[:, 0]], axis=1)
    return points


def _reduce(photo: Image.Image, by: float) -> Image.Image:
    """The photo `by` times as small in each direction, antialiased; unchanged where by <= 1."""
    if by <= 1:
        return photo
    width, height = (max(1, round(side / by)) for side in photo.size)
    return photo.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)


# Drawing the aligned face


def _warp(photo: Image.Image, alignment: Alignment) -> Image.Image:
    """Sample a photo bicubically, reduced to the crop's resolution where its own is higher."""
    by = max(alignment.scale, 1.0)
    reduced = tuple(max(1, round(side / by)) for side in photo.size)
    pixel = np.array(photo.size) / reduced  # its sides, in pixels of the photo
    corners = alignment.corners / pixel
    left, top = np.floor(corners.min(axis=0)).astype(int) - _MARGIN
    right, bottom = np.ceil(corners.max(axis=0)).astype(int) + _MARGIN
    columns = _mirrored(np.arange(left, right), reduced[0])
    rows = _mirrored(np.arange(top, bottom), reduced[1])
    patch = _gather(photo, reduced, rows, columns)
    local = alignment.matrix / pixel[:, None] - np.array([[0, 0, left], [0, 0, top]])
    square = (alignment.size, alignment.size)
    return patch.transform(
        square, Image.Transform.AFFINE, local.ravel().tolist(), Image.Resampling.BICUBIC
    )


def _mirrored(indices: NDArray[np.int_], length: int) -> NDArray[np.int_]:
    """Indices into 0..length-1 for any integers, as if mirrors stood at both edges."""
    folded = np.mod(indices, 2 * length)
    return np.where(folded < length, folded, 2 * length - 1 - folded)


def _gather(
    photo: Image.Image, reduced: tuple[int, ...], rows: NDArray[np.int_], columns: NDArray[np.int_]
) -> Image.Image:
    """The given rows and columns of the photo reduced to this size; only they are computed."""
    left, top = int(columns.min()), int(rows.min())
    right, bottom = int(columns.max()) + 1, int(rows.max()) + 1
    part = photo.resize(
        (right - left, bottom - top),
        Image.Resampling.BICUBIC,
        box=(
            left * photo.width / reduced[0],
            top * photo.height / reduced[1],
            right * photo.width / reduced[0],
            bottom * photo.height / reduced[1],
        ),
        reducing_gap=_REDUCING_GAP,
    )
    return Image.fromarray(np.asarray(part)[np.ix_(rows - top, columns - left)])


# Putting the edit back


def _match_resolution(planes: torch.Tensor, scale: float) -> torch.Tensor:
    """Reduce (1, C, size, size) to the photo's resolution, lest a small face alias."""
    import torch.nn.functional as F

    side = max(1, round(planes.shape[-1] * scale))
    if side >= planes.shape[-1]:
        return planes
    return F.interpolate(planes, size=(side, side), mode="bicubic", antialias=True)


def _bands(alignment: Alignment, width: int, height: int) -> Iterator[tuple[slice, slice]]:
    """The crop's bounding box, clipped to the photo, in bands of at most about `_BAND` pixels."""
    low = np.floor(alignment.corners.min(axis=0)).astype(int)
    high = np.ceil(alignment.corners.max(axis=0)).astype(int)
    left, top = max(int(low[0]), 0), max(int(low[1]), 0)
    right, bottom = min(int(high[0]), width), min(int(high[1]), height)
    if right <= left or bottom <= top:
        return
    step = max(1, _BAND // (right - left))
    for row in range(top, bottom, step):
        yield slice(row, min(row + step, bottom)), slice(left, right)


def _at_pixels(
    planes: torch.Tensor, alignment: Alignment, rows: slice, columns: slice
) -> NDArray[np.float32]:
    """Planes (1, C, h, w) of the crop at the photo's pixels in `rows` and `columns`, feathered.

    Returns (rows, columns, C).
    """
    import torch
    import torch.nn.functional as F

    inverse = alignment.inverse / alignment.size  # photo pixels to fractions 0..1 of the crop
    x, y = (np.arange(each.start, each.stop) + 0.5 for each in (columns, rows))
    across, down = (
        torch.from_numpy((by_x * x)[None].astype("f4") + (by_y * y + start)[:, None].astype("f4"))
        for by_x, by_y, start in inverse
    )
    grid = torch.stack([across, down], dim=-1)[None] * 2 - 1
    sampled = F.grid_sample(
        planes, grid, mode="bicubic", padding_mode="border", align_corners=False
    )
    weighted = sampled[0] * (_fade(across) * _fade(down))
    return weighted.permute(1, 2, 0).numpy()


def _fade(position: torch.Tensor) -> torch.Tensor:
    """1 inside the crop, 0 at its edge and beyond, smoothly between (position: fraction 0..1)."""
    inward = (0.5 - (position - 0.5).abs()) / FEATHER
    t = inward.clamp(0, 1)
    return t * t * (3 - 2 * t)
