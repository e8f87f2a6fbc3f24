"""A data set becomes aligned faces, resumably, and what is wrong with it is said with its line."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from fader_demo.faces import TEMPLATE, Detection, FaceAligner
from train import prepare
from train.prepare import PreparationError, assign_split, read_celeba, read_photos, subject

ROOT = Path(__file__).resolve().parents[2]
SIZE = 32
COUNT = 40
NO_FACE, BROKEN = "000007.jpg", "000011.jpg"
NAMES = [f"{number:06}.jpg" for number in range(1, COUNT + 1)]


def head(seed: int) -> Image.Image:
    """A photo of a face, each a little different: 150 x 170."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(140, 160), rng.integers(25, 40)
    pixels = astronaut()[y : y + 170, x : x + 150] * rng.uniform(0.7, 1.0)
    return Image.fromarray(pixels.astype(np.uint8))


def write_celeba(folder: Path) -> Path:
    """A data set in CelebA's layout: one photo without a face, one damaged, the rest fine."""
    photos = folder / "img_align_celeba"
    photos.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        head(number).save(photos / name, quality=95)
    Image.new("RGB", (150, 170), (90, 90, 90)).save(photos / NO_FACE)
    (photos / BROKEN).write_bytes(b"damaged")
    lines = [f"{name}  {1 if i % 3 else -1} {-1 if i % 2 else 1}" for i, name in enumerate(NAMES)]
    (folder / "list_attr_celeba.txt").write_text(f"{COUNT}\nSmiling Male \n" + "\n".join(lines))
    parts = [f"{name} {0 if i < 30 else 1 if i < 35 else 2}" for i, name in enumerate(NAMES)]
    (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    persons = [f"{name} {100 + i // 2}" for i, name in enumerate(NAMES)]
    (folder / "identity_CelebA.txt").write_text("\n".join(persons) + "\n")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Several threads on a busy machine make small networks slower, not faster."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def celeba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_celeba(tmp_path_factory.mktemp("celeba"))


def command(celeba: Path, out: Path) -> list[str]:
    return [
        *("--celeba", str(celeba), "--out", str(out), "--size", str(SIZE), "--workers", "2"),
    ]


@pytest.fixture(scope="module")
def prepared(celeba: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted run of the command writes."""
    out = tmp_path_factory.mktemp("runs") / "data"
    arguments = [sys.executable, "-m", "train.prepare", *command(celeba, out)]
    result = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "38 faces" in result.stdout
    assert "Aligning" in result.stderr  # the progress bar
    return out


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Align without worker processes, which take seconds to start."""

    def align_all(paths: Sequence[Path], size: int, workers: int) -> Iterator[prepare.Outcome]:
        aligner = FaceAligner(size)
        return (prepare.align_photo(path, aligner) for path in paths)

    monkeypatch.setattr(prepare, "align_all", align_all)


def rows(out: Path) -> list[dict[str, str]]:
    with open(out / "table.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# What is written


def test_images_are_the_aligned_faces_in_the_table_s_order(celeba: Path, prepared: Path) -> None:
    images = np.load(prepared / "images.npy", mmap_mode="r")
    assert images.dtype == np.uint8
    assert images.shape == (COUNT - 2, SIZE, SIZE, 3)
    ids = [row["id"] for row in rows(prepared)]
    assert ids == [name for name in NAMES if name not in (NO_FACE, BROKEN)]
    aligner = FaceAligner(SIZE)
    for index in (0, 20, 37):
        photo = Image.open(celeba / "img_align_celeba" / ids[index])
        expected = np.asarray(aligner.align(photo, aligner.detect(photo)[0])[0], dtype=int)
        assert np.abs(images[index] - expected).max() <= 2


def test_the_table_holds_split_person_and_labels_from_zero(prepared: Path) -> None:
    by_id = {row["id"]: row for row in rows(prepared)}
    assert by_id["000001.jpg"] == {
        "id": "000001.jpg",
        "split": "train",
        "person": "100",
        "Smiling": "0",
        "Male": "1",
    }
    assert by_id["000032.jpg"]["split"] == "validation"
    assert by_id["000040.jpg"]["split"] == "test"


def test_the_description_says_what_is_there(prepared: Path) -> None:
    description = json.loads((prepared / "dataset.json").read_text())
    assert description["size"] == SIZE
    assert description["source"] == "celeba"
    assert description["count"] == COUNT - 2
    assert description["splits"] == {"train": 28, "validation": 5, "test": 5}
    assert description["attributes"] == ["Smiling", "Male"]
    assert description["template"] == {name: list(point) for name, point in TEMPLATE.items()}
    assert (description["without_face"], description["unreadable"]) == (1, 1)
    assert (prepared / "no_face.txt").read_text() == f"{NO_FACE}\n"
    assert (prepared / "unreadable.txt").read_text().startswith(f"{BROKEN}\t")
    assert sorted(path.name for path in prepared.iterdir()) == [
        "dataset.json",
        "images.npy",
        "no_face.txt",
        "table.csv",
        "unreadable.txt",
    ]


# Going on


def test_a_killed_run_resumes_and_leaves_no_process(
    celeba: Path, prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "data"
    frequent = "import train.prepare as p; p._CHECKPOINT = p._CHUNK = 2; "
    start = f"{frequent}raise SystemExit(p.main({command(celeba, out)!r}))"
    run = [sys.executable, "-c", start]
    killed = subprocess.Popen(run, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    wait_for(lambda: (out / "progress.json").exists(), 120)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    progress = json.loads((out / "progress.json").read_text())
    assert 0 < progress["done"] < COUNT
    assert not (out / "images.npy").exists()
    wait_for(lambda: not living_processes(killed.pid), 60)
    with open(out / "images.partial", "ab") as file:  # half an image, as a kill may leave it
        file.write(b"x" * 1000)

    subprocess.run(run, cwd=ROOT, check=True, capture_output=True, timeout=300)
    for name in ("images.npy", "table.csv", "no_face.txt", "unreadable.txt", "dataset.json"):
        assert (out / name).read_bytes() == (prepared / name).read_bytes(), name


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def living_processes(group: int) -> list[int]:
    """Processes of a process group that are not mere zombies (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, member_of = path.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(member_of) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def test_a_run_killed_before_its_last_step_resumes(
    celeba: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_this_process: None
) -> None:
    write = prepare.write_atomically

    def fail(path: Path, text: str) -> None:
        if path.name == "dataset.json":
            raise KeyboardInterrupt
        write(path, text)

    monkeypatch.setattr(prepare, "write_atomically", fail)
    source = read_celeba(celeba)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(source, tmp_path / "out", SIZE, 1, progress_bar=False)
    monkeypatch.setattr(prepare, "write_atomically", write)
    monkeypatch.setattr(prepare, "align_photo", None)  # there is nothing left to align
    assert prepare.prepare(source, tmp_path / "out", SIZE, 1, progress_bar=False)["count"] == 38
    assert np.load(tmp_path / "out" / "images.npy").shape == (38, SIZE, SIZE, 3)


def test_a_finished_data_set_is_left_alone(celeba: Path, prepared: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in prepared.iterdir()}
    assert prepare.main(command(celeba, prepared)) == 0
    assert {path.name: path.stat().st_mtime_ns for path in prepared.iterdir()} == before


def test_another_size_does_not_overwrite_it(
    celeba: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--celeba", str(celeba), "--out", str(prepared), "--size", "64"]
    assert prepare.main(arguments) == 2
    assert "--out" in capsys.readouterr().err


# Which face


def face(x: float, y: float, side: float) -> Detection:
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    return Detection(np.zeros((5, 2)), box, 1.0)


def test_the_subject_is_the_face_in_the_middle_but_no_bystander() -> None:
    edge, center, speck = face(20, 20, 50), face(60, 50, 40), face(50, 50, 10)
    assert subject([edge, center, speck], 100, 100) is center
    assert subject([edge], 100, 100) is edge


# A folder of photos and a CSV


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    for number, name in enumerate(["b.png", "a.jpg", "sub/c.jpg"]):
        head(number).save(photos / name)
    return photos


def write_csv(folder: Path, text: str) -> Path:
    path = folder.parent / "attributes.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_folder_and_a_csv_are_prepared(folder: Path, in_this_process: None) -> None:
    annotations = write_csv(
        folder,
        "file,Age,Smiling,split,person\n"
        "b.png,31.5,1,test,Ann\na.jpg,-4,-1,,Bob\nsub/c.jpg,7e1,-1,train,\nabsent.jpg,3,1,,\n",
    )
    out = folder.parent / "out"
    arguments = ["--photos", str(folder), "--attributes", str(annotations), "--out", str(out)]
    assert prepare.main([*arguments, "--size", str(SIZE)]) == 0
    assert [list(row.values()) for row in rows(out)] == [
        ["a.jpg", assign_split("Bob"), "Bob", "-4", "0"],
        ["b.png", "test", "Ann", "31.5", "1"],
        ["sub/c.jpg", "train", "", "70", "0"],
    ]
    assert np.load(out / "images.npy").shape == (3, SIZE, SIZE, 3)
    assert "absent.jpg\tThere is no file" in (out / "unreadable.txt").read_text()


def test_undecided_labels_lie_in_the_middle(folder: Path) -> None:
    source = read_photos(folder, write_csv(folder, "file,a,b,c\nx,-1,0,1\ny,0,1,2\nz,1,1,-1\n"))
    assert source.attributes == ("a", "b", "c")
    assert source.values.tolist() == [[0, 0, 1], [0.5, 1, 2], [1, 1, -1]]


def test_splits_are_made_by_person_always_alike_and_in_proportion() -> None:
    splits = [assign_split(f"person {number}") for number in range(4000)]
    assert splits == [assign_split(f"person {number}") for number in range(4000)]
    assert splits.count("train") / 4000 == pytest.approx(0.90, abs=0.02)
    assert splits.count("validation") / 4000 == pytest.approx(0.05, abs=0.015)
    assert splits.count("test") / 4000 == pytest.approx(0.05, abs=0.015)


def test_no_person_is_in_two_parts(folder: Path) -> None:
    lines = "".join(f"{number}.jpg,1,p{number % 50}\n" for number in range(500))
    source = read_photos(folder, write_csv(folder, f"file,a,person\n{lines}"))
    parts = {(example.person, example.split) for example in source.examples}
    assert len(parts) == 50
    assert len({split for _, split in parts}) > 1


def test_windows_line_ends_a_byte_order_mark_and_quotes_are_read(folder: Path) -> None:
    path = folder.parent / "attributes.csv"
    path.write_bytes('\ufefffile,a\r\n"with, comma.jpg", 1\r\n'.encode())
    (example,) = read_photos(folder, path).examples
    assert example.id == "with, comma.jpg"


def test_a_folder_without_any_face_is_an_error(folder: Path, in_this_process: None) -> None:
    source = read_photos(folder, write_csv(folder, "file,a\nabsent.jpg,1\n"))
    with pytest.raises(PreparationError, match=r"No face was found.*There is no file"):
        prepare.prepare(source, folder.parent / "out", SIZE, 1, progress_bar=False)


# What is malformed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: .*'file'"),
        ("name,a\nx,1\n", r"line 1: .*'file'"),
        ("file\nx\n", r"line 1: .*attribute"),
        ("file,a,a\nx,1,1\n", r"line 1: .*once"),
        ("file,a\n", r"line 2: no photo"),
        ("file,a\nx,1\ny\n", r"line 3: expected 2 cells"),
        ("file,a\nx,1,1\n", r"line 2: expected 2 cells"),
        ("file,a\nx,1\ny,tall\n", r"line 3: a is 'tall'"),
        ("file,a\nx,\n", r"line 2: a is ''"),
        ("file,a\nx,nan\n", r"line 2: a is 'nan'"),
        ("file,a\nx,1\ny,1\nx,0\n", r"line 4: .*listed twice"),
        ("file,a\n,1\n", r"line 2: .*not named"),
        ("file,a,split\nx,1,training\n", r"line 2: the split is 'training'"),
        ('file,a\nx,1\n"y,1\n', r"line 3: not valid CSV"),
        ('"file,a\nx,1\n', r"line 1: not valid CSV"),
    ],
)
def test_a_malformed_csv_names_its_line(folder: Path, text: str, message: str) -> None:
    path = write_csv(folder, text)
    with pytest.raises(PreparationError, match=message) as error:
        read_photos(folder, path)
    assert str(path) in str(error.value)


def test_text_in_another_encoding_names_its_line(folder: Path) -> None:
    path = folder.parent / "attributes.csv"
    path.write_bytes("file,a\nx,1\nmüller.jpg,1\n".encode("latin-1"))
    with pytest.raises(PreparationError, match=r"line 3: not UTF-8"):
        read_photos(folder, path)


ATTRIBUTES, PARTITION = "list_attr_celeba.txt", "list_eval_partition.txt"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (ATTRIBUTES, "", r"line 1: expected the number"),
        (ATTRIBUTES, "a.jpg 1 1\nb.jpg 1 1\n", r"line 1: expected the number"),
        (ATTRIBUTES, "2\n\n", r"line 2: expected attribute names"),
        (ATTRIBUTES, "2\nSmiling Smiling\n", r"line 2: .*once"),
        (ATTRIBUTES, "2\nSmiling Male\na.jpg 1 1\nb.jpg 1\n", r"line 4: .* 2 labels"),
        (ATTRIBUTES, "2\nSmiling Male\na.jpg 1 0\nb.jpg 1 1\n", r"line 3: .*-1 or 1"),
        (ATTRIBUTES, "2\nSmiling Male\na.jpg 1 1\na.jpg 1 1\n", r"line 4: .*twice"),
        (ATTRIBUTES, "3\nSmiling Male\na.jpg 1 1\nb.jpg 1 1\n", r"line 1: 3 images .* 2 are"),
        (PARTITION, "a.jpg 0\n", r"no line for b\.jpg"),
        (PARTITION, "a.jpg 0\nb.jpg 3\n", r"line 2: the partition is '3'"),
        (PARTITION, "a.jpg 0\nb.jpg\n", r"line 2: expected an image name and one value"),
        ("identity_CelebA.txt", "a.jpg\n", r"line 1: expected an image name and one value"),
    ],
)
def test_a_malformed_celeba_names_file_and_line(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    small_celeba(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(PreparationError, match=message) as error:
        read_celeba(tmp_path)
    assert str(tmp_path / name) in str(error.value)


def small_celeba(folder: Path) -> None:
    (folder / "img_align_celeba").mkdir()
    (folder / ATTRIBUTES).write_text("2\nSmiling Male\nb.jpg -1 1\na.jpg 1 -1\n")
    (folder / PARTITION).write_text("a.jpg 0\nb.jpg 2\n")


def test_celeba_without_identities_is_read_in_the_order_of_ids(tmp_path: Path) -> None:
    small_celeba(tmp_path)
    source = read_celeba(tmp_path)
    assert source.examples == [("a.jpg", "train", ""), ("b.jpg", "test", "")]
    assert source.values.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("name", [ATTRIBUTES, PARTITION, "img_align_celeba"])
def test_a_missing_part_of_celeba_is_named(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    small_celeba(tmp_path)
    missing = tmp_path / name
    missing.rmdir() if missing.is_dir() else missing.unlink()
    assert prepare.main(["--celeba", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert str(missing) in message
    assert "Check" in message
    assert not (tmp_path / "out").exists()


def test_the_command_ends_with_2_and_no_traceback(tmp_path: Path) -> None:
    arguments = ["--photos", str(tmp_path / "absent"), "--attributes", "x.csv", "--out", "y"]
    result = subprocess.run(
        [sys.executable, "-m", "train.prepare", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert result.returncode == 2
    assert "absent" in result.stderr
    assert "Traceback" not in result.stderr


def test_photos_need_attributes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_status:
        prepare.main(["--photos", "x", "--out", "y"])
    assert exit_status.value.code == 2
    assert "--attributes" in capsys.readouterr().err
