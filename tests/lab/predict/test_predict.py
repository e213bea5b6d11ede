"""What a person gets who asks a model about files: which files are meant, and answers as tables, JSON and CSV."""

import csv
import io
import json
import os
import threading
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

import rowrnn
from rowrnn import GRU
from rowrnn.errors import InputError
from rowrnn.lab.data.clips import read_frames
from rowrnn.lab.data.listing import Item, Unreadable
from rowrnn.lab.predict.answer import Answer, as_csv, as_json, of_probabilities, rows_of
from rowrnn.lab.predict.clips import by_frame
from rowrnn.lab.predict.command import Wish, _print, tell
from rowrnn.lab.predict.files import items_of
from rowrnn.lab.predict.images import probabilities
from rowrnn.models import Classifier, FrameCNN, VideoClassifier
from rowrnn.saving import Card, Preprocessing
from rowrnn.sequence.stack import stack
from tests.helpers.cases import thinned
from tests.helpers.tiny_sets import array_of, save_picture

CLASSES = ("a cat", "dög", "=1+1")
PREPROCESSING = Preprocessing((6, 5), fit="stretch", channels=1, mean=(0.4,), std=(0.3,))


def model():
    return Classifier(GRU(5, 4, rngs=nnx.Rngs(0)), 3, rngs=nnx.Rngs(1))


@pytest.fixture
def kept(tmp_path):
    card = Card(task="images", preprocessing=PREPROCESSING, classes=CLASSES)
    rowrnn.save(model(), tmp_path / "model.safetensors", card)
    return str(tmp_path / "model.safetensors")


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, size in (("a b.png", (6, 5)), ("é.png", (13, 8)), ("c.jpg", (6, 5))):
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_file_a_folder_and_a_pattern_name_each_file_once(pictures):
    names = [item.name for item in items_of([str(pictures), str(pictures / "*.png")], "pictures")]
    assert names == [str(pictures / name) for name in ("a b.png", "c.jpg", "é.png")]
    assert [item.name for item in items_of([str(pictures / "notes.txt")], "pictures")] == [str(pictures / "notes.txt")]


def test_a_folder_of_frames_is_one_clip_and_so_are_those_below_a_folder(tmp_path):
    for clip in ("first", "second"):
        for number in (1, 2, 10):
            save_picture(tmp_path / clip / f"f{number}.pgm", array_of(number, channels=1))
    (tmp_path / "film.M4V").write_bytes(b"x")
    for number in (1, 2):  # GIFs with numbers are no frames
        save_picture(tmp_path / "third" / f"{number}.gif", array_of(number, channels=1))
    clips = [item.path for item in items_of([str(tmp_path)], "clips")]
    third = [tmp_path / "third" / f"{number}.gif" for number in (1, 2)]
    assert clips == [tmp_path / "film.M4V", *third, tmp_path / "first", tmp_path / "second"]
    assert [item.path for item in items_of([str(tmp_path / "first")], "clips")] == [tmp_path / "first"]
    assert [item.path for item in items_of([str(tmp_path / "*d")], "clips")] == [tmp_path / "second"]
    pictures = [item.path for item in items_of([str(tmp_path)], "pictures")]
    assert pictures == third + [tmp_path / clip / f"f{n}.pgm" for clip in ("first", "second") for n in (1, 2, 10)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.png", "There is no file nowhere.png"),
        ("https://example.org/a.png", "is an address"),
        ("*.webp", "There is no file"),
        ("test*", "It matches 1 folders only"),
        ("tests", "There are no pictures in tests; expected files that end in .*png"),
        ("film.mp4", "film.mp4 is a clip, and this model is asked about pictures"),
        (300 * "long", "cannot be looked at"),
        ("~nobody-of-this-name/a.png", "cannot be looked at"),
    ],
)
def test_a_name_that_means_no_picture_is_an_item_that_says_so(tmp_path, monkeypatch, name, message):
    (tmp_path / "tests").mkdir()
    (tmp_path / "film.mp4").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    (item,) = items_of([name], "pictures")
    with pytest.raises(Unreadable, match=message):
        item.read()


def test_a_picture_is_no_clip_and_is_named_where_it_lies_beside_clips(tmp_path, capsys):
    (tmp_path / "film.mp4").write_bytes(b"x")
    save_picture(tmp_path / "one.png", array_of(1, channels=1))
    assert [item.path for item in items_of([str(tmp_path)], "clips")] == [tmp_path / "film.mp4"]
    assert f"Passed over in {tmp_path}, no clips: one.png." in capsys.readouterr().err
    for name in ("one.png", "o*.png"):
        (item,) = items_of([str(tmp_path / name)], "clips")
        with pytest.raises(Unreadable, match=r"one\.png is a picture, and this model is asked about clips"):
            read_frames(item)


def test_no_name_at_all_is_an_error_too():
    with pytest.raises(InputError, match="Name the clips"):
        items_of([], "clips")


