"""Lets `python -m pipeline` run the command line."""

import os
import sys

# Python has put the working folder first, and what is imported below may have a namesake there. The
# folder of a clone that is not installed becomes the last instead: our own packages are there.
if not sys.flags.safe_path:
    first = sys.path.pop(0)
    if os.path.realpath(f"{first}/pipeline/__main__.py") == os.path.realpath(__file__):
        sys.path.append(first)

from pipeline.cli import main

main()
