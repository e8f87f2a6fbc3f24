"""The connection drops, the server starts anew, or it is full: the page goes on by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from playwright.sync_api import BrowserContext, Locator, expect
from running import App, free_port, once_it_answers, start
from visitor import Visitor

from fader_demo import Editor, Face
from fader_demo.models import Models
from fader_demo.serving import Scheduler
from fader_demo.ui.page import CSS, Page
from fader_demo.ui.pictures import LIVE_SIDE
from fader_demo.ui.visit import Visit

MOVES = re.compile("component_server")
EVERYTHING = re.compile("gradio_api")


@pytest.fixture
def page(model_folder: Path, tiny_model_folder: Path, portrait: Path) -> Page:
    return Page(Models({"faces": model_folder, "tiny": tiny_model_folder}), [portrait])


@pytest.fixture
def served(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[gr.Blocks]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setenv("GRADIO_HEARTBEAT_INTERVAL", "0.5")  # seconds until a departure is noticed
    blocks = page.build()
    blocks.launch(prevent_thread_lock=True, quiet=True, run_history=False, css_paths=CSS)
    yield blocks
    blocks.close(verbose=False)
    page.close()


Arrive = Callable[[str], Visitor]


@pytest.fixture
def arrive(somebodys_browser: BrowserContext) -> Iterator[Arrive]:
    """Opens a page at an address. Its console may show the requests that failed."""
    visitors: list[Visitor] = []

    def arrive(address: str) -> Visitor:
        visitors.append(Visitor(somebodys_browser.new_page(), address))
        visitors[-1].page.evaluate("window.neverReloaded = true")
        return visitors[-1]

    yield arrive
    for visitor in visitors:
        visitor.page.close()


def status(visitor: Visitor) -> Locator:
    return visitor.page.locator("#result").get_by_role("status")


def pins(visitor: Visitor) -> Locator:
    return visitor.page.get_by_role("button", name="Return to")


def pin(visitor: Visitor) -> None:
    visitor.page.get_by_role("button", name="Pin this edit").click()
    expect(pins(visitor)).to_have_count(1)


def kept_its_pin(visitor: Visitor) -> bool:
    return bool(visitor.page.evaluate("window.neverReloaded")) and pins(visitor).count() == 1


@pytest.fixture
def let_go(served: gr.Blocks, page: Page) -> Callable[[], None]:
    """Makes the server forget the photos of its one visitor, as after too long an absence.

    It is taken from both places: what finds visits by their keys does so for as long as anything
    holds one.
    """

    def let_go() -> None:
        states = [session.state_data for session in served.state_holder.session_data.values()]
        (state,) = [s for s in states if any(isinstance(value, Visit) for value in s.values())]
        state.clear()
        page.answers.visits.clear()

    return let_go


def edited(editor: Editor, face: Face, value: float) -> Any:
    return editor.paste(face, {"Smiling": value}, LIVE_SIDE)


@pytest.mark.parametrize("lost", [MOVES, EVERYTHING], ids=["moves", "everything"])
def test_a_connection_that_drops_in_mid_drag_ends_at_the_last_value(
    served: gr.Blocks, arrive: Arrive, editor: Editor, face: Face, lost: re.Pattern[str]
) -> None:
    visitor = arrive(served.local_url)
    pin(visitor)
    end = visitor.farther_end("Smiling")
    visitor.drag("Smiling", abs(end - 0.5))
    visitor.page.route(lost, lambda route: route.abort())
    value = visitor.drag("Smiling", end)
    expect(status(visitor)).to_have_text("Connection lost. Trying again …")
    visitor.open_tab("Grid")  # asks through Gradio's queue, which reloads the page if it can
    visitor.page.wait_for_timeout(3000)
    visitor.page.unroute(lost)
    visitor.sees(edited(editor, face, value))
    expect(status(visitor)).to_have_text("")
    visitor.page.wait_for_timeout(3000)
    assert kept_its_pin(visitor)
    visitor.open_tab("Strengths")
    before = visitor.source("strip")
    visitor.drag("Eyeglasses", visitor.farther_end("Eyeglasses"))
    visitor.wait_until(lambda: visitor.source("strip") not in ("", before))


def test_a_visit_that_is_no_longer_held_is_opened_again(
    served: gr.Blocks,
    arrive: Arrive,
    let_go: Callable[[], None],
    editor: Editor,
    couple: Path,
    portrait: Path,
) -> None:
    visitor = arrive(served.local_url)
    visitor.choose_files(couple, portrait)
    visitor.page.get_by_role("group", name="Which face?").get_by_role("button").nth(1).click()
    second = editor.open(couple, 1)
    visitor.sees(editor.paste(second, {}, LIVE_SIDE))
    end = visitor.farther_end("Smiling")
    value = visitor.drag("Smiling", end)
    visitor.sees(edited(editor, second, value))
    pin(visitor)
    let_go()
    value = visitor.drag("Smiling", abs(end - 0.2))
    visitor.sees(edited(editor, second, value))
    expect(status(visitor)).to_have_text("")
    assert visitor.value("Smiling") == value
    assert kept_its_pin(visitor)
    visitor.open_tab("Photos")
    expect(visitor.page.get_by_role("button", name="Edit photo")).to_have_count(2)


def test_an_example_is_opened_again_too(
    served: gr.Blocks, arrive: Arrive, let_go: Callable[[], None], editor: Editor, face: Face
) -> None:
    visitor = arrive(served.local_url)
    let_go()
    value = visitor.drag("Smiling", visitor.farther_end("Smiling"))
    visitor.sees(edited(editor, face, value))


def test_it_is_opened_again_though_it_is_lost_once_more_before_it_is_drawn(
    served: gr.Blocks,
    page: Page,
    arrive: Arrive,
    let_go: Callable[[], None],
    editor: Editor,
    face: Face,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    visitor = arrive(served.local_url)
    answers, shown = page.answers, page.answers._shown
    lost: list[str] = []

    def lose_the_first(visit: Visit, edit: Any = None) -> Any:
        outputs = shown(visit, edit)
        if not lost:
            lost.append(visit.key)
            del answers.visits[visit.key]
        return outputs

    monkeypatch.setattr(answers, "_shown", lose_the_first)
    let_go()
    value = visitor.drag("Smiling", visitor.farther_end("Smiling"))
    visitor.sees(edited(editor, face, value))
    assert lost


def test_a_model_is_adopted_once_when_it_is_chosen(
    served: gr.Blocks, arrive: Arrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopted: list[str] = []
    adopt = Visit.adopted

    def counted(visit: Visit, model: str, *arguments: Any) -> Visit:
        adopted.append(model)
        return adopt(visit, model, *arguments)

    monkeypatch.setattr(Visit, "adopted", counted)
    visitor = arrive(served.local_url)
    models = visitor.page.get_by_role("combobox", name="Model")
    models.click()
    visitor.page.get_by_role("option", name="tiny").click()
    expect(visitor.slider("Age")).to_be_enabled()
    models.focus()
    models.press("Tab")  # leaves the list without a choice
    visitor.page.wait_for_timeout(1000)
    assert adopted == ["tiny"]
    models.click()
    models.fill("faces")
    models.press("Enter")
    expect(visitor.slider("Age")).to_have_count(0)
    assert adopted == ["tiny", "faces"]


def test_it_is_opened_again_with_the_model_that_was_chosen(
    served: gr.Blocks, page: Page, arrive: Arrive, let_go: Callable[[], None], portrait: Path
) -> None:
    visitor = arrive(served.local_url)
    visitor.page.get_by_role("combobox", name="Model").click()
    visitor.page.get_by_role("option", name="tiny").click()
    expect(visitor.slider("Age")).to_be_enabled()
    let_go()
    value = visitor.drag("Age", visitor.farther_end("Age"))
    tiny = page.models.editor("tiny")
    visitor.sees(tiny.paste(tiny.open(portrait), {"Age": value}, LIVE_SIDE))


def test_a_face_of_which_the_server_knows_nothing_is_opened_again(
    served: gr.Blocks, page: Page, arrive: Arrive, editor: Editor, face: Face
) -> None:
    visitor = arrive(served.local_url)
    pin(visitor)
    (visit,) = page.answers.visits.values()
    crossed = visit.chose(0)  # as when two answers to this visitor came in the wrong order
    page.answers.visits[crossed.key] = crossed
    value = visitor.drag("Smiling", visitor.farther_end("Smiling"))
    visitor.sees(edited(editor, face, value))
    assert visitor.value("Smiling") == value
    assert kept_its_pin(visitor)


def test_a_photo_that_cannot_be_opened_again_is_said_to_be_gone(
    served: gr.Blocks, arrive: Arrive, let_go: Callable[[], None], couple: Path
) -> None:
    visitor = arrive(served.local_url)
    visitor.open_photo(couple)
    visitor.page.route(re.compile("gradio_api/upload"), lambda route: route.abort())
    let_go()
    visitor.drag("Smiling", visitor.farther_end("Smiling"))
    expect(status(visitor)).to_have_text("This photo is no longer held here. Open it again.")


@pytest.fixture
def restarts(model_folder: Path, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Starts the app, or kills it and starts it anew, always at the same address."""
    port = free_port()
    apps: list[App] = []

    def end() -> None:
        for app in apps:
            app.kill()
            app.wait(timeout=30)

    def restart() -> str:
        end()
        apps.append(start(port, str(model_folder), tmp_path))
        return once_it_answers(port, apps[-1])

    yield restart
    end()


