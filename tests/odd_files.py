"""Files that a visitor should not bring, and rare ones that they may: made in code, always alike.

``python tests/odd_files.py MODEL FOLDER`` opens every file of a folder as the editor does, and
prints a JSON line about each: in a process of its own, whose memory can be measured.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageFilter, ImageOps
from skimage import data

from fader_demo import (
    ImageTooLargeError,
    ImageTooSmallError,
    NoFaceError,
    PhotoError,
    UnreadableImageError,
)

EDIT, EITHER = "an edit", "an edit or a PhotoError"
"""What becomes of a file; or the name of the PhotoError that it is."""

UNREADABLE, TOO_SMALL, TOO_LARGE, NO_FACE = (
    error.__name__
    for error in (UnreadableImageError, ImageTooSmallError, ImageTooLargeError, NoFaceError)
)

HEAD = Image.fromarray(data.astronaut()).crop((100, 0, 350, 250))
SIDE = HEAD.width

Files = dict[str, bytes]


def write_odd_files(folder: Path) -> dict[str, str]:
    """Write them all into a folder; what is to become of each, by name."""
    expected = {}
    for outcome, files in _FILES:
        for name, content in files().items():
            (folder / name).write_bytes(content)
            expected[name] = outcome
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "link to a secret.jpg").symlink_to("/etc/passwd")
    (folder / "link to nothing.jpg").symlink_to(folder / "nothing")
    (folder / "link to itself.jpg").symlink_to(folder / "link to itself.jpg")
    special = ("folder.jpg", "pipe.jpg", *(path.name for path in folder.glob("link to *")))
    return expected | dict.fromkeys(special, UNREADABLE)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


# No images, or the remains of one


def _nothing_like_an_image() -> Files:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("photo.jpg", encoded(HEAD, "JPEG"))
    brand = struct.pack(">I4s4sI", 24, b"ftyp", b"heic", 0) + b"mif1heic"
    return {
        "empty.jpg": b"",
        "one byte.jpg": b"\xff",
        "text.jpg": b"Dear all,\n",
        "drawing.jpg": b'<svg xmlns="http://www.w3.org/2000/svg" width="400" height="400"/>',
        "page.jpg": b"<!doctype html><img src=x onerror=alert(1)>",
        "paper.jpg": b"%PDF-1.7\n1 0 obj\n",
        "program.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\n",
        "archive.jpg": archive.getvalue(),
        "apple.heic": brand + bytes(range(256)) * 40,
        "garbage.avif": brand.replace(b"heic", b"avif") + bytes(range(256)) * 40,
        "layers.psd": b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, SIDE, SIDE, 8, 3) + bytes(200),
        "icon.ico": encoded(HEAD, "ICO"),
        "old.tga": encoded(HEAD, "TGA"),
        "numbers.ppm": b"P6 " + b"9" * 5000 + b" 40 255\n",
    }


def _truncated() -> Files:
    """At every tenth."""
    return {
        f"{tenth} tenths.{format.lower()}": whole[: len(whole) * tenth // 10]
        for format in ("JPEG", "PNG", "WEBP")
        for whole in [encoded(HEAD, format)]
        for tenth in range(1, 10)
    }


# Bombs: small, and much when unpacked


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(width: int, height: int, *chunks: bytes, depth: int = 8, kind: int = 2) -> bytes:
    """A PNG of these chunks; kind: 0 grey, 2 RGB, 6 RGBA."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + _chunk(b"IEND", b"")


def _black(width: int, height: int, bytes_each: int) -> bytes:
    """The pixels of a black PNG."""
    rows = bytes((width * bytes_each + 1) * height)
    return _chunk(b"IDAT", zlib.compress(rows, 1))


def tiff(width: int, height: int, tags: dict[int, int], pixels: bytes = b"") -> bytes:
    """A grey TIFF of deflated pixels in one strip or tile; it lies in the file before its tags."""
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1} | tags
    entries = b"".join(struct.pack("<HHII", t, 4, 1, value) for t, value in sorted(tags.items()))
    start = 8 + len(pixels)
    return b"II*\0" + struct.pack("<I", start) + pixels + struct.pack("<H", len(tags)) + entries


