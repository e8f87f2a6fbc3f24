"""What the editor costs: opening a photo and moving a slider, part by part, and starting up.

    python -m tests.bench.speed

Everything is a median of runs in turns, so that whatever else the machine does meets all of them
alike. "wall" is what passes on the clock, "CPU" what this process computes: on a busy machine
compare the latter. All but start-up runs on one thread, since threads that wait for each other
count as computing.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fader_demo import Editor, Face, faces
from fader_demo.blending import blend
from fader_demo.decoding import FoldedDecoder
from fader_demo.model import Fader
from fader_demo.ui.pictures import LIVE_SIDE, data_uri
from tests.bench.plain import MOVED
from tests.bench.protocol import Visitor
from tests.bench.served import MODEL, ROOT, served
from tests.bench.table import Row, show

Decode = Callable[[], Tensor]

EDIT = {MOVED: 0.5}
STARTS = 3
MEGAPIXELS_12 = (3464, 3464)


def measure() -> Iterator[Row]:
    torch.set_num_threads(1)
    editor = Editor.from_pretrained(MODEL, device="cpu")
    photo = Image.fromarray(data.astronaut())
    face, large = editor.open(photo), editor.open(photo.resize(MEGAPIXELS_12))
    yield from decoders(editor, face)
    yield from on_gpu(editor, face)
    yield from attributes()
    yield from parts_of_a_move(editor, face)
    yield from moves(editor, face, large)
    yield from opening(editor, photo, large.photo)
    yield from start_up()


def decoders(editor: Editor, face: Face) -> list[Row]:
    """The plain decoder, the folded one, and what their multiply-adds alone would take."""
    values = editor.schema.table(face.values | EDIT)
    plain = partial(editor.fader.decode, face.latent[None], values)
    folded = partial(editor.decoder.decode, face.prepared, values)
    square = torch.rand(1024, 1024)
    times = in_turns(
        {
            "decode, plain module": plain,
            "decode, folded": folded,
            "prepare, once a photo": partial(editor.decoder.prepare, face.latent),
            "matrix product, 1024 x 1024 x 1024": lambda: square @ square,
        },
        rounds=40,
    )
    *rows, product = times
    rate = 1024**3 / product["CPU ms"]  # multiply-adds per millisecond of CPU time
    for name, decode in (("plain module", plain), ("folded", folded)):
        count = multiply_adds(decode)
        rows += [
            {"figure": f"multiply-adds, {name}", "millions": count / 1e6},
            {"figure": f"floor, {name}: multiply-adds over the rate", "CPU ms": count / rate},
        ]
    return [
        *rows,
        {"figure": "rate of a matrix product", "multiply-adds per ns of CPU": rate / 1e6},
        {"figure": "plain module over folded", "ratio": rows[0]["CPU ms"] / rows[1]["CPU ms"]},
    ]


def on_gpu(editor: Editor, face: Face) -> list[Row]:
    """The folded decoder with CUDA: in single and half precision, and as a graph."""
    names = [f"decode on a GPU, {how}" for how in ("fp32", "fp16", "fp16 as a CUDA graph")]
    if not torch.cuda.is_available():
        return [{"figure": name, "unmeasured": "no GPU"} for name in names]
    exact, half = (
        at_precision(editor, face, "cuda", dtype) for dtype in (torch.float32, torch.float16)
    )
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.cuda.stream(stream):
        half()  # what is set up at the first call cannot be recorded
    with torch.cuda.graph(graph, stream=stream):
        half()
    runs = (exact, half, graph.replay)
    rows = in_turns({n: _until_done(r) for n, r in zip(names, runs, strict=True)}, rounds=100)
    levels = 127.5 * (exact() - half()).abs().max().item()
    return [*rows, {"figure": "largest difference of fp16 to fp32", "grey levels": levels}]


def at_precision(editor: Editor, face: Face, device: str, dtype: torch.dtype) -> Decode:
    """The decode of an edit, on a device and with numbers of this type."""

    def moved(part: Any) -> Any:
        if isinstance(part, list):
            return [moved(each) for each in part]
        return part.to(device, dtype) if isinstance(part, Tensor) else part

    decoder = copy(editor.decoder)
    vars(decoder).update({name: moved(part) for name, part in vars(decoder).items()})
    values = editor.schema.table(face.values | EDIT)
    return partial(decoder.decode, moved(face.prepared), moved(values))


def _until_done(run: Callable[[], object]) -> Callable[[], None]:
    """With the wait for what was given to the GPU."""

    def measured() -> None:
        run()
        torch.cuda.synchronize()

    return measured


def attributes() -> list[Row]:
    """Decoders of the shipped size with 8 and with 40 attributes, untrained."""
    config = json.loads((MODEL / "config.json").read_text())
    runs: dict[str, Callable[[], object]] = {}
    counts: list[Row] = []
    for number in (8, 40):
        names = [{"name": f"attribute {i}"} for i in range(number)]
        fader = Fader(**{**config, "attributes": names}).eval()
        folded = FoldedDecoder(fader)
        latent, values = torch.randn(fader.latent_shape), torch.zeros(1, number)
        decode = partial(folded.decode, folded.prepare(latent), values)
        runs |= {
            f"decode, plain module, {number} attributes": partial(
                fader.decode, latent[None], values
            ),
            f"decode, folded, {number} attributes": decode,
            f"of it: values to code, {number} attributes": partial(fader.schema.encode, values),
        }
        counts.append(
            {
                "figure": f"multiply-adds, folded, {number} attributes",
                "millions": multiply_adds(decode) / 1e6,
            }
        )
    return in_turns(runs, rounds=40) + counts


def parts_of_a_move(editor: Editor, face: Face) -> list[Row]:
    """A move of a slider at the page's size, one part after the other."""
    values = editor.schema.table(face.values | EDIT)
    decoded = editor.decoder.decode(face.prepared, values)
    change = blend(face.unedited[None], decoded).in_levels
    keep, drawn = change.keep[0, 0], change.drawn[0].permute(1, 2, 0)
    preview = face.photo_at(LIVE_SIDE)
    alignment = face.alignment.scaled(preview.width / face.photo.width)
    picture = editor.paste(face, EDIT, LIVE_SIDE)
    pixels = np.array(preview)
    return in_turns(
        {
            "of a move: decode": lambda: editor.decoder.decode(face.prepared, values),
            "of a move: blend": lambda: blend(face.unedited[None], decoded).in_levels,
            "of a move: put into the photo": lambda: faces.paste(pixels, keep, drawn, alignment),
            "of a move: JPEG": lambda: data_uri(picture),
        },
        rounds=40,
    )


