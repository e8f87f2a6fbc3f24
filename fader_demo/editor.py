"""The editor: a photo is opened once (found, aligned, encoded); an edit runs the decoder alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, product
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fader_demo import faces, sheets
from fader_demo.attributes import Attribute, AttributeSchema, Value
from fader_demo.blending import DETAIL, Change, blend, confine
from fader_demo.decoding import FoldedDecoder
from fader_demo.estimator import AttributeEstimator
from fader_demo.inversion import invert
from fader_demo.model import Fader
from fader_demo.photos import PhotoSource, fitted, read_photo
from fader_demo.pretrained import load_model

AT_ONCE = 32
"""Faces that are decoded together at most, so that memory does not grow with their number."""

SWEPT_AT_ONCE = 8
"""The same in a sweep, whose frames are waited for."""


@dataclass(frozen=True, eq=False, repr=False)
class Face:
    """One face of an opened photo, with all that an edit needs but the decoder.

    photo: upright sRGB, at its own resolution.
    found: every face in the photo, largest first; ``found[index]`` is this one.
    alignment: where the aligned face lies in the photo.
    aligned: the face cut out, S x S, as the encoder saw it.
    latent: (C, h, w), made once: the encoder's, fitted to the photo.
    prepared: what the decoder's first layer makes of the latent, whatever the values.
    values: the estimated attributes, where the sliders start.
    unedited: (3, S, S) in [-1, 1], the latent decoded at ``values``. What an edit changes is
    measured from here.
    profile: the ICC profile of the photo's file, to save edits in its colours; None for sRGB.
    """

    photo: Image.Image
    found: tuple[faces.Detection, ...]
    index: int
    alignment: faces.Alignment
    aligned: Image.Image
    latent: Tensor
    prepared: Tensor
    values: dict[str, float]
    unedited: Tensor
    profile: bytes | None = None
    _drawn: dict[tuple[str, int], Image.Image] = field(default_factory=dict)

    @property
    def boxes(self) -> list[tuple[float, float, float, float]]:
        """Left, top, right, bottom of every face found, in photo pixels, largest face first."""
        return [face.box for face in self.found]

    def on(self, photo: Image.Image) -> Face:
        """The same face on another version of its photo, of the same size: an edited one."""
        return replace(self, photo=photo, _drawn={})

    def aligned_at(self, size: int) -> Image.Image:
        """The face cut out of the photo at ``size`` pixels a side; drawn once."""
        if size == self.alignment.size:
            return self.aligned
        key = ("aligned", size)
        if key not in self._drawn:
            self._drawn[key] = faces.crop(self.photo, self.alignment.resized(size))
        return self._drawn[key]

    def photo_at(self, max_side: int | None) -> Image.Image:
        """The photo, its long side at most ``max_side`` pixels; drawn once."""
        if max_side is None:
            return self.photo
        key = ("photo", max_side)
        if key not in self._drawn:
            self._drawn[key] = fitted(self.photo, max_side)
        return self._drawn[key]


@dataclass(frozen=True, eq=False)
class Edit:
    """What is to be drawn: a face at these values, with this much of its photo's detail."""

    face: Face
    values: Mapping[str, Value]
    detail: float = DETAIL

    @property
    def moved(self) -> dict[str, Value]:
        """The values that are not where the face's own are."""
        start = self.face.values
        return {name: value for name, value in self.values.items() if value != start.get(name)}


