"""The command line: edited photos, strips, grids and clips of any number of photos."""

# torch and all that needs it is imported where it is used, so that --help answers at once.

from __future__ import annotations

import argparse
import glob
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from fader_demo.clips import CLIP_FORMATS, write_clip
from fader_demo.saving import PICTURE_FORMATS, save_picture

if TYPE_CHECKING:
    from fader_demo.attributes import Attribute, AttributeSchema
    from fader_demo.editor import Editor, Face
    from fader_demo.settings import Settings

MODEL = Path(__file__).parent.parent / "assets" / "faces"
"""The model that is used unless --model names another."""

PHOTO_SUFFIXES = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Files of a folder that are taken for photos."""

CLIP_SIDES = {"mp4": 1080, "webp": 720, "gif": 360}
"""Long side of a clip in pixels at most: what its format carries in a file of some megabytes."""

CLIP_FRAMES = 80
"""Of a clip, there and back: 3.2 seconds. Even, so that one of them stands at the far stop."""

MOST_STRENGTHS = 25

Values = dict[str, float]


@dataclass(frozen=True)
class Task:
    """What is made of each photo.

    ending: of a file's name, between the photo's own name and the suffix.
    draw: writes the file of a photo's chosen faces: one, or all for `edit --face all`.
    """

    ending: str
    draw: Callable[[Sequence[Face], Path], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status.

    0: all done; 1: some photos failed, each with a line on standard error; 2: wrong usage, of which
    argparse raises its part as SystemExit.
    """
    options = _parser().parse_args(arguments)
    try:
        work = options.prepare(options)
    except (ValueError, OSError) as error:  # ModelError, SchemaError and SettingsError among them
        print(f"python -m fader_demo: error: {error}", file=sys.stderr)
        return 2
    return work()


def _prepare_attributes(options: argparse.Namespace) -> Callable[[], int]:
    schema = _editor(options).schema

    def show() -> int:
        rows = [("NAME", "KIND", "VALUES", "LABEL")]
        rows += [(a.name, a.kind, _span(a), a.label) for a in schema]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(map(str.ljust, row, widths)).rstrip())
        return 0

    return show


def _prepare_photos(options: argparse.Namespace) -> Callable[[], int]:
    """Check all that can be wrong before the first photo is opened. Raises ValueError, OSError."""
    photos = find_photos(options.photos)
    editor = _editor(options)
    values, detail = _where_sliders_stand(options, editor.schema)
    task: Task = options.task(options, editor, values, detail)
    targets = name_targets(photos, options.out, f"-{task.ending}.{options.format}")
    options.out.mkdir(parents=True, exist_ok=True)

    def work() -> int:
        failed = 0
        bar = tqdm(zip(photos, targets, strict=True), total=len(photos), unit="photo", disable=None)
        for photo, target in bar:
            try:
                task.draw(_open(editor, photo, options.face), target)
            except Exception as error:  # one odd photo must not end the work on the others
                failed += 1
                reason = " ".join(str(error).split()) or type(error).__name__
                tqdm.write(f"{photo}: {reason}", file=sys.stderr)
        print(f"{len(photos) - failed} of {len(photos)} written to {options.out}")
        return 1 if failed else 0

    return work


def find_photos(inputs: Iterable[str]) -> list[Path]:
    """The files that are named: themselves, by their folder, or by a pattern (``*``, ``**``).

    A folder gives the images in it, sorted, without those in folders of its own or whose names
    begin with a dot. Each file is taken once. Raises ValueError if there is nothing under a name.
    """
    photos: dict[Path, Path] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            found = [p for p in sorted(path.iterdir()) if _looks_like_a_photo(p)]
        elif path.is_file():
            found = [path]
        else:
            found = [p for p in map(Path, sorted(glob.glob(text, recursive=True))) if p.is_file()]
        if not found:
            raise ValueError(f"No photos were found at {text}.")
        for photo in found:
            photos.setdefault(photo.resolve(), photo)
    return list(photos.values())


