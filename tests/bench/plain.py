"""The same edit as Gradio is plainly used: what the app is compared with.

    python -m tests.bench.plain

A gr.Slider and a gr.Image in the queue, in the default format; the model's own decoder, and the
whole photo at every move. Nothing is prepared, batched or replaced.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
from PIL import Image

from fader_demo import Editor, Face, faces
from fader_demo.blending import blend, confine
from tests.bench.served import MODEL, ROOT

MOVED = "Smiling"


def main() -> None:
    editor = Editor.from_pretrained(MODEL)
    attribute = editor.schema[MOVED]

    def open_photo(photo: str) -> tuple[Any, ...]:
        face = editor.open(Path(photo))
        return face, face.values[MOVED], face.photo

    with gr.Blocks(title="Plain", analytics_enabled=False) as page:
        face = gr.State()
        photo = gr.File(type="filepath", elem_id="photo")
        slider = gr.Slider(*attribute.slider, step=0.01, elem_id="slider")
        result = gr.Image(elem_id="result")
        opened = [face, slider, result]
        page.load(lambda: open_photo(str(ROOT / "assets/examples/astronaut.png")), None, opened)
        photo.upload(open_photo, photo, opened)
        slider.input(
            lambda face, value: draw(editor, face, value),
            [face, slider],
            result,
            trigger_mode="always_last",
        )
    page.launch(prevent_thread_lock=True, quiet=True)
    print(f"Ready: {page.local_url}", flush=True)
    page.block_thread()


@torch.inference_mode()
def draw(editor: Editor, face: Face, value: float) -> Image.Image:
    """The whole photo, drawn by the decoder as it was trained."""
    start, values = (editor.schema.table(face.values | moved) for moved in ({}, {MOVED: value}))
    decoded = editor.fader.decode(face.latent[None], editor.schema.amplify(start, values))
    unedited = face.unedited[None]
    confined = confine(unedited, decoded, editor.schema.region(start, values))
    change = blend(unedited, confined).in_levels
    keep, drawn = change.keep[0, 0], change.drawn[0].permute(1, 2, 0)
    return Image.fromarray(faces.paste(np.asarray(face.photo), keep, drawn, face.alignment))


if __name__ == "__main__":
    main()
