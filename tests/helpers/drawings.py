"""Twenty digits as people draw them: pens, papers, sizes and places of all kinds, none of them like MNIST's.

Each digit has two shapes, of strokes through points in a unit square, and each drawing a paper and a pen of its own.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Stroke = Sequence[tuple[float, float]]


def arc(x: float, y: float, across: float, down: float, start: float, end: float, points: int = 24) -> list:
    """Returns points of an ellipse about (x, y), from an angle to another in degrees; 0 is right, 90 is down."""
    angles = [math.radians(start + (end - start) * k / (points - 1)) for k in range(points)]
    return [(x + across * math.cos(a), y + down * math.sin(a)) for a in angles]


SHAPES: dict[int, tuple[list[Stroke], list[Stroke]]] = {
    0: ([arc(0.5, 0.5, 0.3, 0.45, -90, 270)], [arc(0.5, 0.5, 0.42, 0.45, -60, 312)]),
    1: ([[(0.5, 0.05), (0.5, 0.95)]], [[(0.3, 0.25), (0.55, 0.05), (0.53, 0.95)]]),
    2: (
        [[*arc(0.5, 0.3, 0.3, 0.25, -170, 30), (0.2, 0.95), (0.85, 0.93)]],
        [[(0.2, 0.2), *arc(0.5, 0.28, 0.28, 0.24, -140, 40), (0.45, 0.7), (0.15, 0.9), (0.5, 0.86), (0.85, 0.95)]],
    ),
    3: (
        [[*arc(0.45, 0.27, 0.3, 0.22, -150, 80), *arc(0.45, 0.72, 0.34, 0.24, -80, 150)]],
        [[(0.2, 0.08), (0.75, 0.06), (0.45, 0.42), *arc(0.45, 0.68, 0.32, 0.27, -80, 140)]],
    ),
    4: (
        [[(0.62, 0.05), (0.15, 0.65), (0.88, 0.65)], [(0.65, 0.35), (0.65, 0.97)]],
        [[(0.25, 0.05), (0.2, 0.5), (0.78, 0.48)], [(0.75, 0.05), (0.7, 0.97)]],
    ),
    5: (
        [[(0.8, 0.06), (0.28, 0.06), (0.24, 0.45), *arc(0.45, 0.68, 0.33, 0.26, -110, 140)]],
        [[(0.3, 0.08), (0.26, 0.42), *arc(0.48, 0.66, 0.3, 0.28, -100, 130)], [(0.3, 0.08), (0.82, 0.1)]],
    ),
    6: (
        [[(0.68, 0.04), (0.4, 0.3), (0.22, 0.65), *arc(0.48, 0.7, 0.26, 0.24, 180, -190)]],
        [[*arc(0.62, 0.5, 0.42, 0.45, -80, -180), *arc(0.45, 0.7, 0.25, 0.23, 190, 540)]],
    ),
    7: (
        [[(0.15, 0.08), (0.82, 0.08), (0.42, 0.95)]],
        [[(0.2, 0.15), (0.25, 0.07), (0.8, 0.1), (0.5, 0.5), (0.38, 0.96)], [(0.28, 0.52), (0.7, 0.5)]],
    ),
    8: (
        [arc(0.5, 0.27, 0.24, 0.21, 90, 450), arc(0.5, 0.71, 0.3, 0.24, -90, 270)],
        [[*arc(0.5, 0.28, 0.26, 0.22, -20, -250), *arc(0.47, 0.72, 0.29, 0.23, -70, 230), (0.72, 0.2)]],
    ),
    9: (
        [[*arc(0.47, 0.3, 0.27, 0.25, 0, -360), (0.72, 0.6), (0.66, 0.96)]],
        [[*arc(0.5, 0.28, 0.28, 0.23, -20, -370), (0.72, 0.6), (0.55, 0.9), (0.3, 0.93)]],
    ),
}


@dataclasses.dataclass(frozen=True)
class Style:
    """The paper and the pen of a drawing.

    Args:
        size: width and height of the paper in pixels.
        box: left, upper, right and lower end of the digit, as shares of the paper.
        pen: width of the pen in pixels.
        mode: mode of the image: L, RGB, RGBA or P.
        paper: grey value or colour of the paper; None for transparent.
        ink: grey value or colour of the ink.
        slant: columns to the right by row upwards.
        noise: standard deviation of the paper's grain, in grey values.
        blur: radius in pixels.
    """

    size: tuple[int, int]
    box: tuple[float, float, float, float]
    pen: int
    mode: str = "L"
    paper: int | tuple[int, int, int] | None = 255
    ink: int | tuple[int, int, int] = 0
    slant: float = 0.0
    noise: float = 0.0
    blur: float = 0.0


WHITE, BLUE, RED, YELLOW, BOARD = (255, 255, 255), (20, 40, 160), (190, 30, 30), (250, 240, 160), (30, 60, 40)
STYLES = (
    Style((200, 180), (0.5, 0.1, 0.85, 0.7), 12, "RGBA", WHITE),
    Style((280, 280), (0.25, 0.2, 0.75, 0.8), 22),
    Style((100, 100), (0.1, 0.1, 0.6, 0.8), 7, "RGB", WHITE, BLUE),
    Style((640, 480), (0.6, 0.5, 0.8, 0.9), 14, "RGB", (235, 230, 220), (50, 50, 60), noise=4),
    Style((64, 64), (0.2, 0.15, 0.8, 0.85), 6, "RGBA", None),
    Style((300, 200), (0.05, 0.1, 0.4, 0.9), 18, "RGB", BOARD, (240, 240, 240), slant=0.2, noise=5),
    Style((200, 200), (0.3, 0.3, 0.7, 0.75), 5, slant=0.3),
    Style((150, 220), (0.2, 0.4, 0.8, 0.95), 12, "RGB", YELLOW, RED),
    Style((56, 56), (0.15, 0.1, 0.85, 0.9), 7, "L", 0, 255),
    Style((500, 500), (0.1, 0.6, 0.35, 0.95), 13, "L", 250, 20, noise=2, blur=1.0),
    Style((200, 180), (0.1, 0.25, 0.55, 0.9), 14, "RGBA", None, (0, 0, 120), slant=-0.15),
    Style((400, 300), (0.4, 0.1, 0.8, 0.9), 26, "RGB", WHITE, (0, 120, 60)),
    Style((90, 140), (0.2, 0.1, 0.8, 0.5), 6, "L", 230, 60, noise=6),
    Style((256, 256), (0.3, 0.25, 0.7, 0.8), 20, "P"),
    Style((120, 80), (0.55, 0.1, 0.95, 0.9), 7, "L", 255, 90),
    Style((1000, 800), (0.3, 0.2, 0.6, 0.75), 30, "RGB", (245, 245, 250), (30, 30, 30), noise=3, slant=0.1),
    Style((28, 28), (0.2, 0.15, 0.75, 0.85), 2),
    Style((220, 220), (0.15, 0.15, 0.85, 0.9), 30, "RGB", WHITE, (70, 70, 70)),
    Style((320, 240), (0.65, 0.05, 0.95, 0.5), 9, "RGB", (40, 40, 40), (255, 255, 0), noise=4),
    Style((180, 180), (0.2, 0.2, 0.7, 0.8), 9, "RGBA", WHITE, (120, 0, 120), slant=0.25, blur=0.7),
)


def drawings() -> list[tuple[int, Image.Image]]:
    """Returns the twenty drawings with the digit that each shows."""
    return [draw(number % 10, SHAPES[number % 10][number // 10], style) for number, style in enumerate(STYLES)]


def draw(digit: int, strokes: Sequence[Stroke], style: Style) -> tuple[int, Image.Image]:
    """Draws a digit in a style."""
    width, height = style.size
    scale = 4  # drawn larger, so that the pen's edge is smooth
    mask = Image.new("L", (scale * width, scale * height))
    pencil, pen = ImageDraw.Draw(mask), scale * style.pen
    left, upper, right, lower = style.box
    for stroke in strokes:
        points = [
            (
                scale * width * (left + (right - left) * x)
                + style.slant * scale * height * (lower - upper) * (0.5 - y),
                scale * height * (upper + (lower - upper) * y),
            )
            for x, y in stroke
        ]
        pencil.line(points, fill=255, width=pen, joint="curve")
        for x, y in (points[0], points[-1]):
            pencil.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
    mask = mask.resize(style.size, Image.Resampling.BOX)
    if style.blur:
        mask = mask.filter(ImageFilter.GaussianBlur(style.blur))
    return digit, _inked(mask, style)


def _inked(mask: Image.Image, style: Style) -> Image.Image:
    colour = style.mode in ("RGB", "RGBA")
    ink = style.ink if isinstance(style.ink, tuple) or not colour else (style.ink,) * 3
    if style.paper is None:
        inked = Image.new("RGBA", style.size, ink)
        inked.putalpha(mask)
        return inked
    paper = style.paper if isinstance(style.paper, tuple) or not colour else (style.paper,) * 3
    inked = Image.new("RGB" if colour else "L", style.size, paper)
    inked.paste(ink, (0, 0), mask)
    if style.noise:
        pixels = np.asarray(inked, np.float64)
        grain = np.random.default_rng(style.pen).normal(0, style.noise, pixels.shape[:2])
        pixels = pixels + (grain[..., None] if colour else grain)
        inked = Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
    return inked if inked.mode == style.mode else inked.convert(style.mode)
