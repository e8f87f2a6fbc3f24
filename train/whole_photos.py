"""Edits of whole photos, made by the editor as a visitor makes them, and read by the judge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from fader_demo import faces
from fader_demo.editor import Editor, Face, to_tensor
from fader_demo.photos import PhotoError
from train.bootstrap import People
from train.data import DatasetError, PreparedFaces
from train.edits import DIRECTIONS, Direction, binary, crossed, starts, swaps, targets
from train.judge import Judge

PHOTOS = 200
"""How many are edited."""


@dataclass(frozen=True)
class PhotoSample:
    """Photos of a split, and who each of them shows."""

    paths: list[Path]
    people: list[str]

    @classmethod
    def of(cls, prepared: PreparedFaces, folder: Path) -> PhotoSample:
        """PHOTOS of the photos that faces were prepared from, spread evenly over their people.

        Raises DatasetError where ``folder`` lacks one.
        """
        by_person = np.argsort(prepared.people, kind="stable")
        places = np.linspace(0, len(prepared) - 1, min(PHOTOS, len(prepared))).astype(int)
        chosen = by_person[places]
        paths = [folder / prepared.ids[i] for i in chosen]
        for path in paths:
            if not path.is_file():
                raise DatasetError(
                    f"There is no photo {path}. Give the folder of photos that the faces were "
                    "prepared from."
                )
        return cls(paths, [prepared.people[i] for i in chosen])


def whole_photo_figures(editor: Editor, judge: Judge, photos: PhotoSample) -> dict[str, Any]:
    """The shares of faces that an edit carries across, after it is pasted into the whole photo.

    Photos are opened and edited at their own resolution; the judge reads the face cut out again
    with the alignment it was opened with. {"faces", "not_found", "attributes": {name: figures as
    ``train.evaluate.edit_figures`` has them}}; "not_found" counts the photos in which no face was
    found, or that could not be read.
    """
    people: list[str] = []
    before: list[Tensor] = []
    after: list[Tensor] = []
    sample = list(zip(photos.paths, photos.people, strict=True))
    for path, person in tqdm(sample, desc="Whole photos", leave=False):
        try:
            face = editor.open(path)
        except PhotoError:
            continue
        people.append(person)
        before.append(_scores(judge, [face.aligned])[0])
        after.append(_scores_after(editor, judge, face, before[-1]))
    return {
        "faces": len(people),
        "not_found": len(sample) - len(people),
        "attributes": _figures(editor, people, torch.stack(before), torch.stack(after))
        if people
        else {},
    }


def _figures(
    editor: Editor, names: list[str], before: Tensor, after: Tensor
) -> dict[str, dict[str, Any]]:
    """before (N, attributes), after (N, binary attributes, 2): at the label and at the end."""
    people = People(names)
    result: dict[str, dict[str, Any]] = {}
    for (index, attribute), scores in zip(binary(editor.schema), after.unbind(1), strict=True):
        figures: dict[str, Any] = {}
        for direction in DIRECTIONS:
            if not starts(before[:, index], direction).any():
                continue
            for place, read in zip(targets(attribute, direction), scores.unbind(1), strict=True):
                carried = crossed(before[:, index], read, direction)
                figures[f"{direction}_at_{place}"] = people.mean(carried)
        result[attribute.name] = figures | swaps(figures)
    return result


def _scores_after(editor: Editor, judge: Judge, face: Face, before: Tensor) -> Tensor:
    """Of each binary attribute, after edits to the label it lacks and to that end: (B, 2)."""
    columns, crops = [], []
    for index, attribute in binary(editor.schema):
        direction: Direction = "on" if starts(before[index], "on") else "off"
        for strength in targets(attribute, direction).values():
            photo = editor.paste(face, {attribute.name: strength})
            crops.append(faces.crop(photo, face.alignment))
            columns.append(index)
    return _scores(judge, crops)[range(len(crops)), columns].unflatten(0, (-1, 2))


@torch.inference_mode()
def _scores(judge: Judge, crops: list[Image.Image]) -> Tensor:
    """Aligned faces -> the judge's scores (N, attributes)."""
    return judge.scores(torch.cat([to_tensor(crop) for crop in crops]))
