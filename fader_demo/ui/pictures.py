"""Images on the page. They travel inside the event's answer, as data URIs.

That saves the browser a second request for every slider move, and nothing a visitor looks at is
written to the server's disk.
"""

from __future__ import annotations

import base64
import io

import gradio as gr
from PIL import Image

LIVE_SIDE = 768
"""Longest side in pixels of a picture shown while sliders move; the download has them all."""

_JPEG_QUALITY = 90


def data_uri(image: Image.Image) -> str:
    """An image as a JPEG that an <img> can show."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def picture(
    name: str, alt: str, caption: str = "", source: str = "", scrolls: bool = False
) -> gr.HTML:
    """A framed picture; its value is a data URI, or empty. source: its first value.

    caption: written on the picture, if anything. name, caption, alt: plain text, not markup.
    scrolls: where it is too wide for the page, it keeps its size and can be scrolled.
    """
    label = f"<figcaption>{caption}</figcaption>" if caption else ""
    return gr.HTML(
        value=source,
        html_template=(
            f'<div class="frame" {"tabindex=0" if scrolls else ""}>'
            f'<figure class="picture"><img alt="{alt}" hidden>{label}</figure></div>'
        ),
        js_on_load=_SHOW,
        apply_default_css=False,
        elem_id=name,
    )


# Not "${value}" in the template: that would parse and decode every picture twice.
_SHOW = """
const image = element.querySelector("img");
image.addEventListener("load", () => {
  const ratio = image.naturalWidth / image.naturalHeight;
  element.querySelector("figure").style.setProperty("--ratio", ratio);
});
const show = () => {
  image.hidden = !props.value;
  if (props.value) image.src = props.value;
};
watch("value", show);
show();
"""