def test_after_a_restart_photo_sliders_and_pins_are_as_they_were(
    restarts: Callable[[], str], arrive: Arrive, editor: Editor, face: Face, portrait: Path
) -> None:
    visitor = arrive(restarts())
    visitor.open_photo(portrait)
    end = visitor.farther_end("Smiling")
    value = visitor.drag("Smiling", end)
    visitor.sees(edited(editor, face, value))
    pin(visitor)
    restarts()
    with visitor.page.expect_request(re.compile("heartbeat")):  # or it could not leave any more
        glasses = visitor.drag("Eyeglasses", visitor.farther_end("Eyeglasses"))
    expected = editor.paste(face, {"Smiling": value, "Eyeglasses": glasses}, LIVE_SIDE)
    visitor.sees(expected)
    assert visitor.value("Smiling") == value
    visitor.page.get_by_role("button", name="Undo").click()
    visitor.sees(edited(editor, face, value))
    assert kept_its_pin(visitor)


def test_when_too_many_are_here_a_newcomer_waits_and_then_goes_on(
    served: gr.Blocks, page: Page, arrive: Arrive, editor: Editor, face: Face, portrait: Path
) -> None:
    now = 0.0
    page.answers.scheduler = Scheduler(most_active=1, clock=lambda: now)
    newcomer = arrive(served.local_url)
    pin(newcomer)
    now = 31.0  # the newcomer has not moved since
    inside = arrive(served.local_url)
    value = inside.drag("Smiling", inside.farther_end("Smiling"))
    inside.sees(edited(editor, face, value))
    now = 59.0
    newcomer.page.bring_to_front()  # or the browser would hardly draw it
    newcomer.choose_files(portrait)
    assert "Too many people" in newcomer.toast() and "in 2 seconds" in newcomer.toast()
    value = newcomer.drag("Smiling", newcomer.farther_end("Smiling"))
    expect(status(newcomer)).to_contain_text("Too many people are editing")
    assert newcomer.is_untouched()
    now = 62.0
    newcomer.sees(edited(editor, face, value))
    expect(status(newcomer)).to_have_text("")
    assert kept_its_pin(newcomer)
