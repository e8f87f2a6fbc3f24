"""Clips: every frame in order, in its colours, in files that browsers play; or no file at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from fader_demo.clips import CLIP_FORMATS, write_clip

WIDTH, HEIGHT = 97, 65  # odd, which yuv420p cannot be


def frame(level: int) -> Image.Image:
    """Orange over blue, with a grey stripe that tells one frame from the next."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:32], pixels[32:] = (220, 120, 30), (30, 60, 200)
    pixels[:, :32] = level
    return Image.fromarray(pixels)


LEVELS = [40, 90, 140, 190, 240]


def played(path: Path) -> list[Image.Image]:
    if path.suffix == ".mp4":
        with av.open(str(path)) as clip:
            return [picture.to_image() for picture in clip.decode(video=0)]
    return [picture.convert("RGB") for picture in ImageSequence.Iterator(Image.open(path))]


@pytest.mark.parametrize("suffix", CLIP_FORMATS)
def test_a_clip_shows_its_frames_in_order_and_in_their_colours(tmp_path: Path, suffix: str) -> None:
    write_clip((frame(level) for level in LEVELS), tmp_path / f"a{suffix}")
    shown = [np.asarray(picture, dtype=float) for picture in played(tmp_path / f"a{suffix}")]
    assert len(shown) == len(LEVELS)
    for level, picture in zip(LEVELS, shown, strict=True):
        assert abs(picture[10:55, 8:24].mean() - level) < 3
        assert np.abs(picture[8:24, 40:90].mean((0, 1)) - (220, 120, 30)).max() < 4
        assert np.abs(picture[40:60, 40:90].mean((0, 1)) - (30, 60, 200)).max() < 4
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_an_mp4_is_one_that_browsers_play_while_it_loads(tmp_path: Path) -> None:
    path = tmp_path / "a.MP4"
    write_clip([frame(level) for level in LEVELS], path, frames_per_second=10)
    with av.open(str(path)) as clip:
        stream = clip.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (96, 64)
        assert stream.average_rate == 10
        assert stream.codec_context.colorspace == 1  # BT.709, or players guess the colours
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_gif_and_a_webp_loop_for_ever_at_their_rate(tmp_path: Path, suffix: str) -> None:
    write_clip([frame(level) for level in LEVELS], tmp_path / f"a{suffix}", frames_per_second=25)
    with Image.open(tmp_path / f"a{suffix}") as clip:
        assert clip.size == (WIDTH, HEIGHT)
        assert clip.info["loop"] == 0
        for number in range(len(LEVELS)):
            clip.seek(number)
            clip.load()
            assert clip.info["duration"] == 40


def test_a_gif_has_colours_of_all_its_frames_and_does_not_flicker_where_nothing_moves(
    tmp_path: Path,
) -> None:
    y, x = np.mgrid[:128, :128]
    red = np.stack([x * 2, y * 2, 0 * x], axis=-1).astype(np.uint8)
    blue = red[:, :, ::-1].copy()
    blue[:, :32] = red[:, :32]
    write_clip([Image.fromarray(red), Image.fromarray(blue)], tmp_path / "a.gif")
    shown = [np.asarray(picture, dtype=float) for picture in played(tmp_path / "a.gif")]
    for picture, pixels in zip(shown, (red, blue), strict=True):
        assert np.abs(picture - pixels).mean() < 8
    assert np.array_equal(shown[0][:, :32], shown[1][:, :32])


def test_an_mp4_is_encoded_as_its_frames_come(tmp_path: Path) -> None:
    written: list[int] = []

    def frames() -> Iterator[Image.Image]:
        noise = np.random.default_rng(0)
        for _ in range(120):
            yield Image.fromarray(noise.integers(0, 255, (128, 128, 3), dtype=np.uint8))
            written.append(sum(path.stat().st_size for path in tmp_path.iterdir()))

    write_clip(frames(), tmp_path / "a.mp4")
    assert written[-1] > 200_000


@pytest.mark.parametrize("suffix", CLIP_FORMATS)
def test_frames_that_fail_leave_nothing_behind(tmp_path: Path, suffix: str) -> None:
    def frames() -> Iterator[Image.Image]:
        yield from map(frame, LEVELS)
        raise RuntimeError("no more")

    (tmp_path / f"old{suffix}").write_bytes(b"whole")
    for name in ("new", "old"):
        with pytest.raises(RuntimeError, match="no more"):
            write_clip(frames(), tmp_path / f"{name}{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [f"old{suffix}"]
    assert (tmp_path / f"old{suffix}").read_bytes() == b"whole"


@pytest.mark.parametrize("suffix", CLIP_FORMATS)
def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path: Path, suffix: str) -> None:
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).integers(0, 255, (20, 128, 128, 3), dtype=np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            write_clip(map(Image.fromarray, noise), tmp_path / f"a{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.avi", "mp4", "a.mp4.txt"])
def test_another_kind_of_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"\.mp4, \.gif, \.webp"):
        write_clip([frame(0)], tmp_path / name)


def test_a_clip_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        write_clip([], tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", CLIP_FORMATS)
def test_nothing_that_a_frame_carries_is_written(tmp_path: Path, suffix: str) -> None:
    frames = [frame(level) for level in LEVELS]
    for picture in frames:
        picture.info |= {"comment": b"where I live", "xmp": b"where I live", "duration": 7}
    write_clip(frames, tmp_path / f"a{suffix}")
    assert b"where I live" not in (tmp_path / f"a{suffix}").read_bytes()
