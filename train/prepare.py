"""From a folder of photographs to aligned faces that training reads straight from disk.

    python -m train.prepare --celeba DIR --out DIR --size 128
    python -m train.prepare --photos DIR --attributes FILE.csv --out DIR --size 128

Faces are found and framed by `fader_demo.faces`, the code that frames a visitor's upload. What it
writes:

    images.npy     uint8 (N, size, size, 3), read by np.load(..., mmap_mode="r")
    table.csv      one row per image, in the same order: id, split, person, attributes
    dataset.json   size, framing template, counts, attribute names
    no_face.txt    ids in which no face was found
    unreadable.txt ids that could not be read, and why

Images stream to disk one by one, so memory does not grow with the data set. A run that was killed
goes on where it stopped when started again with the same arguments.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import multiprocessing
import multiprocessing.context
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fader_demo.faces import TEMPLATE, Detection, FaceAligner
from fader_demo.photos import PhotoError, read_photo
from train.files import write_atomically

SPLITS = ("train", "validation", "test")

_HEADER_BYTES = 128  # of images.npy; numpy pads its header to a multiple of 64
_CHUNK = 16  # photos that a worker takes at a time
_CHECKPOINT = 512  # photos between two checkpoints; what a kill costs at most
_BYSTANDER = 0.4  # faces narrower than this share of the largest are not the subject


class PreparationError(Exception):
    """The data set cannot be prepared. The message names the file, the line and the remedy."""


class Example(NamedTuple):
    """One annotated photograph.

    Attributes:
        id: its path within the photo folder, unique.
        split: one of `SPLITS`.
        person: who it shows; empty when unknown.
    """

    id: str
    split: str
    person: str


@dataclass(frozen=True, eq=False)
class Source:
    """An annotated set of photographs.

    Attributes:
        kind: "celeba" or "photos".
        folder: where the photos are.
        attributes: A names.
        examples: N photos, ordered by id.
        values: (N, A): 0 and 1, or the attribute's own unit.
    """

    kind: str
    folder: Path
    attributes: tuple[str, ...]
    examples: list[Example]
    values: NDArray[np.float64]


@dataclass
class Progress:
    """How far a run has come, and for which input (`fingerprint`)."""

    fingerprint: str
    done: int = 0
    kept: list[int] = field(default_factory=list)
    no_face: list[str] = field(default_factory=list)
    unreadable: list[list[str]] = field(default_factory=list)


# Reading annotations


def read_celeba(folder: Path) -> Source:
    """Read CelebA in the layout it ships in; identity_CelebA.txt may be missing.

    Labels -1 and 1 become 0 and 1.

    Raises:
        PreparationError: a file is missing or malformed.
    """
    photos = _existing_folder(folder / "img_align_celeba")
    attributes, names, values = _read_celeba_attributes(folder / "list_attr_celeba.txt")
    partition = _read_pairs(folder / "list_eval_partition.txt")
    identity = folder / "identity_CelebA.txt"
    persons = _read_pairs(identity) if identity.exists() else {}
    examples = []
    for name in names:
        if name not in partition:
            raise PreparationError(
                f"{folder / 'list_eval_partition.txt'} has no line for {name}, which "
                "list_attr_celeba.txt lists. Take both files from the same release."
            )
        line, part = partition[name]
        if part not in ("0", "1", "2"):
            raise PreparationError(
                f"{folder / 'list_eval_partition.txt'}, line {line}: the partition is {part!r}; "
                "write 0 (train), 1 (validation) or 2 (test)."
            )
        person = persons[name][1] if name in persons else ""
        examples.append(Example(name, SPLITS[int(part)], person))
    return _ordered(Source("celeba", photos, attributes, examples, values))


def _read_celeba_attributes(path: Path) -> tuple[tuple[str, ...], list[str], NDArray[np.float64]]:
    """A attribute names, N image names, and (N, A) labels as 0 and 1."""
    lines = _read_lines(path)
    announced, header = next(lines, "").strip(), next(lines, "").split()
    if not announced.isdigit():
        raise PreparationError(
            f"{path}, line 1: expected the number of images, then a line of attribute names. "
            "Use the list_attr_celeba.txt that CelebA ships."
        )
    if not header or len(set(header)) < len(header):
        raise PreparationError(
            f"{path}, line 2: expected attribute names, each of them once. Correct the line."
        )
    labels: dict[str, NDArray[np.bool_]] = {}
    for number, text in enumerate(lines, start=3):
        if not text.strip():
            continue
        name, *cells = text.split()
        if len(cells) != len(header) or not set(cells) <= {"-1", "1"}:
            raise PreparationError(
                f"{path}, line {number}: expected an image name and {len(header)} labels of -1 or "
                f"1, found {len(cells)} labels: {text.strip()[:60]!r}. Correct or delete the line."
            )
        if name in labels:
            raise PreparationError(
                f"{path}, line {number}: {name} is listed twice. Delete one of the lines."
            )
        labels[name] = np.array(cells) == "1"
    if len(labels) != int(announced) or not labels:
        raise PreparationError(
            f"{path}, line 1: {announced} images are announced but {len(labels)} are listed. "
            "The file seems incomplete; copy it again, or correct the number."
        )
    return tuple(header), list(labels), np.array(list(labels.values()), dtype=np.float64)


def _read_pairs(path: Path) -> dict[str, tuple[int, str]]:
    """From lines "name value": by name, the line's number and the value."""
    pairs = {}
    for number, text in enumerate(_read_lines(path), start=1):
        if not text.strip():
            continue
        cells = text.split()
        if len(cells) != 2:
            raise PreparationError(
                f"{path}, line {number}: expected an image name and one value, found "
                f"{text.strip()[:60]!r}. Correct or delete the line."
            )
        pairs[cells[0]] = (number, cells[1])
    return pairs