class Editor:
    """Opens photos and renders their faces at any attribute values.

    Values are named, in each attribute's own unit; those not named stay at ``face.values``.
    Values beyond a slider's limits are held at them. An unknown name, NaN or a value that is no
    number raises SchemaError (a ValueError).

    Nothing in an editor changes after it is made, so any number of threads may share one.
    """

    def __init__(
        self,
        fader: Fader,
        estimator: AttributeEstimator,
        device: torch.device | str | None = None,
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.fader = fader.to(self.device).eval()
        self.decoder = FoldedDecoder(self.fader)
        self.estimator = estimator.to(self.device).eval()
        self.aligner = faces.FaceAligner(fader.image_size)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        revision: str | None = None,
        device: torch.device | str | None = None,
    ) -> Editor:
        """The editor of a model folder or a Hub id ("owner/name", at ``revision``).

        Raises ModelError (a ValueError) that says which file is missing or wrong, and why.
        """
        return cls(*load_model(source, revision), device)

    @property
    def schema(self) -> AttributeSchema:
        """Names, kinds, ranges and labels of the attributes; they travel with the weights."""
        return self.fader.schema

    @property
    def image_size(self) -> int:
        """S, the side in pixels of the face that the model sees and draws."""
        return self.fader.image_size

    def open(self, photo: PhotoSource, face: int = 0) -> Face:
        """Find, align and encode a face; ``face`` counts from the largest.

        Raises PhotoError (NoFaceError among them) with a message for the visitor, or IndexError.
        """
        image = read_photo(photo)
        found = tuple(self.aligner.detect(image))
        if not found:
            raise faces.NoFaceError()
        return self._encode(image, found, face, image.info.pop("icc_profile", None))

    def choose(self, face: Face, index: int) -> Face:
        """Another face of the same photo, without reading or searching the photo again."""
        if index == face.index:
            return face
        return self._encode(face.photo, face.found, index, face.profile)

    def adopt(self, face: Face) -> Face:
        """A face that another model's editor opened, without searching its photo again."""
        return self._encode(face.photo, face.found, face.index, face.profile)

    def render(
        self,
        face: Face,
        values: Mapping[str, Value],
        size: int | None = None,
        detail: float = DETAIL,
    ) -> Image.Image:
        """The aligned face with the edit: RGB, ``size`` pixels a side (default S).

        The photo's own detail on the edited decode (``fader_demo.blending``): with no edit it is
        the aligned photo, and what no decoder draws (pores, hairs) stays.
        """
        (picture,) = self._rendered(face, [values], size or self.image_size, detail)
        return picture

    def reconstruct(self, face: Face, values: Mapping[str, Value] | None = None) -> Image.Image:
        """What the decoder alone draws, S x S: for evaluation, and to see what the model knows."""
        decoded = self._decode([Edit(face, self._complete(face, values or {}))])[0]
        return _to_image((decoded + 1) * 127.5)

    def paste(
        self,
        face: Face,
        values: Mapping[str, Value],
        max_side: int | None = None,
        detail: float = DETAIL,
    ) -> Image.Image:
        """The whole photo at its own resolution, the edit blended in.

        With every value where it started, the photo comes back pixel for pixel. ``max_side``
        makes a preview instead, its long side at most that many pixels.
        """
        return next(self.paste_all([Edit(face, values, detail)], max_side))

    def paste_all(
        self, edits: Sequence[Edit], max_side: int | None = None
    ) -> Iterator[Image.Image]:
        """``paste`` of several edits, of any faces, by one pass of the decoder.

        The first picture waits for the decoder; each is blended and pasted as it is asked for.
        What cannot be drawn raises ValueError at once.
        """
        return self._pasted([self._checked(edit) for edit in edits], max_side, len(edits))

    def strip(
        self,
        face: Face,
        name: str,
        strengths: Sequence[Value],
        values: Mapping[str, Value] | None = None,
        size: int = 256,
        detail: float = DETAIL,
    ) -> Image.Image:
        """One attribute at several strengths, side by side and labelled, in one image.

        The other attributes stand at ``values``. Each face is ``size`` pixels a side; all are
        drawn by one pass of the decoder, or as few as AT_ONCE allows.
        """
        if not len(strengths):
            raise ValueError("A strip needs at least one strength.")
        attribute: Attribute = self.schema[name]
        rows = [self._complete(face, {**(values or {}), name: s}) for s in strengths]
        pictures = self._rendered(face, rows, size, detail)
        return sheets.row(pictures, [sheets.caption(attribute, row[name]) for row in rows])

    def grid(
        self,
        face: Face,
        row: str,
        row_strengths: Sequence[Value],
        column: str,
        column_strengths: Sequence[Value],
        values: Mapping[str, Value] | None = None,
        size: int = 192,
        detail: float = DETAIL,
    ) -> Image.Image:
        """Two attributes at several strengths each, every pair of them, labelled, in one image.

        ``row`` changes from row to row, ``column`` from column to column; the other attributes
        stand at ``values``. Each face is ``size`` pixels a side; all are drawn by one pass of the
        decoder, or as few as AT_ONCE allows. The same attribute twice is a ValueError.
        """
        if row == column:
            raise ValueError(f"A grid needs two attributes, not {row} twice.")
        if not len(row_strengths) or not len(column_strengths):
            raise ValueError("A grid needs at least one strength of each attribute.")
        down, across = self.schema[row], self.schema[column]
        downwards = [down.clamp(strength) for strength in row_strengths]
        sideways = [across.clamp(strength) for strength in column_strengths]
        rows = [
            self._complete(face, {**(values or {}), row: r, column: c})
            for r, c in product(downwards, sideways)
        ]
        pictures = self._rendered(face, rows, size, detail)
        width = len(sideways)
        return sheets.grid(
            [pictures[start : start + width] for start in range(0, len(pictures), width)],
            down.label,
            [sheets.value_caption(down, value) for value in downwards],
            across.label,
            [sheets.value_caption(across, value) for value in sideways],
        )

    def sweep(
        self,
        face: Face,
        stops: Sequence[Mapping[str, Value]],
        frames: int,
        max_side: int | None = None,
        detail: float = DETAIL,
    ) -> Iterator[Image.Image]:
        """The whole photo on its way through two or more stops, in ``frames`` even steps.

        The first picture is ``paste`` at the first stop, the last at the last. Numbers go
        linearly from stop to stop, a categorical attribute switches half way. Pictures are drawn
        as they are asked for; what cannot be drawn raises ValueError at once.
        """
        if len(stops) < 2 or frames < 2:
            raise ValueError("A sweep needs at least two stops and two frames.")
        _check_detail(detail)
        rows = self._between([self._complete(face, stop) for stop in stops], frames)
        return self._pasted([Edit(face, row, detail) for row in rows], max_side, SWEPT_AT_ONCE)

    def loop(
        self,
        face: Face,
        start: Mapping[str, Value],
        end: Mapping[str, Value],
        frames: int,
        max_side: int | None = None,
        detail: float = DETAIL,
    ) -> Iterator[Image.Image]:
        """A ``sweep`` there and back that can begin again: its last picture leads to its first."""
        swept = self.sweep(face, [start, end, start], frames + 1, max_side, detail)
        return islice(swept, frames)

    @torch.inference_mode()
    def _encode(
        self,
        photo: Image.Image,
        found: tuple[faces.Detection, ...],
        index: int,
        profile: bytes | None,
    ) -> Face:
        if not 0 <= index < len(found):
            raise IndexError(
                f"There is no face number {index}: this photo shows {len(found)}, counted from 0."
            )
        aligned, alignment = self.aligner.align(photo, found[index])
        image = to_tensor(aligned).to(self.device)
        values = self._estimate(image)
        start = self._table([values])
        latent = invert(self.fader, image, start)[0]
        prepared = self.decoder.prepare(latent)
        unedited = self.decoder.decode(prepared, start)[0]
        return Face(
            photo, found, index, alignment, aligned, latent, prepared, values, unedited, profile
        )

    def _estimate(self, image: Tensor) -> dict[str, float]:
        """Aligned face (1, 3, S, S) -> values, held within the sliders."""
        read = self.schema.values(self.estimator.read(image)[0])
        return {name: self.schema[name].clamp(value) for name, value in read.items()}

    def _complete(self, face: Face, values: Mapping[str, Value]) -> dict[str, float]:
        """Every attribute's value: those named, checked and clamped, the others as estimated."""
        named = {name: self.schema[name].clamp(value) for name, value in values.items()}
        return face.values | named

    def _between(self, stops: Sequence[Mapping[str, float]], frames: int) -> list[dict[str, float]]:
        """Complete sets of values, ``frames`` of them, from the first stop to the last."""
        columns = {name: [stop[name] for stop in stops] for name in self.schema.names}
        rows = []
        for time in np.linspace(0, len(stops) - 1, frames):
            nearest = int(time + 0.5)
            rows.append(
                {
                    name: column[nearest]
                    if self.schema[name].kind == "categorical"
                    else float(np.interp(time, range(len(stops)), column))
                    for name, column in columns.items()
                }
            )
        return rows

    def _checked(self, edit: Edit) -> Edit:
        """The edit with every attribute's value. Raises ValueError for what cannot be drawn."""
        _check_detail(edit.detail)
        return replace(edit, values=self._complete(edit.face, edit.values))

    @torch.inference_mode()
    def _decode(self, edits: Sequence[Edit]) -> Tensor:
        """Edits that have every attribute's value -> (N, 3, S, S) in [-1, 1]."""
        prepared = torch.stack([edit.face.prepared for edit in edits])
        start = self._table([edit.face.values for edit in edits])
        wanted = self._table([edit.values for edit in edits])
        decoded = self.decoder.decode(prepared, self.schema.amplify(start, wanted))
        unedited = torch.stack([edit.face.unedited for edit in edits])
        return confine(unedited, decoded, self.schema.region(start, wanted))

    def _table(self, rows: Sequence[Mapping[str, Value]]) -> Tensor:
        """Sets of values, all of them complete -> (N, attributes)."""
        return torch.cat([self.schema.table(row) for row in rows]).to(self.device)

    def _rendered(
        self, face: Face, rows: Sequence[Mapping[str, Value]], size: int, detail: float
    ) -> list[Image.Image]:
        edits = [self._checked(Edit(face, row, detail)) for row in rows]
        return [_applied(change, face.aligned_at(size)) for change in self._changes(edits, AT_ONCE)]

    def _pasted(
        self, edits: Sequence[Edit], max_side: int | None, at_once: int
    ) -> Iterator[Image.Image]:
        for edit, change in zip(edits, self._changes(edits, at_once), strict=True):
            yield _pasted(change, edit.face, max_side)

    @torch.inference_mode()
    def _changes(self, edits: Sequence[Edit], at_once: int) -> Iterator[Change | None]:
        """What each checked edit does to its face, as it is asked for; on the CPU.

        The decoder draws ``at_once`` of them in a pass. None for a face's own values, which are
        not decoded: rounding must not be an edit.
        """
        for start in range(0, len(edits), at_once):
            batch = edits[start : start + at_once]
            moved = [edit for edit in batch if edit.moved]
            if moved:
                decoded = iter(self._decode(moved))
            for edit in batch:
                yield _change(edit, next(decoded)) if edit.moved else None


