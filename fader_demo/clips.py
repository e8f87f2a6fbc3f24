"""Moving pictures written to files: MP4, and for where only pictures go, GIF and WebP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from PIL import Image

from fader_demo.saving import pixels_only, replacing

CLIP_FORMATS = (".mp4", ".gif", ".webp")
"""The suffixes that `write_clip` knows."""

_CRF = 18  # of H.264: hardly to be told from the source
_WEBP_QUALITY = 85
_FRAMES_FOR_COLOURS = 8
_BT709 = 1  # as primaries and as matrix, in the numbers of ITU-T H.273
_SRGB_CURVE = 13
_LIMITED_RANGE = 1


def write_clip(frames: Iterable[Image.Image], path: Path, frames_per_second: int = 25) -> None:
    """Write RGB pictures of one size as a clip; the suffix of ``path`` says in which format.

    .mp4: H.264 that browsers play while it loads; an odd last row or column is left out.
    .gif and .webp: looping for ever. A GIF counts in hundredths of a second.
    An MP4 is encoded as the frames come. The others hold all frames in memory before they write.

    Raises ValueError for another suffix or no frames, and OSError (a full disk, a folder that is
    not there). Whatever fails, the frames among it, leaves nothing behind.
    """
    suffix = path.suffix.lower()
    if suffix not in CLIP_FORMATS:
        raise ValueError(f"A clip's name ends in {', '.join(CLIP_FORMATS)}, not {path.name!r}.")
    pictures = (pixels_only(frame) for frame in frames)
    first = next(pictures, None)
    if first is None:
        raise ValueError("A clip needs at least one frame.")
    with replacing(path) as temporary:
        if suffix == ".mp4":
            _write_mp4(first, pictures, temporary, frames_per_second)
        else:
            kind = suffix.removeprefix(".").upper()
            _write_animation(first, pictures, temporary, frames_per_second, kind)


def _write_mp4(
    first: Image.Image, rest: Iterator[Image.Image], path: Path, frames_per_second: int
) -> None:
    import av  # takes half a second, and no other format needs it

    width, height = (side // 2 * 2 for side in first.size)  # yuv420p has one colour to 2 x 2 pixels
    options = {"movflags": "faststart"}  # the index first
    with av.open(str(path.absolute()), "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", frames_per_second, options={"crf": str(_CRF)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # Players guess where colours are not named, and guess differently by size.
        stream.color_primaries = stream.colorspace = _BT709
        stream.color_trc, stream.color_range = _SRGB_CURVE, _LIMITED_RANGE
        for number, picture in enumerate(chain([first], rest)):
            frame = av.VideoFrame.from_image(picture.crop((0, 0, width, height)))
            frame = frame.reformat(
                format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
            )
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _write_animation(
    first: Image.Image, rest: Iterator[Image.Image], path: Path, frames_per_second: int, kind: str
) -> None:
    frames: Iterator[Image.Image] = chain([first], rest)
    if kind == "GIF":
        frames = iter(_in_few_colours(list(frames)))
    next(frames).save(
        path,
        kind,
        save_all=True,
        append_images=frames,
        duration=round(1000 / frames_per_second),
        loop=0,
        quality=_WEBP_QUALITY,
    )


def _in_few_colours(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """RGB frames in the 256 colours that a GIF has, the same for all and undithered.

    Colours of its own for each frame would flicker where nothing moves, and dither everywhere.
    """
    width, height = frames[0].size
    seen = frames[:: max(1, len(frames) // _FRAMES_FOR_COLOURS)]
    together = Image.new("RGB", (width, height * len(seen)))
    for number, frame in enumerate(seen):
        together.paste(frame, (0, number * height))
    palette = together.quantize(256, dither=Image.Dither.NONE)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