def read_photos(folder: Path, annotations: Path) -> Source:
    """Read a folder of photos and a CSV file that describes them.

    The CSV has a column `file` (paths within the folder), a column of numbers for each attribute,
    and optionally `split` (train, validation, test) and `person`. A column of -1, 0 and 1 that has
    a -1 in it becomes 0, 0.5 and 1; all others are taken as they are. Rows without a split get one
    by `assign_split`, from the person if known and else from the file's name.

    Raises:
        PreparationError: a file is missing or malformed.
    """
    _existing_folder(folder)
    reader = csv.DictReader(_read_lines(annotations), strict=True)
    header = _csv_header(reader, annotations)
    attributes = tuple(name for name in header if name not in ("file", "split", "person"))
    if "file" not in header or not attributes or len(set(header)) < len(header):
        raise PreparationError(
            f"{annotations}, line 1: expected a column 'file' and a column for each attribute, "
            f"each name once; found {', '.join(header) or 'nothing'}. Correct the header."
        )
    rows: dict[str, tuple[str, str, list[float]]] = {}
    for number, row in _csv_rows(reader, annotations):
        name = row["file"]
        if not name or name in rows:
            raise PreparationError(
                f"{annotations}, line {number}: the file {name!r} is "
                f"{'listed twice' if name else 'not named'}. Give each photo one line."
            )
        person = row.get("person", "")
        split = row.get("split", "") or assign_split(person or name)
        if split not in SPLITS:
            raise PreparationError(
                f"{annotations}, line {number}: the split is {split!r}; write one of "
                f"{', '.join(SPLITS)}, or leave it empty."
            )
        numbers = [_number(row[key], key, annotations, number) for key in attributes]
        rows[name] = (split, person, numbers)
    values = _labels_from_zero(np.array([row[2] for row in rows.values()]))
    examples = [Example(name, split, person) for name, (split, person, _) in rows.items()]
    return _ordered(Source("photos", folder, attributes, examples, values))


def _ordered(source: Source) -> Source:
    """The same source, ordered by id."""
    order = sorted(range(len(source.examples)), key=lambda index: source.examples[index].id)
    examples = [source.examples[index] for index in order]
    return replace(source, examples=examples, values=source.values[order])


