"""The scheduler: everybody's newest edit is drawn, in turns, and nobody's failure is another's."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from fader_demo import Editor, Face, SchemaError
from fader_demo.editor import Edit
from fader_demo.models import Models
from fader_demo.serving import ACTIVE_SECONDS, Busy, Job, Scheduler
from fader_demo.ui.answers import Answers

PATIENCE = 60  # seconds; the machine may be busy


class Board:
    """Stands for an editor: draws what an edit is called, once it may; notes what came together."""

    def __init__(self) -> None:
        self.may_draw = threading.Event()
        self.began = threading.Semaphore(0)
        self.batches: list[list[str]] = []
        self.drawn: list[str] = []

    def paste_all(self, edits: Sequence[Any], max_side: int) -> Iterator[str]:
        self.batches.append(list(edits))
        self.began.release()
        assert self.may_draw.wait(PATIENCE)
        for edit in edits:
            if "fails" in edit:
                raise ValueError(edit)
            self.drawn.append(edit)
            yield edit


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board()
    yield board
    board.may_draw.set()  # or its threads would wait until the end of all tests


def job(board: Board, name: str, max_side: int = 8) -> Job[str]:
    return Job(cast(Editor, board), cast(Edit, name), max_side, str)


def occupy(scheduler: Scheduler, board: Board) -> Future[str | None]:
    """A job that is being drawn, so that all that come after it wait."""
    future = scheduler.submit("somebody", job(board, "first"))
    assert board.began.acquire(timeout=PATIENCE)
    return future


def result(future: Future[str | None]) -> str | None:
    return future.result(PATIENCE)


def test_visitors_are_drawn_in_the_order_in_which_they_came(board: Board) -> None:
    scheduler = Scheduler(batch=1, workers=1)
    occupy(scheduler, board)
    futures = [scheduler.submit(name, job(board, name)) for name in "abcde"]
    board.may_draw.set()
    assert [result(future) for future in futures] == list("abcde")
    assert board.drawn == ["first", *"abcde"]


def test_a_newer_job_takes_the_place_in_line_of_the_one_that_waits(board: Board) -> None:
    scheduler = Scheduler(batch=1, workers=1)
    occupy(scheduler, board)
    old = scheduler.submit("a", job(board, "old"))
    other = scheduler.submit("b", job(board, "other"))
    new = scheduler.submit("a", job(board, "new"))
    assert old.result(0) is None  # at once, while nothing can be drawn
    board.may_draw.set()
    assert (result(new), result(other)) == ("new", "other")
    assert board.drawn == ["first", "new", "other"]


def test_whoever_hurries_waits_no_less(board: Board) -> None:
    scheduler = Scheduler(batch=1, workers=1)
    occupy(scheduler, board)
    last = [scheduler.submit("hasty", job(board, f"hasty {n}")) for n in range(50)][-1]
    slow = scheduler.submit("slow", job(board, "slow"))
    again = scheduler.submit("somebody", job(board, "again"))
    board.may_draw.set()
    assert [result(f) for f in (last, slow, again)] == ["hasty 49", "slow", "again"]
    assert board.drawn == ["first", "hasty 49", "slow", "again"]


def test_several_visitors_are_decoded_in_one_pass(board: Board) -> None:
    scheduler = Scheduler(batch=3, workers=1)
    occupy(scheduler, board)
    other = Board()
    other.may_draw.set()
    waiting = [
        *(scheduler.submit(name, job(board, name)) for name in "ab"),
        scheduler.submit("c", job(other, "another model's")),
        scheduler.submit("d", job(board, "of another size", 9)),
        *(scheduler.submit(name, job(board, name)) for name in "ef"),
    ]
    board.may_draw.set()
    for future in waiting:
        result(future)
    assert board.batches == [["first"], ["a", "b", "e"], ["of another size"], ["f"]]
    assert other.batches == [["another model's"]]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_failure_is_that_of_one_job_alone(board: Board, place: int) -> None:
    scheduler = Scheduler(batch=3, workers=1)
    occupy(scheduler, board)
    names = list("abc")
    names[place] = "fails"
    futures = [scheduler.submit(name, job(board, name)) for name in names]
    board.may_draw.set()
    for name, future in zip(names, futures, strict=True):
        if name == "fails":
            with pytest.raises(ValueError, match="fails"):
                result(future)
        else:
            assert result(future) == name
    assert sorted(board.drawn) == sorted(["first", *(set(names) - {"fails"})])
    assert result(scheduler.submit("d", job(board, "d"))) == "d"


def test_what_cannot_be_finished_fails_alone(board: Board) -> None:
    def fail(_: object) -> str:
        raise OSError("no space")

    scheduler = Scheduler(batch=2, workers=1)
    occupy(scheduler, board)
    bad = scheduler.submit("a", Job(cast(Editor, board), cast(Edit, "a"), 8, fail))
    good = scheduler.submit("b", job(board, "b"))
    board.may_draw.set()
    with pytest.raises(OSError, match="no space"):
        result(bad)
    assert result(good) == "b"


def test_beyond_the_limit_newcomers_wait_and_those_inside_go_on(board: Board) -> None:
    time = 100.0
    scheduler = Scheduler(most_active=2, clock=lambda: time)
    board.may_draw.set()
    result(scheduler.submit("a", job(board, "a")))
    time += 10
    result(scheduler.submit("b", job(board, "b")))
    with pytest.raises(Busy, match="Try again in 20 seconds") as busy:
        scheduler.submit("c", job(board, "c"))
    assert busy.value.retry_seconds == ACTIVE_SECONDS - 10
    time += 5
    assert result(scheduler.submit("a", job(board, "a again"))) == "a again"
    time += 15  # the seconds have passed, but a has moved since
    with pytest.raises(Busy, match="Try again in 10 seconds"):
        scheduler.submit("c", job(board, "c"))
    time += 10  # b has not
    assert result(scheduler.submit("c", job(board, "c"))) == "c"
    with pytest.raises(Busy):
        scheduler.admit("b")


def test_closing_ends_what_is_drawn_and_cancels_what_waits(board: Board) -> None:
    scheduler = Scheduler(workers=1)
    drawing = occupy(scheduler, board)
    waiting = scheduler.submit("a", job(board, "a"))
    threading.Timer(0.1, board.may_draw.set).start()
    scheduler.close()
    assert drawing.result(0) == "first"
    with pytest.raises(CancelledError):
        waiting.result(0)
    with pytest.raises(RuntimeError):
        scheduler.submit("a", job(board, "a"))


def test_a_job_that_nobody_waits_for_any_more_is_not_drawn(board: Board) -> None:
    scheduler = Scheduler(batch=1, workers=1)
    occupy(scheduler, board)
    assert scheduler.submit("a", job(board, "a")).cancel()
    last = scheduler.submit("b", job(board, "b"))
    board.may_draw.set()
    assert result(last) == "b"
    assert board.drawn == ["first", "b"]


def test_from_any_number_of_threads_everybodys_last_job_is_drawn(board: Board) -> None:
    scheduler = Scheduler(batch=3, workers=4)
    board.may_draw.set()
    answers: dict[str, list[str | None]] = {}

    def visit(name: str) -> None:
        futures = [scheduler.submit(name, job(board, f"{name} {n}")) for n in range(200)]
        answers[name] = [result(future) for future in futures]

    visitors = [threading.Thread(target=visit, args=(name,)) for name in "abcdefgh"]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(PATIENCE)
    assert set(answers) == set("abcdefgh")
    for name, drawn in answers.items():
        assert drawn[-1] == f"{name} 199"
        assert all(answer in (None, f"{name} {n}") for n, answer in enumerate(drawn))


# With a real editor


@pytest.fixture(scope="module")
def editor(tiny_model_folder: Path) -> Editor:
    return Editor.from_pretrained(tiny_model_folder, device="cpu")


@pytest.fixture(scope="module")
def faces(editor: Editor, astronaut: Image.Image) -> list[Face]:
    """Of photos of different sizes."""
    return [editor.open(astronaut), editor.open(astronaut.resize((700, 700)))]


def test_what_is_drawn_together_looks_as_if_drawn_alone(editor: Editor, faces: list[Face]) -> None:
    scheduler: Scheduler = Scheduler(batch=8, workers=1)
    edits = [
        Edit(faces[number % 2], {"Smiling": number / 2, "Age": 20 + 9 * number}, number / 5)
        for number in range(5)
    ] + [Edit(faces[0], {})]
    futures = [
        scheduler.submit(str(number), Job(editor, edit, 256, np.asarray))
        for number, edit in enumerate(edits)
    ]
    for edit, future in zip(edits, futures, strict=True):
        alone = editor.paste(edit.face, edit.values, 256, edit.detail)
        together = np.asarray(future.result(PATIENCE), dtype=int)
        assert np.abs(together - np.asarray(alone, dtype=int)).max() <= 1


def test_an_edit_that_makes_no_sense_fails_alone(editor: Editor, faces: list[Face]) -> None:
    scheduler: Scheduler = Scheduler(batch=8, workers=1)
    values: list[dict[str, float]] = [{"Smiling": 1}, {"Nose": 1}, {"Smiling": float("nan")}, {}]
    futures = [
        scheduler.submit(str(number), Job(editor, Edit(faces[0], each), 64, np.asarray))
        for number, each in enumerate(values)
    ]
    for future in futures[1:3]:
        with pytest.raises(SchemaError):
            future.result(PATIENCE)
    for future in (futures[0], futures[3]):
        assert future.result(PATIENCE).shape == (64, 64, 3)


# What the page calls, outside of any session


@pytest.fixture(scope="module")
def answers(
    tiny_model_folder: Path, astronaut: Image.Image, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Answers]:
    folder = tmp_path_factory.mktemp("page")
    astronaut.save(folder / "astronaut.png")
    answers = Answers(Models({"tiny": tiny_model_folder}), [folder / "astronaut.png"], str(folder))
    yield answers
    answers.scheduler.close()


Draw = Callable[[Any], dict[str, Any]]


@pytest.fixture(scope="module")
def draw(answers: Answers) -> Draw:
    """Calls what the sliders call, as anybody can."""
    # NaN is written and read as Gradio does it.
    return lambda move: asyncio.run(answers.draw(json.loads(json.dumps(move))))


@pytest.fixture(scope="module")
def move(answers: Answers) -> Iterator[dict[str, Any]]:
    """One that is drawn, of a visit that is held meanwhile."""
    visit, *_, value = answers.greet()
    yield {name: value[name] for name in ("visit", "face", "now")}
    assert answers.visits[visit.key] is visit


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"visit": "f" * 32}, "gone"),
        ({"visit": ["x"]}, "refused"),
        ({"visit": "x" * 10_000}, "refused"),
        ({"face": "another"}, "elsewhere"),
        ({"face": None}, "refused"),
        ({"now": {"Nose": 1}}, "refused"),
        ({"now": {"Smiling": "1"}}, "refused"),
        ({"now": {"Smiling": 10**400}}, "refused"),
        ({"now": {"Smiling": float("nan")}}, "refused"),
        ({"now": {"Smiling": float("-inf")}}, "refused"),
        ({"now": {"Smiling": {"Smiling": 1}}}, "refused"),
        ({"now": {str(number): 0 for number in range(10_000)}}, "refused"),
        ({"now": [1]}, "refused"),
        ({"detail": 1.1}, "refused"),
        ({"detail": True}, "refused"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_move_that_makes_no_sense_is_answered_in_plain_words(
    draw: Draw, move: dict[str, Any], change: dict[str, Any], problem: str
) -> None:
    answer = draw(move | change)
    assert answer["problem"] == problem
    assert re.fullmatch(r"[A-Z][^\n]*\.", answer["message"])
    assert draw(move)["source"].startswith("data:image/jpeg")


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, [{"now": {}}], {"visit": "x"}], ids=str)
def test_what_is_no_move_at_all_is_refused(draw: Draw, value: Any) -> None:
    assert draw(value)["problem"] == "refused"


def test_a_key_opens_a_visit_only_as_long_as_it_is_held(answers: Answers) -> None:
    visit, *_, value = answers.greet()
    visit, key = visit.chose(0), visit.key  # the one that gr.State holds from now on
    answers.visits[key] = visit
    move = {name: value[name] for name in ("visit", "face", "now")}
    assert asyncio.run(answers.draw(move))["problem"] == "elsewhere"
    assert "source" in asyncio.run(answers.draw(move | {"face": visit.shown}))
    del visit
    assert asyncio.run(answers.draw(move))["problem"] == "gone"
