"""Serves the editor: `python app.py` here, and the entry point on Hugging Face Spaces.

Settings are environment variables: HOST and PORT (default: Gradio's, 127.0.0.1 and the first free
port from 7860); FADER_MODELS (model folders or Hub ids, separated by commas; default: every model
in assets/); FADER_PASSWORD closes the page to all who do not know it; MCP=1 offers the endpoints as
tools of the Model Context Protocol too. Behind a reverse proxy, FORWARDED_ALLOW_IPS names the
proxy's address, as uvicorn has it, so that its visitors can be told apart.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from starlette.middleware import Middleware

from fader_demo import ModelError
from fader_demo.memory import return_what_is_freed
from fader_demo.models import Models, find_models
from fader_demo.ui.guard import Guard, password_check
from fader_demo.ui.page import AT_ONCE, CSS, THEME, Page
from fader_demo.ui.photo import MAX_MEGABYTES
from fader_demo.ui.temporary import temporary_folder

ROOT = Path(__file__).parent
ASSETS = ROOT / "assets"
EXAMPLES = sorted((ASSETS / "examples").glob("*.[jp][pn]g"))

WAITING = 200
"""Events that wait for their turn; who comes later is told that the app is busy."""


SESSIONS = 500
"""Pages whose state is kept: a megabyte each, their photos (``ui.visit``) not counted."""


class SettingError(ValueError):
    """An environment variable that cannot be; the message says which, and what to do."""


def main() -> None:
    return_what_is_freed()
    # Threads that wait for one another on busy cores cost more than they save.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // AT_ONCE))
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: sys.exit())  # or no folder would be cleared away
    if "SPACE_ID" in os.environ:  # a Space is reached through Hugging Face's proxy alone
        os.environ.setdefault("FORWARDED_ALLOW_IPS", "*")
    try:
        settings = launch_settings(os.environ)
        models = Models(find_models(ASSETS, os.environ.get("FADER_MODELS")))
    except (ModelError, SettingError) as error:
        sys.exit(f"Fader cannot start. {error}")
    with temporary_folder():
        serve(models, settings)


def launch_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the environment says of how to launch. Raises SettingError."""
    port, password = environment.get("PORT"), environment.get("FADER_PASSWORD")
    mcp = environment.get("MCP") == "1"
    if port and not (port.isdecimal() and 0 < int(port) < 2**16):
        raise SettingError(f"PORT must be a number from 1 to {2**16 - 1}, not {port!r}.")
    if password is not None and not password.strip():
        raise SettingError("FADER_PASSWORD is empty. Give it a password, or unset it.")
    if password and mcp:
        raise SettingError("MCP=1 and FADER_PASSWORD exclude each other: MCP knows no password.")
    return {
        "server_name": environment.get("HOST"),
        "server_port": int(port) if port else None,
        "auth": password_check(password) if password else None,
        "auth_message": "Enter the password that you were given. Any user name will do.",
        "mcp_server": mcp,
    }


def serve(models: Models, settings: dict[str, Any]) -> None:
    """Serves until the process is told to end. settings: of ``gr.Blocks.launch``."""
    page = Page(models, EXAMPLES)
    blocks = page.build()
    blocks.queue(max_size=WAITING, api_open=False)  # nobody gets past the queue
    try:
        blocks.launch(
            **settings,
            theme=THEME,
            css_paths=CSS,
            max_file_size=f"{MAX_MEGABYTES}mb",
            state_session_capacity=SESSIONS,
            app_kwargs={"middleware": [Middleware(Guard)]},
            run_history=False,
            footer_links=[],
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
        )
    except OSError:
        port = settings["server_port"]
        sys.exit(
            f"Fader cannot start. {f'Port {port}' if port else 'Every port from 7860 to 7959'} is "
            "taken, or HOST is no address of this machine. Set PORT or HOST to another."
        )
    print(f"Fader is ready: open {blocks.local_url}", flush=True)
    try:
        page.warm_up()
        blocks.block_thread()
    finally:
        blocks.close(verbose=False)
        page.close()


if __name__ == "__main__":
    main()
