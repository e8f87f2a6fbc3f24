"""The folded decoder in other runtimes, on one thread: is there one that is worth its weight?

    pip install onnxruntime openvino onnx onnxscript
    python -m tests.bench.runtimes

What is not installed is left out. "grey levels off" is the largest difference to what eager PyTorch
draws. The floor is what the multiply-adds alone take, at the rate of a matrix product.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from copy import copy
from functools import partial
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn

from fader_demo import Editor, Face
from fader_demo.decoding import FoldedDecoder
from tests.bench.served import MODEL, ROOT
from tests.bench.speed import in_turns, multiply_adds
from tests.bench.table import Row, show

BATCHES = (1, 4, 16)
Decode = Callable[[], Tensor]


class Folded(nn.Module):
    """A folded decoder as exporters take it: prepared latent, values (N, attributes) -> images."""

    def __init__(self, decoder: FoldedDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, prepared: Tensor, values: Tensor) -> Tensor:
        return FoldedDecoder.decode.__wrapped__(self.decoder, prepared, values)


Runtime = Callable[[FoldedDecoder, Tensor, Tensor, Path], Decode]
"""Prepares a decode of these inputs; what it keeps on disk lies in the folder."""


def measure() -> Iterator[Row]:
    torch.set_num_threads(1)
    editor = Editor.from_pretrained(MODEL, device="cpu")
    face = editor.open(ROOT / "assets" / "examples" / "astronaut.png")
    for batch in BATCHES:
        yield from at_batch(editor, face, batch)
    for package in ("torch", "onnxruntime", "openvino"):
        yield footprint(package)


def at_batch(editor: Editor, face: Face, batch: int) -> Iterator[Row]:
    """Every runtime's decode of so many edits, and what the multiply-adds alone would take."""
    ends = editor.schema.table(face.values | {"Smiling": 1.5})
    start = editor.schema.table(face.values)
    values = torch.lerp(start, ends, torch.linspace(0.2, 1, batch)[:, None])
    prepared = face.prepared.expand(batch, *face.prepared.shape).contiguous()
    expected = editor.decoder.decode(prepared, values)
    runs: dict[str, Decode] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, runtime in RUNTIMES.items():
            place = Path(folder) / name
            place.mkdir()
            try:
                runs[name] = runtime(editor.decoder, prepared, values, place)
            except ImportError as missing:
                yield {"figure": f"{name}, batch of {batch}", "unmeasured": f"no {missing.name}"}
        square = torch.rand(1024, 1024)
        *rows, product = in_turns({**runs, "product": lambda: square @ square}, rounds=30)
    eager = rows[0]["CPU ms"]
    for row, (name, run) in zip(rows, runs.items(), strict=True):
        levels = 127.5 * (run() - expected).abs().max().item()
        times = {"x eager": eager / row["CPU ms"], "grey levels off": levels}
        yield row | {"figure": f"{name}, batch of {batch}"} | times
    count = multiply_adds(partial(editor.decoder.decode, prepared, values))
    floor = count / 1024**3 * product["CPU ms"]
    yield {"figure": f"floor, batch of {batch}", "CPU ms": floor, "x eager": eager / floor}


def footprint(package: str) -> Row:
    """What a runtime takes on disk, and to be imported."""
    row: Row = {"figure": f"{package}, installed"}
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        return row | {"unmeasured": "not installed"}
    size = sum(path.stat().st_size for file in files if (path := Path(file.locate())).is_file())
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {package}"], check=True)
    return row | {"MB": size / 2**20, "import ms": 1000 * (time.perf_counter() - began)}


def eager(decoder: FoldedDecoder, prepared: Tensor, values: Tensor, _: Path) -> Decode:
    return partial(decoder.decode, prepared, values)


def contiguous(decoder: FoldedDecoder, prepared: Tensor, values: Tensor, _: Path) -> Decode:
    """Weights, and so all features, plane by plane instead of pixel by pixel."""
    other = copy(decoder)
    other._weights = [weight.contiguous() for weight in decoder._weights]
    return partial(other.decode, prepared, values)


def bfloat16(decoder: FoldedDecoder, prepared: Tensor, values: Tensor, _: Path) -> Decode:
    def decode() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return decoder.decode(prepared, values).float()

    return decode


def compiled(decoder: FoldedDecoder, prepared: Tensor, values: Tensor, _: Path) -> Decode:
    return partial(torch.compile(Folded(decoder)), prepared, values)


def frozen(decoder: FoldedDecoder, prepared: Tensor, values: Tensor, folder: Path) -> Decode:
    """TorchScript with what it fuses and the weights in oneDNN's own layout."""
    traced = torch.jit.trace(Folded(decoder).eval(), (prepared, values))
    module = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
    torch.jit.save(traced, folder / "decoder.pt")
    return partial(module, prepared, values)


def onnx(decoder: FoldedDecoder, prepared: Tensor, values: Tensor, folder: Path) -> Decode:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(_exported(decoder, prepared, values, folder), options)
    inputs = {"prepared": prepared.numpy(), "values": values.numpy()}
    return lambda: torch.from_numpy(session.run(None, inputs)[0])


def openvino(
    precision: str, decoder: FoldedDecoder, prepared: Tensor, values: Tensor, folder: Path
) -> Decode:
    from openvino import Core

    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision}
    exported = _exported(decoder, prepared, values, folder)
    model = Core().compile_model(exported, "CPU", settings)
    inputs = {"prepared": prepared.numpy(), "values": values.numpy()}
    return lambda: torch.from_numpy(model(inputs)[0])


def _exported(decoder: FoldedDecoder, prepared: Tensor, values: Tensor, folder: Path) -> Path:
    import onnxscript  # noqa: F401 (torch's exporter needs it, and says so only in a long trace)

    path = folder / "decoder.onnx"
    names = ["prepared", "values"]
    torch.onnx.export(Folded(decoder), (prepared, values), path, input_names=names, verbose=False)
    return path


RUNTIMES: dict[str, Runtime] = {
    "eager": eager,
    "eager, contiguous": contiguous,
    "eager, bfloat16": bfloat16,
    "torch.compile": compiled,
    "TorchScript, frozen": frozen,
    "ONNX Runtime": onnx,
    "OpenVINO": partial(openvino, "f32"),
    "OpenVINO, bfloat16": partial(openvino, "bf16"),
}

if __name__ == "__main__":
    show(measure())
