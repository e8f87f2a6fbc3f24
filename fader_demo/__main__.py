"""`python -m fader_demo`: edits photos from the command line."""

from __future__ import annotations

import sys

from fader_demo.cli import main

if __name__ == "__main__":
    sys.exit(main())