def _looks_like_a_photo(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return not hidden and path.suffix.lower() in PHOTO_SUFFIXES and path.is_file()


def name_targets(photos: Sequence[Path], folder: Path, ending: str) -> list[Path]:
    """A file in ``folder`` for each photo: its stem and ``ending``, the same in every run.

    Photos that share a stem are numbered from the second on. Raises ValueError where a photo would
    be overwritten.
    """
    stems = {photo.stem.casefold() for photo in photos}  # some file systems do not tell cases apart
    used: set[str] = set()
    targets = []
    for photo in photos:
        stem = photo.stem
        if stem.casefold() in used:
            numbered = (f"{photo.stem}-{number}" for number in count(2))
            stem = next(name for name in numbered if name.casefold() not in used | stems)
        used.add(stem.casefold())
        targets.append(folder / f"{stem}{ending}")
    originals = {photo.resolve() for photo in photos}
    for target in targets:
        if target.resolve() in originals:
            raise ValueError(
                f"{target} is one of the photos and would be overwritten: give another folder "
                "with --out."
            )
    return targets


# Reading what was asked for


def _editor(options: argparse.Namespace) -> Editor:
    from fader_demo.editor import Editor

    return Editor.from_pretrained(options.model)


def _open(editor: Editor, photo: Path, number: int | None) -> list[Face]:
    """A photo's face by its number, counted from 1, or all its faces for None."""
    face = editor.open(photo)
    faces = len(face.found)
    if number is None:
        return [editor.choose(face, index) for index in range(faces)]
    if number > faces:
        raise ValueError(f"There is no face {number}: {faces} found.")
    return [editor.choose(face, number - 1)]


def _where_sliders_stand(
    options: argparse.Namespace, schema: AttributeSchema
) -> tuple[Values, float]:
    """The values and the detail of --settings, with those of --set and --detail over them."""
    from fader_demo.settings import Settings

    settings = _read_settings(options.settings, schema) if options.settings else Settings({})
    values = schema.numbers(settings.values)
    for name, text in options.set:
        values[name] = _value(schema[name], text)
    return values, settings.detail if options.detail is None else options.detail


def _read_settings(path: Path, schema: AttributeSchema) -> Settings:
    """What the model can do of a settings file; what it cannot is said on standard error."""
    from fader_demo.settings import MAX_CHARACTERS, Settings

    try:
        with path.open(encoding="utf-8-sig") as file:
            settings = Settings.from_json(file.read(MAX_CHARACTERS + 1))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    known, unknown = settings.for_schema(schema)
    if unknown:
        names = ", ".join(unknown)
        print(f"{path}: left out, since the model does not know it: {names}", file=sys.stderr)
    return known


def _value(attribute: Attribute, text: str) -> float:
    """A number, or the name of a choice. Raises SchemaError."""
    if text in attribute.choices:
        return attribute.number(text)
    try:
        return attribute.number(float(text))
    except ValueError as error:
        if attribute.kind == "categorical":
            return attribute.number(text)  # whose error names the choices
        raise ValueError(f"{attribute.name} needs a number, not {text!r}.") from error


def _span(attribute: Attribute) -> str:
    """What values an attribute takes, in words."""
    if attribute.kind == "categorical":
        return ", ".join(attribute.choices)
    low, high = attribute.slider
    return f"{low:g} to {high:g} {attribute.unit}".rstrip()


def _for_file(name: str) -> str:
    """An attribute's name as part of a file's."""
    return re.sub(r"[^\w-]", "-", name)


# The commands


def _edit(options: argparse.Namespace, editor: Editor, values: Values, detail: float) -> Task:
    if not values:
        raise ValueError("Nothing is edited: give --set NAME=VALUE or --settings FILE.json.")

    def draw(faces: Sequence[Face], target: Path) -> None:
        picture = editor.paste(faces[0], values, detail=detail)
        for face in faces[1:]:
            picture = editor.paste(face.on(picture), values, detail=detail)
        save_picture(picture, target, PICTURE_FORMATS[options.format], faces[0].profile)

    return Task("edited", draw)


def _strip(options: argparse.Namespace, editor: Editor, values: Values, detail: float) -> Task:
    attribute: Attribute = editor.schema[options.attribute]
    strengths = (
        [_value(attribute, text) for text in options.strengths]
        if options.strengths
        else attribute.spread(options.count)
    )

    def draw(faces: Sequence[Face], target: Path) -> None:
        picture = editor.strip(faces[0], attribute.name, strengths, values, detail=detail)
        save_picture(picture, target, PICTURE_FORMATS[options.format])

    return Task(_for_file(attribute.name), draw)


def _grid(options: argparse.Namespace, editor: Editor, values: Values, detail: float) -> Task:
    rows, columns = editor.schema[options.rows], editor.schema[options.columns]
    if rows == columns:
        raise ValueError(f"A grid needs two attributes, not {rows.name} twice.")
    down, across = rows.spread(options.count), columns.spread(options.count)

    def draw(faces: Sequence[Face], target: Path) -> None:
        picture = editor.grid(
            faces[0], rows.name, down, columns.name, across, values, detail=detail
        )
        save_picture(picture, target, PICTURE_FORMATS[options.format])

    return Task(f"{_for_file(rows.name)}-{_for_file(columns.name)}", draw)


def _sweep(options: argparse.Namespace, editor: Editor, values: Values, detail: float) -> Task:
    by_files = options.from_settings or options.to_settings
    if bool(options.attribute) == bool(by_files):
        raise ValueError("Give --attribute, or --from-settings and --to-settings.")
    if by_files and (options.low or options.high):
        raise ValueError("--from and --to go with --attribute.")
    if by_files:
        start, end, detail = _stops_of_files(options, editor.schema, values, detail)
    else:
        attribute: Attribute = editor.schema[options.attribute]
        start, end = (values | {attribute.name: value} for value in _ends(attribute, options))

    def draw(faces: Sequence[Face], target: Path) -> None:
        side = CLIP_SIDES[options.format]
        write_clip(editor.loop(faces[0], start, end, CLIP_FRAMES, side, detail), target)

    return Task("sweep" if by_files else _for_file(attribute.name), draw)


def _ends(attribute: Attribute, options: argparse.Namespace) -> tuple[float, float]:
    strengths = attribute.spread(2)
    low = _value(attribute, options.low) if options.low else strengths[0]
    high = _value(attribute, options.high) if options.high else strengths[-1]
    return low, high


def _stops_of_files(
    options: argparse.Namespace, schema: AttributeSchema, values: Values, detail: float
) -> tuple[Values, Values, float]:
    """Both stops of a sweep and its detail; the photo as it is, where a file is not given."""
    stops = []
    for path in (options.from_settings, options.to_settings):
        stop = dict(values)
        if path:
            settings = _read_settings(path, schema)
            stop = schema.numbers(settings.values) | stop
            detail = settings.detail if options.detail is None else detail
        stops.append(stop)
    return stops[0], stops[1], detail


# What is asked for, and how it is explained

_EXAMPLES = """\
examples:
  python -m fader_demo attributes
  python -m fader_demo edit me.jpg --set Smiling=1 --set Eyeglasses=0 --out edited
  python -m fader_demo edit holiday/ "more/*.png" --settings party.json --face all --out edited
  python -m fader_demo strip me.jpg --attribute Smiling --strengths -0.5 0 0.5 1 --out sheets
  python -m fader_demo grid me.jpg --rows Young --columns Smiling --out sheets
  python -m fader_demo sweep me.jpg --attribute Smiling --format gif --out clips

IN is a photo, a folder of photos or a pattern such as "holiday/*.jpg", as many as you like. A file
in the --out folder is named after its photo, and running a command again replaces what it wrote.
Photos are never changed.

exit status: 0 all done; 1 some photos failed, each named on standard error; 2 wrong usage
"""

_NAMES = """\
Attribute names and the values that each takes: python -m fader_demo attributes [--model MODEL].
Values beyond them are held at their ends. Attributes that are not named stay as in the photo.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fader_demo",
        description="Edit faces in photos: without a smile, with glasses, at several ages.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    edit = _command(commands, "edit", _edit, "write each photo with the edit: NAME-edited.png")
    edit.add_argument(
        "--face",
        type=_face_or_all,
        default=1,
        metavar="N|all",
        help="which face, counted from the largest, or all of them (1)",
    )

    strip = _command(
        commands, "strip", _strip, "one attribute at several strengths in a row: NAME-Smiling.png"
    )
    strip.add_argument("--attribute", required=True, metavar="NAME", help="what changes")
    either = strip.add_mutually_exclusive_group()
    either.add_argument("--strengths", nargs="+", metavar="VALUE", help="its values, in order")
    _add_count(either)

    grid = _command(
        commands, "grid", _grid, "two attributes at once, in a table: NAME-Young-Smiling.png"
    )
    grid.add_argument("--rows", required=True, metavar="NAME", help="what changes downwards")
    grid.add_argument("--columns", required=True, metavar="NAME", help="what changes to the right")
    _add_count(grid)

    sweep = _command(
        commands, "sweep", _sweep, "a clip that goes there and back, and loops: NAME-Smiling.mp4"
    )
    sweep.add_argument("--attribute", metavar="NAME", help="what changes")
    sweep.add_argument("--from", dest="low", metavar="VALUE", help="where it starts (lowest)")
    sweep.add_argument("--to", dest="high", metavar="VALUE", help="where it turns back (highest)")
    for end, does in (("from", "starts"), ("to", "turns back")):
        sweep.add_argument(
            f"--{end}-settings",
            type=Path,
            metavar="FILE.json",
            help=f"instead of --attribute: the edit at which the clip {does} (the photo itself)",
        )

    attributes = commands.add_parser(
        "attributes", help="list the attributes of the model", description=_NAMES
    )
    attributes.set_defaults(prepare=_prepare_attributes)
    _add_model(attributes)
    return parser


def _command(
    commands: Any, name: str, task: Callable[..., Task], does: str
) -> argparse.ArgumentParser:
    """A command on photos, with the options that all of these share."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=does,
        description=f"{does[0].upper()}{does[1:]}.",
        epilog=_NAMES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(prepare=_prepare_photos, task=task)
    parser.add_argument("photos", nargs="+", metavar="IN", help="photo, folder or pattern")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument(
        "--set",
        type=_assignment,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="move an attribute; once for each",
    )
    parser.add_argument(
        "--settings", type=Path, metavar="FILE.json", help="an edit as the page saves it"
    )
    parser.add_argument(
        "--detail",
        type=_share,
        metavar="0..1",
        help="how much of the photo's own detail stays (0.5, or what --settings says)",
    )
    if task is not _edit:
        parser.add_argument(
            "--face",
            type=_face,
            default=1,
            metavar="N",
            help="which face, counted from the largest (1)",
        )
    formats = [s.removeprefix(".") for s in CLIP_FORMATS] if task is _sweep else [*PICTURE_FORMATS]
    parser.add_argument("--format", choices=formats, default=formats[0], help=f"({formats[0]})")
    _add_model(parser)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default=MODEL,
        metavar="MODEL",
        help='folder of a model, or its id on the Hugging Face Hub, "owner/name" (assets/faces)',
    )


def _add_count(parser: Any) -> None:
    parser.add_argument(
        "--count",
        type=_count,
        default=5,
        metavar="N",
        help="that many values from the lowest to the highest (5); every choice, where there are "
        "choices",
    )


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise argparse.ArgumentTypeError(f"write NAME=VALUE, as in Smiling=1, not {text!r}")
    return name, value


def _share(text: str) -> float:
    number = _number(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text!r}")
    return number


def _count(text: str) -> int:
    number = _number(text)
    if not (number.is_integer() and 2 <= number <= MOST_STRENGTHS):
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 2 to {MOST_STRENGTHS}, not {text!r}"
        )
    return int(number)


def _face(text: str) -> int:
    number = _number(text)
    if not (number.is_integer() and number >= 1):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(number)


def _face_or_all(text: str) -> int | None:
    return None if text == "all" else _face(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
