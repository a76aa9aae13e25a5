"""python -m casebook.runner BUNDLE COMMAND: the bundle's commands, by the Casebook that is installed.

Unlike `python BUNDLE COMMAND`, it runs no code from the bundle.
"""

import sys

from .commands import main

if len(sys.argv) < 2:
    sys.exit("usage: python -m casebook.runner BUNDLE predict|verify|info|bench|serve ...")
sys.exit(main(sys.argv[2:], bundle=sys.argv[1]))
