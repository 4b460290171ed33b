"""``python -m spike``: which libnrt is used, why, its version and the visible cores."""

from spike.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["--doctor"]))
