"""Lines drawn in fonts: what is drawn, in which font, and the same by the same seed."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest

from rowrnn.errors import InputError
from rowrnn.lab.tasks.lines import rendered
from rowrnn.lab.tasks.lines.rendered import characters_of, font_files, render_lines

# Fonts that matplotlib brings: one of Latin, Greek and more, one of symbols that lacks lower-case accents.
FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SANS, SYMBOLS = FOLDER / "DejaVuSans.ttf", FOLDER / "cmsy10.ttf"
TEXTS = ["Le chat dort.", "élève", "π ≈ 3,14", "illi", "MWMWMWMWMWMW"]


def test_lines_have_one_height_dark_ink_on_bright_paper_and_their_texts():
    for height in (24, 40):
        lines = render_lines(TEXTS, [SANS], height=height)
        assert [line.text for line in lines] == TEXTS
        for line in lines:
            assert line.image.dtype == np.uint8
            assert len(line.image) == height
            assert line.font == "DejaVuSans.ttf"
            assert np.median(line.image) > 180
            assert line.image.min() < 160
    by_text = {line.text: line.image.shape[1] for line in lines}
    assert by_text["MWMWMWMWMWMW"] > 3 * by_text["illi"]


def test_a_line_depends_on_the_seed_and_its_place_only():
    once, again, longer = (render_lines(texts, [SANS], seed=3) for texts in (TEXTS, TEXTS, [*TEXTS, "more"]))
    other = render_lines(TEXTS, [SANS], seed=4)
    for one, same, first, different in zip(once, again, longer, other, strict=False):
        np.testing.assert_array_equal(one.image, same.image)
        np.testing.assert_array_equal(one.image, first.image)
        assert one.image.shape != different.image.shape or (one.image != different.image).any()
    twice = render_lines(["same", "same"], [SANS])
    assert twice[0].image.shape != twice[1].image.shape or (twice[0].image != twice[1].image).any()


def test_every_drawn_character_leaves_ink(monkeypatch):
    for name, value in {"GRAIN": 0.0, "RULED": 0.0, "SLANT": 0.0, "BLUR": (0.0, 0.0), "SPACING": (0.3, 0.3)}.items():
        monkeypatch.setattr(rendered, name, value)
    (line,) = render_lines(["lololo"], [SANS], seed=1)
    inked = (line.image < np.median(line.image) - 40).any(axis=0)
    assert (inked[1:] & ~inked[:-1]).sum() == 6
    # Without paper's disorder, the margins are as bright as all else and wide as they were drawn.
    columns = np.flatnonzero(inked)
    for margin in (columns[0], len(inked) - 1 - columns[-1]):
        assert 0.05 * 40 * 0.8 - 2 <= margin <= 0.4 * 40 * 1.25 + 2


def test_a_slanted_line_keeps_all_its_ink(monkeypatch):
    quiet = {"GRAIN": 0.0, "RULED": 0.0, "BLUR": (0.0, 0.0), "INK": (0, 0.001), "PAPER": (254.9, 255), "WOBBLE": 0.0}
    for name, value in {**quiet, "BREADTH": (1.0, 1.0), "SIZE": (0.8, 0.8), "SPACING": (0.0, 0.0)}.items():
        monkeypatch.setattr(rendered, name, value)
    inks = []
    for slant in (0.0, 0.6):
        monkeypatch.setattr(rendered, "SLANT", slant)
        inks.append([(255.0 - line.image).sum() for line in render_lines(["jolly"] * 4, [SANS])])
    np.testing.assert_allclose(inks[1], inks[0], rtol=0.03)


def test_characters_that_no_font_has_are_left_out_of_picture_and_text():
    assert "é" in characters_of(SANS)
    assert "é" not in characters_of(SYMBOLS)
    with_all = render_lines(["été"] * 20, [SYMBOLS, SANS])
    assert {line.font for line in with_all} == {"DejaVuSans.ttf"}
    lines = render_lines(["a \U00013000 b", "\U00013000", "", "e\u0301"], [SANS])
    assert [line.text for line in lines] == ["a b", "é"]


def test_a_folder_of_fonts_is_its_fonts_in_order():
    files = font_files(FOLDER)
    assert SANS in files
    assert files == sorted(files)
    assert all(path.suffix == ".ttf" for path in files)
    (by_folder,), (by_files,) = (render_lines(["a line"], fonts) for fonts in (FOLDER, files))
    np.testing.assert_array_equal(by_folder.image, by_files.image)


def test_what_is_no_font(tmp_path):
    with pytest.raises(InputError, match="holds no font"):
        render_lines(["a"], tmp_path)
    (tmp_path / "broken.ttf").write_bytes(b"no font at all")
    with pytest.raises(InputError, match=r"broken\.ttf cannot be read as a font"):
        render_lines(["a"], tmp_path)
    with pytest.raises(InputError, match="at least 8 rows high, not 4"):
        render_lines(["a"], [SANS], height=4)
    with pytest.raises(InputError, match="at least one font"):
        render_lines(["a"], [])