def bombs_by_their_size() -> Files:
    webp = b"WEBPVP8L" + struct.pack("<IBI5x", 10, 0x2F, 16383 | 16383 << 14)
    jpeg = encoded(HEAD, "JPEG")
    size = jpeg.index(b"\xff\xc0") + 5
    frame = struct.pack("<BHHHHB", 0x2C, 0, 0, 9000, 9000, 0) + b"\x08\x01\x00\x00;"
    return {
        "bomb.png": png(100_000, 100_000, _chunk(b"IDAT", b"")),
        "just too large.png": png(40_000, 1_001, _chunk(b"IDAT", b"")),
        "bomb.gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + frame,
        "frame beyond the screen.gif": b"GIF89a" + struct.pack("<HHBBB", 99, 99, 0, 0, 0) + frame,
        "bomb.bmp": struct.pack("<2sIIIIiiHHI20x", b"BM", 54, 0, 54, 40, 60000, 60000, 1, 24, 0),
        "bomb.tiff": tiff(60_000, 60_000, {273: 8, 278: 60_000, 279: 0}),
        "bomb.webp": b"RIFF" + struct.pack("<I", len(webp)) + webp,
        "bomb.jpg": jpeg[:size] + struct.pack(">HH", 65500, 65500) + jpeg[size + 4 :],
        "bomb.ppm": b"P6 100000 100000 255\n",
    }


def bombs_within() -> Files:
    """Their sizes are those of photos, their insides are not."""
    inflated = zlib.compress(bytes(20_000_000))
    tile = zlib.compress(bytes(10_000 * 10_000), 1)
    tiles = {322: 10_000, 323: 10_000, 324: 8, 325: len(tile)}
    progressive = encoded(HEAD, "JPEG", progressive=True)
    last, end = progressive.rindex(b"\xff\xda"), progressive.rindex(b"\xff\xd9")
    scans = progressive[:end] + progressive[last:end] * 2000
    pixels = _black(SIDE, SIDE, 3)
    return {
        "text.png": png(SIDE, SIDE, _chunk(b"zTXt", b"a\0\0" + inflated), pixels),
        "profile.png": png(SIDE, SIDE, _chunk(b"iCCP", b"a\0\0" + inflated), pixels),
        "chunks.png": png(SIDE, SIDE, _chunk(b"noNe", b"") * 1_900_000, pixels),
        "tile.tiff": tiff(SIDE, SIDE, tiles, tile),
        "scans.jpg": scans + b"\xff\xd9",
        # Behind a comment that seems to end the image.
        "hidden scans.jpg": scans.replace(b"\xff\xda", b"\xff\xfe\0\x04\xff\xd9\xff\xda")
        + b"\xff\xd9",
    }


# Sizes


def _too_small() -> Files:
    sizes = ((1, 1), (39, 39), (39, 4000), (20_000, 20), (20, 20_000))
    return {f"{w} x {h}.png": encoded(HEAD.resize((w, h)), "PNG") for w, h in sizes}


def _small_or_long() -> Files:
    sizes = ((40, 40), (60_000, 40), (40, 60_000))
    return {f"{w} x {h}.png": encoded(HEAD.resize((w, h)), "PNG") for w, h in sizes}


def of_40_megapixels() -> Files:
    return {
        "black, 16 bit.png": png(8000, 5000, _black(8000, 5000, 2), depth=16, kind=0),
        "clear.png": png(8000, 5000, _black(8000, 5000, 4), kind=6),
    }


# Photos that can be edited, however they are stored