def test_a_pipe_can_be_read(tmp_path):
    content = io.BytesIO()
    Image.fromarray(array_of(0, channels=1)[..., 0]).save(content, "PNG")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content.getvalue(),))
    writer.start()
    (item,) = items_of([str(pipe)], "pictures")
    assert item.read() == content.getvalue()
    writer.join()
    assert item.read() == content.getvalue()  # once more, for its picture


def test_a_file_may_begin_with_a_tilde(tmp_path, monkeypatch):
    (tmp_path / "~backup.png").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    (item,) = items_of(["~backup.png"], "pictures")
    assert item.read() == b"x"


def test_standard_input_is_read_once(monkeypatch):
    class Input:
        buffer = io.BytesIO(b"bytes")

    monkeypatch.setattr("sys.stdin", Input())
    (item,) = items_of(["-"], "pictures")
    assert item.read() == item.read() == b"bytes"


def test_answers_are_sorted_by_probability_and_marked_as_unsure():
    answer = of_probabilities("x.png", CLASSES, np.array([0.25, 0.5, 0.25]), {})
    assert answer.answer == "dög"
    assert answer.others == (("a cat", 0.25), ("=1+1", 0.25))
    assert answer.unsure(0.51)
    assert not answer.unsure(0.5)
    _, row, broken = rows_of([answer, Answer("y.png", error="It is broken.")], 0.51)
    assert row == ["x.png", "dög", "50.0", "unsure", "a cat 25.0; =1+1 25.0"]
    assert broken == ["y.png", "", "", "no answer", ""]


def test_an_empty_text_is_unsure_however_probable():
    assert Answer("x.png", "", 0.96).unsure()
    assert not Answer("x.png", "a dog", 0.96).unsure()


