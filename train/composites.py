"""Example faces of nobody: each decoded from the averaged latents of several people.

    python -m train.composites --model assets/faces --config train/configs/faces.yaml \\
        --data runs/data/celeba-128 --out assets/examples
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from fader_demo.faces import FaceAligner
from fader_demo.model import Fader
from fader_demo.pretrained import load_model
from train import command
from train.config import Config
from train.data import PreparedFaces, encode

BLENDED = 5
"""People in a composite: enough that none of them can be made out."""

UNDONE = 0.5
"""How much of what averaging does to a latent's size is undone, in powers of the factor. Means lie
near the mean of all, where the decoder blurs; at full size they are hard in light and shade."""

SIDE = 512
TRIES = 40


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command.parser("composites", __doc__)
    parser.add_argument("--model", type=Path, required=True, help="the model's folder")
    parser.add_argument("--config", type=Path, required=True, help="the configuration it came from")
    parser.add_argument("--data", type=Path, required=True, help="folder from train.prepare")
    parser.add_argument("--out", type=Path, required=True, help="where the pictures go")
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        fader, estimator = load_model(options.model)
        columns = Config.read(options.config).columns
        faces = PreparedFaces(options.data, "train", fader.schema, columns, fader.image_size)
    except command.FAILURES as error:
        return command.failed("composites", error)
    faces = faces.thinned(4_000)
    faces.read_values(estimator, estimator.anchors)
    latents = encode(fader, faces)
    options.out.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(
        composites(fader, faces, latents, options.count, options.seed), start=1
    ):
        path = options.out / f"composite-{number}.png"
        picture.save(path, optimize=True)
        print(path)
    return 0


def composites(
    fader: Fader, faces: PreparedFaces, latents: Tensor, count: int, seed: int
) -> list[Image.Image]:
    """Pictures SIDE px a side; men and women in turn, each from people alike in their labels.

    A draw in which the product's own detector finds no face is drawn again.
    """
    aligner = FaceAligner(fader.image_size)
    centre = latents.mean(0)
    distance = (latents - centre).flatten(1).norm(dim=1).mean()
    generator = torch.Generator().manual_seed(seed)
    found: list[Image.Image] = []
    for _ in range(TRIES * count):
        if len(found) == count:
            break
        chosen = _alike(faces, len(found), generator)
        latent = _blended(latents[chosen], centre, distance)
        picture = _decoded(fader, latent, faces.values[chosen].mean(0, keepdim=True))
        if aligner.detect(picture):
            found.append(picture)
    return found


def _alike(faces: PreparedFaces, number: int, generator: torch.Generator) -> Tensor:
    """BLENDED faces of different people, nearest in their values to a random one of them.

    Even numbers are women and odd ones men, where the schema has the attribute.
    """
    pool = torch.arange(len(faces))
    if "Male" in faces.schema.names:
        pool = pool[faces.labels[:, faces.schema.index_of("Male")] == number % 2]
    first = pool[torch.randint(len(pool), (1,), generator=generator)]
    distance = (faces.values[pool] - faces.values[first]).abs().sum(1)
    chosen: list[int] = []
    for index in pool[distance.argsort()].tolist():
        if faces.people[index] not in {faces.people[other] for other in chosen}:
            chosen.append(index)
        if len(chosen) == BLENDED:
            break
    return torch.tensor(chosen)


def _blended(latents: Tensor, centre: Tensor, distance: Tensor) -> Tensor:
    """The mean of some latents (1, C, h, w), farther from the mean of all (UNDONE).

    centre: that mean (C, h, w). distance: how far from it latents lie.
    """
    away = latents.mean(0) - centre
    return (centre + away * (distance / away.norm()) ** UNDONE)[None]


def _decoded(fader: Fader, latent: Tensor, values: Tensor) -> Image.Image:
    with torch.inference_mode():
        decoded = fader.decode(latent, values)[0]
    pixels = decoded.add(1).mul(127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    sys.exit(main())