def _colours() -> Files:
    rgb = np.asarray(HEAD)
    deep = (rgb.astype(">u2") * 257).reshape(SIDE, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    palette = HEAD.quantize(64)
    see_through = HEAD.copy()
    see_through.putalpha(Image.linear_gradient("L").resize(HEAD.size).point(lambda a: 128 + a // 2))
    grey = HEAD.convert("L")
    return {
        "grey.jpg": encoded(grey, "JPEG"),
        "grey, 16 bit.png": encoded(Image.fromarray(np.asarray(grey).astype("<u2") * 257), "PNG"),
        "rgb, 16 bit.png": png(SIDE, SIDE, _chunk(b"IDAT", zlib.compress(rows)), depth=16),
        "floats.tiff": encoded(Image.fromarray(np.asarray(grey).astype(np.float32) / 255), "TIFF"),
        "cmyk.jpg": encoded(HEAD.convert("CMYK"), "JPEG"),
        "ycck.jpg": _ycck(),
        "grey and alpha.png": encoded(see_through.convert("LA"), "PNG"),
        "rgb and alpha.png": encoded(see_through, "PNG"),
        "rgb and alpha.webp": encoded(see_through, "WEBP"),
        "rgb and a clear colour.png": encoded(HEAD, "PNG", transparency=(255, 255, 255)),
        "palette.png": encoded(palette, "PNG"),
        "palette and a clear colour.png": encoded(palette, "PNG", transparency=0),
        "palette and alpha.png": encoded(palette, "PNG", transparency=bytes(range(128, 192))),
        "palette.bmp": encoded(palette, "BMP"),
        "rgb.ppm": encoded(HEAD, "PPM"),
        "rgb.avif": encoded(HEAD, "AVIF"),
    }


def _ycck() -> bytes:
    """CMYK as Adobe stores it: inverted, the inks as brightness and chroma."""
    inks = ImageOps.invert(HEAD).convert("YCbCr")
    planes = [ImageOps.invert(plane) for plane in inks.split()]
    jpeg = encoded(Image.merge("CMYK", [*planes, Image.new("L", HEAD.size)]), "JPEG", quality=95)
    transform = jpeg.index(b"Adobe") + 11
    return jpeg[:transform] + b"\x02" + jpeg[transform + 1 :]


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _profiles() -> Files:
    swapped = SRGB.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    profiles = {
        "sRGB": SRGB,
        "of other primaries": swapped,
        "no profile": b"no profile",
        "cut off": SRGB[:300],
        "of Lab": lab,
        "said to be of CMYK": SRGB[:16] + b"CMYK" + SRGB[20:],
        "damaged": SRGB[:200] + bytes(range(256)) + SRGB[456:],
    }
    return {
        f"profile {name}{suffix}": encoded(HEAD, format, icc_profile=profile)
        for name, profile in profiles.items()
        for suffix, format in ((".jpg", "JPEG"), (".png", "PNG"))
    }


_STORED = {  # how a camera stores a picture that this EXIF orientation makes upright
    1: [],
    2: [Image.Transpose.FLIP_LEFT_RIGHT],
    3: [Image.Transpose.ROTATE_180],
    4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE],
    6: [Image.Transpose.ROTATE_90],
    7: [Image.Transpose.TRANSVERSE],
    8: [Image.Transpose.ROTATE_270],
    9: [],
    0: [],
}


def _orientations() -> Files:
    files = {}
    for orientation, turns in _STORED.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = HEAD
        for turn in turns:
            stored = stored.transpose(turn)
        files[f"orientation {orientation}.jpg"] = encoded(stored, "JPEG", exif=exif)
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    whole = exif.tobytes()
    damaged = {
        "cut off": whole[:20],
        "no EXIF": b"Exif\0\0no EXIF",
        "of another type": whole.replace(b"\x01\x12\x00\x03", b"\x01\x12\x00\x05"),
        "without end": whole.replace(b"\x01\x0e\x00\x02", b"\x01\x0e\xff\xff"),
    }
    for name, content in damaged.items():
        files[f"EXIF {name}.jpg"] = encoded(HEAD, "JPEG", exif=content)
    return files


def _containers() -> Files:
    photo = encoded(HEAD, "JPEG")
    other = Image.new("RGB", HEAD.size, "tan")
    several: dict[str, Any] = {"save_all": True, "append_images": [other, HEAD]}
    return {
        "moving.gif": encoded(HEAD, "GIF", **several),
        "moving.webp": encoded(HEAD, "WEBP", **several),
        "moving.png": encoded(HEAD, "PNG", **several),
        "pages.tiff": encoded(HEAD, "TIFF", compression="tiff_lzw", **several),
        "two views.jpg": encoded(HEAD, "MPO", **several),
        "progressive.jpg": encoded(HEAD, "JPEG", progressive=True),
        "garbage behind.jpg": photo + bytes(range(256)) * 200,
        "garbage behind.png": encoded(HEAD, "PNG") + b"PK\x03\x04" + bytes(9999),
        "photo.jpg.exe": photo,
        "png.jpg": encoded(HEAD, "PNG"),
        "no suffix": photo,
        "фото 写真 👩‍🚀.jpg": photo,
        "<img src=x onerror=alert(1)> %s {0} '; --.jpg": photo,
        "long " + 246 * "x" + ".jpg": photo,
    }


def _spoilt() -> Files:
    photo = encoded(HEAD, "JPEG")
    middle = len(photo) // 2
    return {
        "garbage within.jpg": photo[:middle] + bytes(range(1, 255)) + photo[middle + 254 :],
        "zeros within.png": (lambda p: p[:-5000] + bytes(3000) + p[-2000:])(encoded(HEAD, "PNG")),
        "arithmetic.jpg": photo.replace(b"\xff\xc0", b"\xff\xc9", 1),
        "lossless.jpg": photo.replace(b"\xff\xc0", b"\xff\xc3", 1),
        "one bit.png": encoded(HEAD.convert("1"), "PNG"),
    }


# Faces, and none


def _faces() -> Files:
    tiled = Image.new("RGB", (5 * SIDE, 5 * SIDE))
    for i in range(25):
        tiled.paste(HEAD, (i % 5 * SIDE, i // 5 * SIDE))
    return {
        "many faces.jpg": encoded(tiled, "JPEG"),
        "upside down.png": encoded(HEAD.rotate(180), "PNG"),
        "lying.png": encoded(HEAD.rotate(90), "PNG"),
        "lying the other way.png": encoded(HEAD.rotate(270), "PNG"),
        "mirrored.png": encoded(ImageOps.mirror(HEAD), "PNG"),
        "filling.png": encoded(HEAD.crop((85, 80, 162, 165)).resize((1600, 1766)), "PNG"),
        "painted.png": encoded(ImageOps.posterize(HEAD, 2), "PNG"),
    }


def _doubtful_faces() -> Files:
    return {
        "half a face.png": encoded(HEAD.crop((122, 0, 250, 250)), "PNG"),
        "drawn.png": encoded(ImageOps.invert(HEAD.filter(ImageFilter.FIND_EDGES)), "PNG"),
        "negative.png": encoded(ImageOps.invert(HEAD), "PNG"),
    }


def _no_faces() -> Files:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    crowd = Image.new("RGB", (1200, 1200), "tan")
    crowd.paste(HEAD.resize((60, 60)), (500, 600))
    return {
        "black.png": encoded(Image.new("RGB", (400, 300)), "PNG"),
        "white.png": encoded(Image.new("RGB", (400, 300), "white"), "PNG"),
        "noise.png": encoded(Image.fromarray(noise), "PNG"),
        "gradient.png": encoded(Image.linear_gradient("L"), "PNG"),
        "far away.png": encoded(crowd, "PNG"),
    }


_FILES: list[tuple[str, Callable[[], Files]]] = [
    (UNREADABLE, _nothing_like_an_image),
    (UNREADABLE, _truncated),
    (TOO_LARGE, bombs_by_their_size),
    (UNREADABLE, bombs_within),
    (TOO_SMALL, _too_small),
    (EITHER, _small_or_long),
    (NO_FACE, of_40_megapixels),
    (EDIT, _colours),
    (EDIT, _profiles),
    (EDIT, _orientations),
    (EDIT, _containers),
    (EITHER, _spoilt),
    (EDIT, _faces),
    (EITHER, _doubtful_faces),
    (NO_FACE, _no_faces),
]


# Opening them all


def opened(model: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """What became of each file, in how many seconds of computing."""
    import torch

    from fader_demo import Editor

    torch.set_num_threads(1)
    editor = Editor.from_pretrained(model, device="cpu")
    attribute = editor.schema[0]

    def outcome(photo: Path) -> dict[str, Any]:
        began = time.process_time()
        try:
            editor.paste(editor.open(photo), {attribute.name: attribute.slider[1]}, max_side=768)
            became, message = EDIT, ""
        except PhotoError as error:
            became, message = type(error).__name__, str(error)
        except Exception as error:
            became, message = "a fault", repr(error)
        return {"became": became, "message": message, "seconds": time.process_time() - began}

    for name in sorted(os.listdir(folder)):
        yield {"name": name, **outcome(folder / name), "peak": peak_bytes()}


def peak_bytes() -> int:
    """The most memory that this process has held."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    for line in opened(Path(sys.argv[1]), Path(sys.argv[2])):
        print(json.dumps(line), flush=True)