def test_long_captions_leave_room_for_file_and_answer(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    said = "a dog runs over the wet grass behind a red ball that someone has thrown"
    _print([Answer("scans/photograph.jpg", said, 0.9, ((said, 0.1), (said, 0.05)))], 0.7)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 60
    assert {"thrown", "90.0"} <= {*shown.split()}
    assert "…" not in shown  # nothing is cut


def test_json_and_csv_hold_the_answers():
    answers = [of_probabilities("x, y.png", CLASSES, np.array([0.25, 0.5, 0.25]), {}), Answer("z", error="No.")]
    first, second = map(json.loads, as_json(answers, 0.6).splitlines())
    assert first["answer"] == "dög"
    assert first["unsure"] is True
    assert first["probabilities"] == {"a cat": 0.25, "dög": 0.5, "=1+1": 0.25}
    assert second == {"file": "z", "error": "No."}
    assert list(csv.reader(io.StringIO(as_csv(answers, 0.6)))) == [
        ["file", "answer", "probability", "unsure", "error"],
        ["x, y.png", "dög", "0.500000", "true", ""],
        ["z", "", "", "", "No."],
    ]


def test_names_that_are_no_utf8_come_back_as_they_were(kept, tmp_path, capfdbinary):
    folder = os.fsencode(tmp_path)
    name = folder + b"/caf\xe9 $x$.png"
    Image.fromarray(array_of(0, channels=1)[..., 0]).save(tmp_path / "plain.png")
    os.rename(folder + b"/plain.png", name)
    wish = Wish(json=tmp_path / "out.jsonl", csv=tmp_path / "out.csv", draw=tmp_path / "drawn")
    tell(kept, [os.fsdecode(name)], wish)
    assert json.loads((tmp_path / "out.jsonl").read_text())["file"] == os.fsdecode(name)
    assert name in (tmp_path / "out.csv").read_bytes()
    shown = capfdbinary.readouterr()
    assert b"caf\\xe9" in shown.out.replace(b"\n", b"")
    assert shown.err == b"1 picture in " + os.fsencode(tmp_path / "drawn") + b"\n"
    assert len(list((tmp_path / "drawn").iterdir())) == 1
    tell(kept, [os.fsdecode(name)], Wish(csv=Path("-")))
    assert name in capfdbinary.readouterr().out


def test_a_card_of_another_model_is_refused(tmp_path, pictures):
    for card, message in (
        (Card(task="images", preprocessing=PREPROCESSING, classes=("a", "b")), "tells 3 classes apart.*names 2"),
        (Card(task="clips", preprocessing=PREPROCESSING, classes=CLASSES), "a model for clips, and it is a Classifier"),
        (Card(task="captions", preprocessing=PREPROCESSING), "a model for captions, and it is a Classifier"),
    ):
        rowrnn.save(model(), tmp_path / "m.safetensors", card)
        with pytest.raises(InputError, match=message):
            tell(str(tmp_path / "m.safetensors"), [str(pictures / "c.jpg")])


def test_answers_are_those_of_the_model_on_the_prepared_picture(kept, pictures, capsys):
    answers = tell(kept, [str(pictures)])
    assert [answer.error for answer in answers] == [""] * 3
    for answer in answers:
        image = np.asarray(Image.open(answer.file))[None, ..., None]
        floats = (np.asarray(PREPROCESSING.to_bytes(image), np.float64) / 255 - 0.4) / 0.3
        expected = jax.nn.softmax(model()(jnp.asarray(floats, jnp.float32)))[0]
        found = [answer.details["probabilities"][name] for name in CLASSES]
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert answer.answer == CLASSES[int(expected.argmax())]
    shown = capsys.readouterr().out
    assert "a b.png" in shown.replace("\n", "")


def test_more_pictures_than_a_batch_are_all_answered():
    images = np.random.default_rng(0).integers(0, 256, (70, 6, 5, 1), np.uint8)
    card = Card(task="images", preprocessing=PREPROCESSING, classes=CLASSES)
    found = probabilities(model(), card, list(images))
    expected = jax.nn.softmax(model()(jnp.asarray(PREPROCESSING.to_floats(images))))
    chex.assert_shape(found, (70, 3))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_broken_picture_is_named_and_the_others_are_answered(kept, pictures, tmp_path):
    (pictures / "broken.png").write_bytes(b"\x89PNG not")
    answers = tell(kept, [str(pictures), "nowhere"], Wish(json=tmp_path / "out.jsonl", csv=tmp_path / "out.csv"))
    assert [bool(answer.error) for answer in answers] == [False, True, False, False, True]
    assert "broken.png" in answers[1].error
    assert "There is no file nowhere" in answers[4].error
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 5
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 6


def test_pictures_of_answers_are_drawn(kept, pictures, tmp_path):
    answers = tell(kept, [str(pictures)], Wish(draw=tmp_path / "drawn", json=tmp_path / "out.jsonl"))
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a_b.png", "c.png", "é.png"]
    told = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {Path(one["file"]).stem: Path(one["drawing"]).stem for one in told} == {"a b": "a_b", "c": "c", "é": "é"}
    assert [one["drawing"] for one in told] == [answer.details["drawing"] for answer in answers]


def test_a_file_is_no_folder_for_drawings(kept, pictures, tmp_path):
    (tmp_path / "taken").write_text("here")
    for place in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(InputError, match=r"taken is a file; expected a folder"):
            tell(kept, [str(pictures)], Wish(draw=place))


def test_what_cannot_be_asked_is_one_error(kept, pictures, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"broken\.png"):
        tell(kept, [str(tmp_path / "broken.png")])
    with pytest.raises(InputError, match=r"--unsure-below is 7\.0; expected a probability from 0 to 1"):
        tell(kept, [str(pictures)], Wish(unsure_below=7.0))
    with pytest.raises(InputError, match=r"--json and --csv both are -"):
        tell(kept, [str(pictures)], Wish(json=Path("-"), csv=Path("-")))
    rowrnn.save(model(), tmp_path / "plain.safetensors")
    with pytest.raises(InputError, match="has no card that says what to do with a file"):
        tell(str(tmp_path / "plain.safetensors"), [str(pictures)])


@pytest.mark.parametrize("grey", thinned([False, True], 2))
def test_a_clip_that_is_read_frame_by_frame_gets_the_answer_of_the_whole(tmp_path, grey):
    frames = np.random.default_rng(0).integers(0, 256, (5, 12, 16) if grey else (5, 12, 16, 3), np.uint8)
    (tmp_path / "clip").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "clip" / f"{number}.png")
    preprocessing = Preprocessing((6, 8), fit="stretch", channels=1, mean=(0.4,), std=(0.3,))
    rngs = nnx.Rngs(0)
    cnn = FrameCNN((6, 8, 1), 4, 5, context=3, rngs=rngs)
    reader = VideoClassifier(cnn, stack(GRU, 5, 4, layers=2, rngs=rngs), 3, rngs=rngs)
    videos = preprocessing(frames[..., None] if grey else frames)[None]
    # Of a clip longer than in training, evenly spaced frames: the middles of three parts of five are 0, 2 and 4.
    for most, seen in ((None, videos), (8, videos), (3, videos[:, ::2])):
        card = Card(task="clips", preprocessing=preprocessing, classes=CLASSES, most_frames=most)
        found = by_frame(reader, card, Item("clip", tmp_path / "clip"))
        np.testing.assert_allclose(found, jax.nn.softmax(reader.logits_by_frame(seen))[0], atol=1e-5)


def test_a_folder_without_frames_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    cnn = FrameCNN((6, 8, 1), 4, 5, rngs=nnx.Rngs(0))
    reader = VideoClassifier(cnn, GRU(5, 4, rngs=nnx.Rngs(0)), 3, rngs=nnx.Rngs(0))
    card = Card(task="clips", preprocessing=Preprocessing((6, 8), channels=1), classes=CLASSES)
    with pytest.raises(InputError, match="empty has no frames"):
        by_frame(reader, card, Item("empty", tmp_path / "empty"))


def test_an_unreadable_file_leaves_the_others_their_answers(capsys):
    broken = "scans/2024/[march/page_018.png cannot be read as a picture (image file is truncated)."
    answers = [Answer("scans/[/x].png", "3", 0.9, (("5", 0.1),)), Answer("scans/b.png", error=broken)]
    _print(answers, 0.7)
    shown = capsys.readouterr()
    assert "scans/[/x].png" in shown.out
    assert "90.0" in shown.out
    assert "no answer" in shown.out
    assert broken in shown.err
