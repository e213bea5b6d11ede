"""Makes one animation of the frames in a folder: python page/film.py FOLDER OUT.gif"""

import sys
from pathlib import Path

from PIL import Image

MILLISECONDS, HELD = 130, 2_500  # that a frame is shown, and the last one
COLOURS = 64


def main(folder: Path, out: Path) -> None:
    """Writes the animation."""
    frames = [Image.open(file).convert("RGB") for file in sorted(folder.glob("*.png"))]
    palette = frames[-1].quantize(COLOURS)
    first, *others = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [MILLISECONDS] * len(others) + [HELD]
    first.save(out, save_all=True, append_images=others, duration=durations, loop=0, optimize=True)
    print(f"{out}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