def _change(edit: Edit, decoded: Tensor) -> Change:
    """What the edit, decoded (3, S, S), does to its face; on the CPU."""
    change = blend(edit.face.unedited[None], decoded[None], edit.detail)
    return Change(change.keep.cpu(), change.drawn.cpu())


def _check_detail(detail: float) -> None:
    if not 0 <= detail <= 1:
        raise ValueError(f"Detail goes from 0 to 1, not {detail}.")


def to_tensor(image: Image.Image) -> Tensor:
    """RGB image -> (1, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 127.5 - 1


def _to_image(levels: Tensor) -> Image.Image:
    """(3, H, W) in 8-bit levels, any of them beyond 0..255 -> RGB image."""
    pixels = levels.round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def _pasted(change: Change | None, face: Face, max_side: int | None) -> Image.Image:
    """The face's photo, its long side at most ``max_side``, a change of the face made in it.

    Its pixels are sRGB, so that the profile of the photo's file stays behind.
    """
    photo = face.photo_at(max_side)
    pixels = np.asarray(photo)
    if change is not None:
        change = change.in_levels
        alignment = face.alignment.scaled(max(photo.size) / max(face.photo.size))
        drawn = change.drawn[0].permute(1, 2, 0)
        pixels = faces.paste(pixels, change.keep[0, 0], drawn, alignment)
    return Image.fromarray(pixels)


def _applied(change: Change | None, picture: Image.Image) -> Image.Image:
    """A square picture, a change of the face that it shows made in it."""
    if change is None:
        return picture.copy()
    change = change.in_levels
    if change.keep.shape[-1] != picture.width:
        change = change.resized(picture.width)
    levels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    return _to_image(change.apply(levels)[0])
