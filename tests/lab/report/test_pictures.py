"""Pictures that can be read: ticks, bands, scales, words, and the page that they stand on."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from rowrnn.lab.draw import draw, sentence, title
from rowrnn.lab.report.learning_curves import CHOSEN, chosen_epochs, learning_curves
from rowrnn.lab.report.page import page
from rowrnn.lab.report.style import PERCENT, band, legend, log_ticks
from rowrnn.lab.runs.directory import Run
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.captions import pictures as captions
from rowrnn.lab.tasks.captions.language import encode
from rowrnn.lab.tasks.classification import order_pictures, row_pictures
from rowrnn.lab.tasks.classification.confusion_picture import confusion
from rowrnn.lab.tasks.frames import pictures as frame_pictures
from tests.helpers.records import record


def named(axes):
    """Texts of the legend."""
    return [text.get_text() for text in axes.get_legend().get_texts()]


def labelled(axes):
    """Labels of the ticks in sight of the vertical axis."""
    axes.figure.canvas.draw()
    bottom, top = axes.get_ylim()
    ticks = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    return [label.get_text() for tick, label in ticks if bottom <= tick <= top and label.get_text()]


@pytest.mark.parametrize("low", [1e-5, 0.013, 0.7, 1.0, 7.7, 95.0])
@pytest.mark.parametrize("ratio", [1.01, 1.5, 3.0, 9.0, 11.0, 60.0, 900.0, 2e4, 1e9])
def test_a_logarithmic_axis_has_two_labels_or_more(low, ratio):
    axes = Figure().add_subplot()
    axes.plot([0, 1], [low, low * ratio])
    log_ticks(axes)
    assert 2 <= len(set(labelled(axes))) <= 16


def test_a_band_stays_among_the_possible_values_and_is_named():
    axes = Figure().add_subplot()
    band(axes, np.arange(2), np.array([[58.0, 98.0], [1.0, 40.0]]), "k", "GRU", limits=PERCENT)
    (shade,) = axes.collections
    corners = np.concatenate([path.vertices for path in shade.get_paths()])
    assert (corners[:, 1].min(), corners[:, 1].max()) == (0, 100)
    legend(axes)
    assert named(axes) == ["GRU", "95 % interval over seeds"]


def test_one_seed_has_no_band():
    axes = Figure().add_subplot()
    band(axes, np.arange(2), np.array([[58.0], [1.0]]), "k", "GRU")
    assert len(axes.collections) == 0
    legend(axes)
    assert named(axes) == ["GRU"]


def test_the_chosen_epoch_is_the_last_of_the_best_of_each_seed_and_marked():
    scores = np.array([[0.5, 0.9, 0.7], [0.8, 0.9, 0.6], [0.8, 0.1, 0.5]])
    assert chosen_epochs(scores).tolist() == [3, 2, 1]
    curve = {"loss": np.ones((3, 3)), "validation_accuracy": scores}
    figure = learning_curves(Record("toy", curves={"GRU": curve}))
    _, right = figure.axes
    marks = next(line for line in right.lines if line.get_marker() == "D")
    np.testing.assert_allclose(np.asarray(marks.get_xdata()), [1, 2, 3])
    np.testing.assert_allclose(np.asarray(marks.get_ydata()), 100 * (1 - scores.mean(axis=1)))
    assert CHOSEN in named(right)


def test_an_eleventh_curve_is_drawn_with_another_line():
    figure = learning_curves(record({f"model {number}": [0.5] for number in range(12)}))
    styles = [(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines]
    assert len(set(styles)) == len(styles) == 12


def test_all_confusion_matrices_share_one_scale_with_a_bar_each_for_errors_and_the_diagonal():
    many, few = np.array([[[50, 50], [10, 90]]]), np.array([[[99, 1], [2, 98]]])
    figure = confusion({"bad": many, "good": few}, ["a", "b"])
    bad, good, *bars = figure.axes
    assert len(bars) == 2
    for number, expected in ((0, 50), (1, 100)):  # the most frequent error of any model; per cent
        norms = [axes.images[number].norm for axes in (bad, good)]
        assert [norm.vmax for norm in norms] == [expected] * 2
    # On the diagonal the share of the label's images.
    np.testing.assert_allclose(np.diag(np.asarray(good.images[1].get_array())), [99, 98])
    assert {text.get_text() for text in good.texts} == {"99", "1.0", "2.0", "98"}


def gate_arrays():
    rng = np.random.default_rng(0)
    gates = {f"LSTM/gate/{name}": rng.uniform(size=(6, 5)) for name in ("input", "forget", "cell", "output")}
    return {
        **gates,
        "LSTM/state/cell state c": rng.normal(size=(6, 5)) * 3,
        "LSTM/probability": rng.uniform(size=(6, 3)),
        "example": rng.integers(0, 255, (6, 4, 1), np.uint8),
        "example_label": np.int32(2),
    }


def test_the_gates_are_drawn_with_the_cell_state_and_say_how_units_are_sorted():
    arrays, about = gate_arrays(), Record("toy", data={"class_names": ["a", "b", "c"]})
    figure = row_pictures.gates("LSTM", about, arrays)
    titles = [axes.get_title() for axes in figure.axes[:7]]
    assert titles[1:6] == ["input gate", "forget gate", "candidate", "output gate", "cell state c"]
    assert "sorted by their mean activation of the forget gate" in figure.get_suptitle()
    state = figure.axes[5].images[0]
    order = np.argsort(arrays["LSTM/gate/forget"].mean(axis=0))
    np.testing.assert_allclose(np.asarray(state.get_array()), arrays["LSTM/state/cell state c"][:, order])
    most = np.abs(arrays["LSTM/state/cell state c"]).max()
    assert state.get_clim() == (-most, most)


@pytest.mark.parametrize("earlier", [False, True], ids=["now", "arrays of an earlier version"])
def test_every_direction_of_an_order_has_a_panel_and_its_whole_arrow(earlier):
    down = np.stack([np.arange(4), np.full(4, 1.5)], axis=1)
    ways = [down, down[::-1], down[:, ::-1], down[::-1, ::-1]]
    when = np.arange(4)[:, None] + np.zeros((4, 4), int)
    whens = [when, when[::-1], when.T, when.T[:, ::-1]]
    arrays = {f"ReNet/way/{number}": way for number, way in enumerate(ways)}
    arrays |= {"ReNet/when": when} if earlier else {f"ReNet/when/{number}": at for number, at in enumerate(whens)}
    about = Record("directions", data={"shape": [4, 4, 1]}, summary=[{"model": "ReNet"}])
    figure = order_pictures.orders(about, arrays)
    assert [axes.get_title().split(": ")[1] for axes in figure.axes] == ["down", "up", "right", "left"]
    for axes, expected in zip(figure.axes, whens, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), expected)
        (arrow,) = (text for text in axes.texts if isinstance(text, Annotation))
        assert all(-0.5 <= place <= 3.5 for place in arrow.xy)


def test_attention_has_one_scale_and_says_what_is_right():
    true, wrong = "a large seven", "a large nine"
    image = np.zeros((1, 64, 64, 1), np.uint8)
    words = encode([true, wrong])
    shares = np.full((1, words.shape[1], 8, 8), 1 / 64)
    arrays = {}
    for part, said in (("seen", words[:1]), ("unseen", words[1:])):
        arrays |= {f"scene/{part}/image": image, f"scene/{part}/caption": words[:1]}
        arrays |= {f"GRU/{part}/said": said, f"GRU/{part}/attention": shares * (1 if part == "seen" else 8)}
    figure = captions.attention("GRU", arrays)
    right, not_right = (part.get_suptitle() for part in figure.subfigs)
    assert right.endswith(": right")
    assert not_right.endswith(f": wrong; right would be: {true}")
    maps = [axes.images[1] for axes in figure.axes if len(axes.images) > 1]
    assert {image.norm.vmax for image in maps} == {8 / 64}
    assert "*nine*" in [axes.get_title() for axes in figure.axes]


def test_an_animation_has_words_above_and_beside_its_frames():
    rng = np.random.default_rng(0)
    arrays = {"video": rng.integers(0, 255, (2, 5, 16, 16, 1), np.uint8), "GRU/predicted": np.zeros((2, 3, 16, 16, 1))}
    about = Record("moving_digits", protocol={"given": 2}, summary=[{"model": "GRU"}])
    frames = frame_pictures.moving(about, arrays)
    # Two videos of 16 pixels with a border of 2 on all sides, twice as large, below and beside the words.
    assert frames.shape[0] == 5
    top, left = frames.shape[1] - 2 * 2 * 20, len("video 2")
    assert top > 0
    above, beside = frames[:, :top], frames[0, top:, :left]
    assert (above < 128).any(axis=(1, 2, 3)).all()
    assert (beside < 128).any()
    assert (above[0] != above[2]).any(), "a given frame and a predicted one are told apart"


@pytest.mark.parametrize(("format", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_pictures_come_in_the_format_that_was_asked_for_beside_a_report(tmp_path, format, begins):
    with Run(tmp_path / "run") as run:
        run.finish(record({"GRU": [0.5, 0.75]}).replace(table=[["model", "accuracy %"], ["GRU", "62.50"]]))
    (path,) = draw(run.directory, format=format)
    assert path.name == f"learning_curves.{format}"
    assert path.read_bytes().startswith(begins)
    text = (run.directory / "report.md").read_text()
    assert "| GRU | 62.50 |" in text
    assert "Mean ± 95 % interval over 2 seeds." in text
    assert "Does the validation score still get better at the last epoch" in text
    assert f"[{'learning curves' if format != 'pdf' else path.name}]({path.name})" in text


def test_a_page_says_nothing_of_intervals_for_one_seed():
    text = page(record({"GRU": [0.5]}).replace(table=[["model"], ["GRU"]]), {"a_b.png": "Look here."})
    assert "interval" not in text
    assert text.endswith("## A b\n\nLook here.\n\n![a b](a_b.png)\n")


def test_a_picture_without_a_sentence_has_its_title():
    known = {"film": "of all films", "film_long": "of long films"}
    assert [sentence(name, known) for name in ("film_gru", "film_long_gru", "films", "film")] == [
        "of all films",
        "of long films",
        "",
        "of all films",
    ]
    figure = Figure()
    assert title(figure) == ""
    figure.add_subplot().set_title("What happens")
    assert title(figure) == "What happens."


def test_every_picture_of_an_experiment_has_a_sentence():
    from rowrnn.lab.draw import PICTURES, SENTENCES

    assert set(SENTENCES) == set(PICTURES)
    assert all(text.endswith((".", "?")) for known in SENTENCES.values() for text in known.values())
