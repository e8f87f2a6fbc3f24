"""Whatever file comes in becomes an edit or a plain word, soon, in little memory, and life goes on.

All of them are opened in a process of its own, one after the other, good photos among the bad.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from odd_files import EDIT, EITHER, UNREADABLE, write_odd_files

ROOT = Path(__file__).parents[2]

MOST_SECONDS = 5  # of computing
MOST_BYTES = 1_500_000_000

WHAT_TO_DO = re.compile(r"\. (Save it|Make it smaller|Choose|Use a photo|Check its path).*\.$")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder of odd files, and what each is to become."""
    folder = tmp_path_factory.mktemp("odd")
    return folder, write_odd_files(folder)


@pytest.fixture(scope="module")
def outcomes(files: tuple[Path, dict[str, str]], tiny_model_folder: Path) -> list[dict[str, Any]]:
    """What became of each file."""
    opener = [sys.executable, "tests/odd_files.py", str(tiny_model_folder), str(files[0])]
    surroundings = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        opener, cwd=ROOT, env=surroundings, stdout=subprocess.PIPE, text=True, timeout=240
    )
    assert done.returncode == 0
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_becomes_what_it_should(
    files: tuple[Path, dict[str, str]], outcomes: list[dict[str, Any]]
) -> None:
    _, expected = files
    became = {outcome["name"]: outcome["became"] for outcome in outcomes}
    assert became.keys() == expected.keys()
    wrong = {
        name: f"{became[name]} instead of {expected[name]}"
        for name in expected
        if became[name] == "a fault" or expected[name] not in (became[name], EITHER)
    }
    assert wrong == {}


def test_what_cannot_be_edited_is_told_in_plain_words_with_what_to_do(
    outcomes: list[dict[str, Any]],
) -> None:
    messages = {outcome["message"] for outcome in outcomes if outcome["became"] != EDIT}
    assert len(messages) > 5
    for message in messages:
        assert WHAT_TO_DO.search(message), message
        assert not re.search(r"Error|Traceback|\(|0x|None|PIL", message), message


def test_none_takes_long(outcomes: list[dict[str, Any]]) -> None:
    slow = {o["name"]: o["seconds"] for o in outcomes if o["seconds"] > MOST_SECONDS}
    assert slow == {}


def test_all_of_them_take_little_memory(outcomes: list[dict[str, Any]]) -> None:
    assert outcomes[-1]["peak"] < MOST_BYTES


def test_of_a_link_to_another_file_nothing_is_told(outcomes: list[dict[str, Any]]) -> None:
    (link,) = (outcome for outcome in outcomes if outcome["name"] == "link to a secret.jpg")
    assert link["became"] == UNREADABLE
    assert "root" not in link["message"] and "passwd" not in link["message"]
