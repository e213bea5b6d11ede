"""Lines of text drawn in TrueType fonts, each in a random style, to train a reader before it sees real handwriting."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from rowrnn.errors import InputError
from rowrnn.lab.tasks.lines.alphabet import composed

DETAIL = 2  # a line is drawn larger by this factor and then reduced, so that its strokes are smooth
SIZE = (0.55, 0.95)  # range of the height of a font, from ascender to descender, relative to that of the line
BREADTH = (0.8, 1.25)  # range of the horizontal scale, relative to the vertical one
SLANT = 0.35  # largest slant to either side, in columns per row
SPACING = (-0.02, 0.1)  # range of what is added between characters, relative to the height of the font
WOBBLE = 0.03  # largest vertical offset of a character, relative to the height of the font
MARGIN = (0.05, 0.4)  # range of the margin before and after the text, relative to the height of the line
BLUR = (0.0, 0.8)  # range of the radius of blur, in pixels of the line
INK = (0, 130)  # range of the grey of ink, 0 for black
PAPER = (215, 256)  # range of the grey of paper, 255 for white
GRAIN = 12.0  # largest standard deviation of the noise, in grey levels
RULED = 0.25  # share of lines on ruled paper


class Rendered(NamedTuple):
    """A drawn line.

    Args:
        image: ink dark on bright paper, as in a scan, `[h, w]`.
        text: the characters that were drawn.
        font: name of the font's file.
    """

    image: UInt8[np.ndarray, "h w"]
    text: str
    font: str


def font_files(folder: Path | str) -> list[Path]:
    """Returns the TrueType and OpenType fonts of a folder, sorted by name.

    Raises:
        InputError: if there is none.
    """
    files = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in {".ttf", ".otf"})
    if not files:
        raise InputError(f"{folder} holds no font, no file that ends with .ttf or .otf.")
    return files


@lru_cache(maxsize=256)
def characters_of(font: Path) -> frozenset[str]:
    """Returns the characters that a font can draw, those of its character map.

    Raises:
        InputError: if the file cannot be read as a font.
    """
    from fontTools.ttLib import TTFont, TTLibError  # imported only where used: it takes long

    try:
        with font.open("rb") as file, TTFont(file, lazy=True) as opened:
            return frozenset(map(chr, opened.getBestCmap() or {}))
    except (OSError, TTLibError) as error:
        raise InputError(f"{font} cannot be read as a font ({error}): take it out of the folder.") from None


def render_lines(
    texts: Sequence[str], fonts: Sequence[Path] | Path | str, *, height: int = 40, seed: int = 0
) -> list[Rendered]:
    """Draws lines of text.

    Each line has a font, size, width, slant, spacing, position, ink and paper of its own, which depend on the seed and
    its place only. The font is one of those that have all its characters; if there is none, one of those that have
    most, and the characters that it lacks are left out. A line whose characters no font has, or that is empty, is left
    out.

    Args:
        texts: the text of each line.
        fonts: a folder of fonts, or their files.
        height: height of the images.
        seed: seed of all random choices.

    Returns:
        The lines in the order of the texts. As in scans, ink is dark: prepare them as the real lines.

    Raises:
        InputError: if there is no font, a file is none, or the height is below 8.
    """
    if height < 8:
        raise InputError(f"Lines are drawn at least 8 rows high, not {height}.")
    files = font_files(fonts) if isinstance(fonts, Path | str) else sorted(fonts)
    if not files:
        raise InputError("Lines are drawn in at least one font.")
    drawn = []
    for number, text in enumerate(texts):
        rng, text = np.random.default_rng((seed, number)), " ".join(composed(text).split())
        kept = {font: "".join(c for c in text if c in characters_of(font)) for font in files}
        most = max(map(len, kept.values()))
        fit = [font for font in files if len(kept[font]) == most]
        font = fit[rng.integers(len(fit))]
        shown = " ".join(kept[font].split())
        if shown:
            drawn.append(Rendered(_rendered(shown, font, height, rng), shown, font.name))
    return drawn


def _rendered(text: str, file: Path, height: int, rng: np.random.Generator) -> UInt8[np.ndarray, "h w"]:
    """Draws one line: its ink as brightness, larger; then slanted, reduced, blurred, and put on paper."""
    ink = _written(text, file, height, rng)
    slant = rng.uniform(-SLANT, SLANT)
    lean = int(np.ceil(abs(slant) * ink.height))
    # A pixel takes what lies to the left of it above the middle row, to the right below, or the reverse.
    shear = (1, slant, -lean / 2 - slant * ink.height / 2, 0, 1, 0)
    ink = ink.transform((ink.width + lean, ink.height), Image.Transform.AFFINE, shear, Image.Resampling.BILINEAR)
    left, _, right, _ = ink.getbbox() or (0, 0, ink.width, ink.height)
    before, after = (round(height * DETAIL * rng.uniform(*MARGIN)) for _ in range(2))
    ink = ink.crop((left - before, 0, right + after, ink.height))
    width = max(1, round(ink.width / DETAIL * rng.uniform(*BREADTH)))
    ink = ink.resize((width, height), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(rng.uniform(*BLUR)))
    return _on_paper(np.asarray(ink, np.float64) / 255, rng)


def _written(text: str, file: Path, height: int, rng: np.random.Generator) -> Image.Image:
    """Draws the characters of a line side by side, white on black and larger than the line."""
    rows = height * DETAIL
    size = rng.uniform(*SIZE) * rows
    font = _font_of_height(file, size)
    ascent, descent = font.getmetrics()
    spacing = rng.uniform(*SPACING) * size
    # With what a character adds to the text before it, kerning is kept.
    lengths = [font.getlength(text[:count]) for count in range(len(text) + 1)]
    room = round(size)  # for strokes that reach beyond the first and last character
    width = int(np.ceil(lengths[-1] + spacing * len(text))) + 2 * room
    picture = Image.new("L", (max(1, width), rows))
    draw = ImageDraw.Draw(picture)
    top = rng.uniform(0, 1) * max(0, rows - (ascent + descent))
    for place, character in enumerate(text):
        corner = (room + lengths[place] + spacing * place, top + rng.uniform(-WOBBLE, WOBBLE) * size)
        draw.text(corner, character, fill=255, font=font)
    return picture


@lru_cache(maxsize=512)
def _font(file: Path, size: int) -> ImageFont.FreeTypeFont:
    # The basic layout is that of every machine; others depend on what is installed beside Pillow.
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)


def _font_of_height(file: Path, rows: float) -> ImageFont.FreeTypeFont:
    """Returns a font whose ascender and descender span a number of rows; by its size alone fonts differ."""
    return _font(file, max(1, round(100 * rows / sum(_font(file, 100).getmetrics()))))


def _on_paper(ink: np.ndarray, rng: np.random.Generator) -> UInt8[np.ndarray, "h w"]:
    """Puts ink, 0 to 1 `[h, w]`, on paper with grain, some of it ruled below the middle."""
    height, width = ink.shape
    paper = np.full(ink.shape, rng.uniform(*PAPER))
    if rng.uniform() < RULED:
        row = rng.integers(height // 2, height)
        paper[row] = rng.uniform(120, 200)
    grey = rng.uniform(*INK)
    picture = paper + ink * np.minimum(grey - paper, 0) + rng.uniform(0, GRAIN) * rng.normal(size=(height, width))
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)