def _csv_header(reader: csv.DictReader[str], path: Path) -> list[str]:
    try:
        return list(reader.fieldnames or [])
    except csv.Error as error:
        raise _invalid_csv(path, 1, error) from error


def _invalid_csv(path: Path, line: int, error: csv.Error) -> PreparationError:
    return PreparationError(
        f"{path}, line {line}: not valid CSV ({error}). Check its quotation marks."
    )


def _csv_rows(reader: csv.DictReader[str], path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and stripped cells of each row."""
    empty = True
    try:
        for row in reader:
            if None in row or None in row.values():
                raise PreparationError(
                    f"{path}, line {reader.line_num}: expected {len(reader.fieldnames or [])} "
                    "cells, as in the header. Correct or delete the line."
                )
            empty = False
            yield reader.line_num, {key: cell.strip() for key, cell in row.items()}
    except csv.Error as error:
        raise _invalid_csv(path, reader.line_num + 1, error) from error
    if empty:
        raise PreparationError(f"{path}, line 2: no photo is listed. Write one line for each.")


def _number(cell: str, attribute: str, path: Path, line: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise PreparationError(
            f"{path}, line {line}: {attribute} is {cell!r}, not a number. Write 0 or 1, or the "
            "value in the attribute's own unit."
        )
    return value


def _labels_from_zero(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns of -1, 0 and 1 that have a -1 mapped to 0, 0.5 and 1; (rows, attributes)."""
    signed = np.isin(table, (-1, 0, 1)).all(axis=0) & (table == -1).any(axis=0)
    return np.where(signed, (table + 1) / 2, table)


def assign_split(key: str) -> str:
    """A split from a name: 90 % train, 5 % validation, 5 % test; always the same for a name."""
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    return "train" if share < 0.90 else "validation" if share < 0.95 else "test"


def _existing_folder(path: Path) -> Path:
    if not path.is_dir():
        raise PreparationError(f"There is no folder {path}. Check the path given.")
    return path


def _read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file, one by one, ends included."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from file
    except FileNotFoundError as error:
        raise PreparationError(f"There is no file {path}. Check the path given.") from error
    except UnicodeDecodeError as error:
        raise PreparationError(
            f"{path}, line {_undecodable_line(path)}: not UTF-8 text. Save the file as UTF-8."
        ) from error
    except OSError as error:
        raise PreparationError(f"{path} cannot be read: {error.strerror}.") from error


def _undecodable_line(path: Path) -> int:
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


# Aligning


Outcome = tuple[bytes | None, str]
"""The aligned face's pixels, or None and why it cannot be read; None and "" mean no face."""


def subject(faces: Sequence[Detection], width: int, height: int) -> Detection:
    """The face that a training photo is of: the one nearest its middle, bystanders apart."""
    large = [face for face in faces if face.area >= _BYSTANDER**2 * faces[0].area]
    return min(large, key=lambda f: np.hypot(f.center[0] - width / 2, f.center[1] - height / 2))


def align_photo(path: Path, aligner: FaceAligner) -> Outcome:
    """Align the subject of one photo."""
    try:
        photo = read_photo(path)
        faces = aligner.detect(photo)
        if not faces:
            return None, ""
        aligned, _ = aligner.align(photo, subject(faces, *photo.size))
    except PhotoError as error:
        return None, str(error)
    except (RuntimeError, IndexError, ValueError) as error:  # one odd photo must not end the run
        return None, f"{type(error).__name__}: {error}".replace("\n", " ")
    return aligned.tobytes(), ""


def _start_worker() -> None:
    import torch

    torch.set_num_threads(1)  # one worker a core: more threads would only get in each other's way
    # oneDNN keeps a compiled kernel for every shape it meets, and each photo brings new ones: it
    # is no faster here and takes hundreds of megabytes.
    torch.backends.mkldnn.set_flags(False)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Without this, a killed run would leave its workers waiting for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _worker_processes() -> multiprocessing.context.BaseContext:
    """Workers that share the memory of the libraries they import, where the system can do that."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["facenet_pytorch", "fader_demo.faces"])
    return context


def _align_photos(paths: Sequence[Path], size: int) -> list[Outcome]:
    aligner = FaceAligner(size)
    return [align_photo(path, aligner) for path in paths]


def align_all(paths: Sequence[Path], size: int, workers: int) -> Iterator[Outcome]:
    """Align photos in parallel; outcomes come in the order of the paths, a few chunks ahead.

    Raises:
        PreparationError: a worker died.
    """
    pool = ProcessPoolExecutor(workers, _worker_processes(), initializer=_start_worker)
    pending: deque[Future[list[Outcome]]] = deque()
    try:
        for start in range(0, len(paths), _CHUNK):
            pending.append(pool.submit(_align_photos, paths[start : start + _CHUNK], size))
            if len(pending) > 3 * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except BrokenProcessPool as error:
        raise PreparationError(
            "A worker process was killed, perhaps for want of memory. Start again with --workers 1;"
            " the work done is kept."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# Writing


def prepare(source: Source, out: Path, size: int, workers: int, progress_bar: bool = True) -> dict:
    """Align every photo of `source` into the folder `out`; goes on where a killed run stopped.

    Returns:
        What dataset.json holds.

    Raises:
        PreparationError: `out` holds something else, or there is not one face in the photos.
    """
    fingerprint = _fingerprint(source, size)
    finished = out / "dataset.json"
    if finished.exists():
        description: dict = json.loads(finished.read_text(encoding="utf-8"))
        _require_same(description.get("fingerprint"), fingerprint, out)
        return description
    out.mkdir(parents=True, exist_ok=True)
    progress = _load_progress(out, fingerprint)
    _align_into(source, out, size, workers, progress, progress_bar)
    if not progress.kept:
        reason = f" The first: {progress.unreadable[0][1]}" if progress.unreadable else ""
        raise PreparationError(
            f"No face was found in any of {len(source.examples)} photos in {source.folder}, of "
            f"which {len(progress.unreadable)} could not be read. Check that folder.{reason}"
        )
    return _finish(source, out, size, progress)


def _align_into(
    source: Source, out: Path, size: int, workers: int, progress: Progress, progress_bar: bool
) -> None:
    """Append the faces not done yet to the partial image file, with a checkpoint now and then."""
    bytes_per_image = size * size * 3
    partial = out / "images.partial"
    with open(partial, "r+b" if partial.exists() else "w+b") as file:
        file.truncate(_HEADER_BYTES + len(progress.kept) * bytes_per_image)
        file.seek(0, os.SEEK_END)
        todo = source.examples[progress.done :]
        outcomes = align_all([source.folder / example.id for example in todo], size, workers)
        bar = tqdm(
            outcomes,
            total=len(source.examples),
            initial=progress.done,
            unit="photo",
            desc="Aligning",
            mininterval=1.0,
            disable=not progress_bar,
        )
        for example, (pixels, reason) in zip(todo, bar, strict=True):
            if pixels is not None:
                file.write(pixels)
                progress.kept.append(progress.done)
            elif reason:
                progress.unreadable.append([example.id, reason])
            else:
                progress.no_face.append(example.id)
            progress.done += 1
            if progress.done % _CHECKPOINT == 0:
                _checkpoint(file, out, progress)
        _checkpoint(file, out, progress)


def _checkpoint(file: BinaryIO, out: Path, progress: Progress) -> None:
    """Make the images durable first, then say that they are there."""
    file.flush()
    os.fsync(file.fileno())
    write_atomically(out / "progress.json", json.dumps(asdict(progress)))


def _load_progress(out: Path, fingerprint: str) -> Progress:
    path, partial, images = out / "progress.json", out / "images.partial", out / "images.npy"
    if path.exists() and images.exists():  # killed between the last two steps of _finish
        os.replace(images, partial)
    if not path.exists() or not partial.exists():
        return Progress(fingerprint)
    try:
        progress = Progress(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise PreparationError(f"{path} is damaged. Delete the folder {out}.") from error
    _require_same(progress.fingerprint, fingerprint, out)
    return progress


def _require_same(found: str | None, expected: str, out: Path) -> None:
    if found != expected:
        raise PreparationError(
            f"{out} holds faces prepared from other photos, annotations or settings. Delete that "
            "folder, or choose another with --out."
        )


def _finish(source: Source, out: Path, size: int, progress: Progress) -> dict:
    """Write the header and all small files; dataset.json comes last and says that all is there."""
    kept = [source.examples[index] for index in progress.kept]
    partial = out / "images.partial"
    with open(partial, "r+b") as file:
        file.write(_npy_header((len(kept), size, size, 3)))
        file.flush()
        os.fsync(file.fileno())
    write_atomically(out / "table.csv", _table(source, progress.kept))
    write_atomically(out / "no_face.txt", "".join(f"{name}\n" for name in progress.no_face))
    reasons = "".join(f"{name}\t{reason}\n" for name, reason in progress.unreadable)
    write_atomically(out / "unreadable.txt", reasons)
    description = {
        "source": source.kind,
        "size": size,
        "count": len(kept),
        "splits": {split: sum(e.split == split for e in kept) for split in SPLITS},
        "without_face": len(progress.no_face),
        "unreadable": len(progress.unreadable),
        "attributes": list(source.attributes),
        "template": {name: list(point) for name, point in TEMPLATE.items()},
        "fingerprint": progress.fingerprint,
    }
    os.replace(partial, out / "images.npy")
    write_atomically(out / "dataset.json", json.dumps(description, indent=2) + "\n")
    (out / "progress.json").unlink(missing_ok=True)
    return description


def _table(source: Source, kept: Sequence[int]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "split", "person", *source.attributes])
    for index in kept:
        values = [f"{value:.9g}" for value in source.values[index]]
        writer.writerow([*source.examples[index], *values])
    return text.getvalue()


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """The 128 bytes that make a file of raw uint8 pixels an .npy file."""
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        text, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    header = text.getvalue()
    if len(header) != _HEADER_BYTES:
        raise RuntimeError(f"the .npy header has {len(header)} bytes, not {_HEADER_BYTES}")
    return header


def _fingerprint(source: Source, size: int) -> str:
    """Tells whether two runs would write the same thing: annotations, size and framing."""
    digest = hashlib.sha256(repr((size, sorted(TEMPLATE.items()), source.attributes)).encode())
    for example in source.examples:
        digest.update(repr(tuple(example)).encode())
    digest.update(np.ascontiguousarray(source.values).tobytes())
    return digest.hexdigest()[:32]


# The command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, or 2 with a message on standard error."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.photos and not options.attributes:
        parser.error("--photos needs --attributes FILE.csv")
    try:
        source = (
            read_celeba(options.celeba)
            if options.celeba
            else read_photos(options.photos, options.attributes)
        )
        description = prepare(source, options.out, options.size, options.workers)
    except PreparationError as error:
        print(f"train.prepare: {error}", file=sys.stderr)
        return 2
    print(
        f"{description['count']} faces of {options.size} pixels in {options.out} "
        f"({description['without_face']} photos without a face, "
        f"{description['unreadable']} unreadable)"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train.prepare", description="Align the faces of a data set for training."
    )
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument("--celeba", type=Path, metavar="DIR", help="CelebA as it ships")
    origin.add_argument("--photos", type=Path, metavar="DIR", help="a folder of photos")
    parser.add_argument("--attributes", type=Path, metavar="FILE.csv", help="with --photos")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument("--size", type=_positive, default=128, help="side in pixels (128)")
    parser.add_argument(
        "--workers", type=_positive, default=os.cpu_count() or 1, help="processes (one a core)"
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