def moves(editor: Editor, face: Face, large: Face) -> list[Row]:
    """Whole moves: what the page sends to the browser, and the photo that is downloaded."""
    return in_turns(
        {
            f"move, photo of {face.photo.width} x {face.photo.height}": lambda: data_uri(
                editor.paste(face, EDIT, LIVE_SIDE)
            ),
            f"move, photo of 12 megapixels at {LIVE_SIDE}": lambda: data_uri(
                editor.paste(large, EDIT, LIVE_SIDE)
            ),
        },
        rounds=20,
    ) + in_turns(
        {"edit of 12 megapixels, all of them": lambda: editor.paste(large, EDIT)}, rounds=5
    )


def opening(editor: Editor, photo: Image.Image, large: Image.Image) -> list[Row]:
    """Opening a photo that is already in memory, and what that consists of."""
    runs: dict[str, Callable[[], object]] = {}
    for name, image in ((f"{photo.width} x {photo.height}", photo), ("12 megapixels", large)):
        found = editor.aligner.detect(image)[0]
        face = editor.open(image)
        runs |= {
            f"open a photo of {name}": lambda i=image: editor.open(i),
            f"of it: detect ({name})": lambda i=image: editor.aligner.detect(i),
            f"of it: align ({name})": lambda i=image, f=found: editor.aligner.align(i, f),
            f"of it: align, estimate, encode, fit ({name})": lambda f=face: editor.adopt(f),
        }
    return in_turns(runs, rounds=5)


def start_up() -> list[Row]:
    """From the command to a model that can open photos, and to a page that answers and draws."""
    load = f"from fader_demo import Editor; Editor.from_pretrained({str(MODEL)!r})"
    loaded: list[float] = []
    ready: list[float] = []
    edited: list[float] = []
    for _ in range(STARTS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", load], cwd=ROOT, check=True)
        loaded.append(time.perf_counter() - began)
        began = time.perf_counter()
        with served() as app:
            ready.append(time.perf_counter() - began)
            asyncio.run(_edit(app.address))
            edited.append(time.perf_counter() - began)
            memory = {"figure": "memory of python app.py, one photo open", "MB": app.megabytes}
    figures = {
        "start-up, an editor in Python": loaded,
        "start-up, python app.py": ready,
        "start-up, python app.py, to the first edit": edited,
    }
    return [{"figure": name, "wall ms": 1000 * median(each)} for name, each in figures.items()] + [
        memory
    ]


async def _edit(address: str) -> None:
    """Somebody opens a photo and moves a slider."""
    async with Visitor(address) as visitor:
        await visitor.open(ROOT / "assets" / "examples" / "astronaut.png")
        await visitor.draw(EDIT)


def in_turns(runs: Mapping[str, Callable[[], object]], rounds: int) -> list[Row]:
    """Median milliseconds of each, on the clock and of computing; each is run once before."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        for run in runs.values():
            run()
        for _ in range(rounds):
            for name, run in runs.items():
                began, computed = time.perf_counter(), time.process_time()
                run()
                wall[name].append(1000 * (time.perf_counter() - began))
                cpu[name].append(1000 * (time.process_time() - computed))
    return [
        {"figure": name, "wall ms": median(wall[name]), "CPU ms": median(cpu[name])}
        for name in runs
    ]


def multiply_adds(run: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops() / 2


if __name__ == "__main__":
    show(measure())
