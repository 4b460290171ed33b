"""``python -m spike``: which libnrt is used, why, its version and the visible cores."""

import sys

from spike.cli import console_main

if __name__ == "__main__":
    sys.exit(console_main(["--doctor", *sys.argv[1:]]))
