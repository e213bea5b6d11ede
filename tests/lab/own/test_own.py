"""Own files in, answers out: each task trained on a folder made here, and asked about its files."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image, ImageDraw

import rowrnn
from rowrnn.errors import InputError
from rowrnn.lab.data.sources.open import open_listing
from rowrnn.lab.experiment.command_line import parse
from rowrnn.lab.experiment.study import run_study
from rowrnn.lab.own import captions, clips, images, lines, text
from rowrnn.lab.own.command import TASKS, train
from rowrnn.lab.predict.command import Wish, tell
from rowrnn.lab.tasks.clips.examples import Clips, KeptClips
from rowrnn.lab.tasks.lines.files import lines_of
from rowrnn.lab.tasks.lines.measures import character_error_rate

STUDIES = {
    "images": (images.OwnImages, images),
    "lines": (lines.OwnLines, lines),
    "clips": (clips.OwnClips, clips),
    "captions": (captions.OwnCaptions, captions),
    "text": (text.OwnText, text),
}
TINY = {
    "images": ["--params", "3000"],
    "lines": ["--hidden", "8", "--layers", "1", "--height", "24", "--groups", "2"],
    "clips": ["--hidden", "8", "--channels", "4", "--features", "8"],
    "text": ["--hidden", "8", "--blocks", "1", "--context", "8"],
    "captions": ["--hidden", "16", "--channels", "8", "--embedding", "8", "--min-count", "1"],
}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def shape(kind, place, side=24):
    image = Image.new("L", (side, side), 230)
    box = (place, place, place + 10, place + 10)
    (ImageDraw.Draw(image).ellipse if kind == "round" else ImageDraw.Draw(image).rectangle)(box, fill=20)
    return image


def made(folder, task):
    """A folder in the layout of a task, with 40 examples of two kinds."""
    rows = []
    if task == "text":
        folder.mkdir(parents=True)
        (folder / "t.txt").write_text("ab ba\n" * 100)
        return folder
    for number in range(40):
        kind, place = ("round", "square")[number % 2], 2 + number % 9
        image = shape(kind, place)
        if task in ("images", "clips"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        if task == "images":
            image.save(folder / kind / f"{number}.png")
        elif task == "clips":
            frames = [shape(kind, place + step) for step in range(2 + number % 3)]
            path = folder / kind / f"{number}.gif"
            frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
        else:
            folder.mkdir(exist_ok=True)
            if task == "lines":
                image = image.resize((60 + number, 24))
            image.save(folder / f"{number}.png")
            text = ("ab" if kind == "round" else "ba") if task == "lines" else [f"A {kind} thing.", f"It is {kind}!"]
            rows.append(json.dumps({"file_name": f"{number}.png", "text": text}))
    if rows:
        (folder / "metadata.jsonl").write_text("\n".join(rows))
    return folder


def options_of(task, *arguments):
    _, module = STUDIES[task]
    options, _ = parse(module.Options, module.PRESETS, [*TINY[task], *map(str, arguments)])
    return options


def trained(task, tmp_path, *arguments):
    study, _ = STUDIES[task]
    place = made(tmp_path / "data", task)
    options = options_of(task, "--data", place, "--epochs", 2, "--output", tmp_path / "run", *arguments)
    # Schedules of optax multiply floats by step counts.
    with jax.numpy_dtype_promotion("standard"):
        return place, run_study(study, options)


@pytest.mark.slow
@pytest.mark.parametrize("task", [task for task in STUDIES if task != "text"])
def test_a_task_is_trained_on_own_files_and_answers(task, tmp_path):
    place, run = trained(task, tmp_path, "--seeds", 2)
    record = json.loads((run / "results.json").read_text())
    assert record["experiment"] == f"train_{task}"
    assert record["finished"]
    assert record["data"]["train"] + record["data"]["validation"] + record["data"]["test"] == 40
    answers = tell(str(run), [str(place)])
    assert len(answers) == 40
    (row,) = record["summary"]
    assert row["steps_per_epoch"] >= 50  # of several passes over so few examples
    assert not any(answer.error for answer in answers)
    model, card = rowrnn.load(run, seed=1)
    assert card.task == task
    rowrnn.save(model, tmp_path / "alone.safetensors", card)
    alone = tell(str(tmp_path / "alone.safetensors"), [str(place)])
    assert [answer.file for answer in alone] == [answer.file for answer in answers]


@pytest.mark.slow
def test_a_text_goes_on_as_it_was_learnt(tmp_path, capsys):
    _, run = trained("text", tmp_path, "--epochs", "8")
    record = json.loads((run / "results.json").read_text())
    assert (record["data"]["train"], record["data"]["test"], record["data"]["symbols"]) == (480, 60, 5)
    (row,) = record["summary"]
    assert row["nats"]["mean"] == pytest.approx(0, abs=0.2)
    assert len(row["sample"]) == 600
    (tmp_path / "a.txt").write_text("ab ba\nab")
    (tmp_path / "b.txt").write_text("abc!")
    (tmp_path / "c.txt").write_bytes(b"")
    names = [str(tmp_path / f"{name}.txt") for name in "abc"]
    right, unknown, empty = tell(str(run), names, Wish(length=10, temperature=0.0))
    assert right.answer == " ba\nab ba\n"
    assert not right.unsure()
    assert "b.txt has 'c', '!', which the model does not know" in unknown.error
    assert "c.txt is empty" in empty.error
    assert capsys.readouterr().out.endswith("ab ba\nab ba\nab ba\n\n")
    model, card = rowrnn.load(run)
    rowrnn.save(model, tmp_path / "alone.safetensors", card)
    (again,) = tell(str(tmp_path / "alone.safetensors"), names[:1], Wish(length=10, temperature=0.0))
    assert again.answer == right.answer
    (tmp_path / "windows.txt").write_bytes(b"ab ba\r\nab")
    (same,) = tell(str(run), [str(tmp_path / "windows.txt")], Wish(length=10, temperature=0.0))
    assert same.answer == right.answer
    with pytest.raises(InputError, match="Expected --length of at least 1"):
        tell(str(run), names, Wish(length=0))
    with pytest.raises(InputError, match="--draw is for models that are asked about pictures"):
        tell(str(run), names, Wish(draw=tmp_path / "drawn"))
    with pytest.raises(InputError, match="--temperature is for language models, and this is a model for images"):
        tell("mnist_row_gru", names, Wish(temperature=1.0))
    with pytest.raises(InputError, match="There are no pictures in"):
        tell("mnist_row_gru", [str(tmp_path / "data")])


@pytest.mark.slow
def test_answers_agree_with_the_score_of_the_test_set(tmp_path):
    place, run = trained("images", tmp_path)
    record = json.loads((run / "results.json").read_text())
    (row,) = record["summary"]
    _, card = rowrnn.load(run)
    study, _ = STUDIES["images"]
    data = study.load(options_of("images", "--data", place))
    tested = np.asarray(data.test.images)
    from rowrnn.lab.predict.images import probabilities

    model, _ = rowrnn.load(run)
    answers = probabilities(model, card, list(tested)).argmax(axis=1)
    assert (answers == np.asarray(data.test.labels)).mean() == pytest.approx(row["test_accuracy"]["mean"])


@pytest.mark.slow
def test_lines_are_answered_as_they_were_scored_with_the_language_of_the_texts(tmp_path):
    place, run = trained("lines", tmp_path)
    (row,) = json.loads((run / "results.json").read_text())["summary"]
    _, card = rowrnn.load(run)
    assert (card.language_order, card.language_weight, card.length_bonus) == (7, 0.5, 1.25)
    assert set(card.language_texts) == {"ab", "ba"}
    study, _ = STUDIES["lines"]
    test = study.load(options_of("lines", "--data", place)).test
    answers = tell(str(run), [str(place / name) for name in test.names])
    found = character_error_rate([answer.answer for answer in answers], test.texts)
    assert found == pytest.approx(row["character_error_rate_beam"]["mean"])


@pytest.mark.slow
def test_a_program_takes_raw_pictures_of_another_size(tmp_path):
    from rowrnn.lab.runs.kept_models import about_program, export_kept

    _, run = trained("images", tmp_path)
    model, card = rowrnn.load(run)
    about = about_program(*export_kept(run, None, tmp_path / "model.jax"))
    assert about == [
        "It takes uint8 [b, h, w, 1] and gives float32 [b, 2].",
        "It prepares pictures of any size by itself: grey ones, c = 1.",
        "The scores are of the classes round, square.",
    ]
    raw = np.random.default_rng(0).integers(0, 256, (3, 37, 51, 1), np.uint8)
    found = rowrnn.program.load(tmp_path / "model.jax")(raw)
    np.testing.assert_allclose(found, model(card.needed_preprocessing()(raw)), atol=1e-5)


@pytest.mark.slow
def test_a_run_on_own_files_is_named_and_resumed_by_its_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    place = made(tmp_path / "my data", "images")
    with jax.numpy_dtype_promotion("standard"):
        train("images", [str(place), *TINY["images"], "--epochs", "1", "--output", "run"])
    record = json.loads((tmp_path / "run" / "results.json").read_text())
    assert record["command"].startswith("rowrnn train images --data '")
    with pytest.raises(SystemExit) as caught:
        train("images", ["--resume", "run"])
    assert caught.value.code == 2
    assert "rowrnn train images: The run in run is finished" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("task", "option"), [("lines", "--size"), ("clips", "--like-mnist"), ("captions", "--train-images")]
)
def test_options_that_would_do_nothing_are_not_offered(task, option, capsys):
    _, module = STUDIES[task]
    for arguments in (["--help"], [option, "1"]):
        with pytest.raises(SystemExit):
            parse(module.Options, module.PRESETS, arguments)
    shown = capsys.readouterr()
    assert option not in shown.out
    assert "Unrecognized" in shown.err


@pytest.mark.parametrize("task", TASKS)
def test_without_data_the_error_says_what_to_name(task, capsys):
    with pytest.raises(SystemExit) as caught:
        train(task, [])
    assert caught.value.code == 2
    assert "Name the data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("task", "other"), [("lines", "images"), ("images", "lines"), ("clips", "images"), ("captions", "clips")]
)
def test_data_of_another_task_is_refused(task, other, tmp_path):
    study, _ = STUDIES[task]
    place = made(tmp_path / "data", other)
    with pytest.raises(InputError, match=r"It would do for|has no column"):
        study.load(options_of(task, "--data", place))


@pytest.mark.slow
def test_a_test_set_of_one_class_has_no_area_under_a_curve(tmp_path):
    made(tmp_path / "data", "images")
    for path in (tmp_path / "data" / "square").iterdir():
        if path.name != "1.png":
            path.unlink()
    options = options_of("images", "--data", tmp_path / "data", "--epochs", 1, "--output", tmp_path / "run")
    with jax.numpy_dtype_promotion("standard"):
        run = run_study(images.OwnImages, options)
    record = json.loads((run / "results.json").read_text())
    assert "WARNING: 1 of 2 classes have no item in test: square" in record["data"]["source"]
    assert "auc" not in record["summary"][0]
    assert (run / "models").is_dir()


def written(folder, texts):
    """Pictures of lines with these texts, in the training, the validation and the test split."""
    for split, of_split in zip(("train", "validation", "test"), texts, strict=True):
        (folder / split).mkdir(parents=True)
        for number, _ in enumerate(of_split):
            shape("round", number % 9).resize((60 + number, 24)).save(folder / split / f"{number}.png")
        rows = [json.dumps({"file_name": f"{number}.png", "text": text}) for number, text in enumerate(of_split)]
        (folder / split / "metadata.jsonl").write_text("\n".join(rows))
    return folder


def test_lines_of_which_none_has_a_text_score_nothing(tmp_path):
    listing = open_listing(written(tmp_path / "set", (["a"] * 8, ["a"] * 2, ["b", "c"])), "lines")
    for split in ("validation", "test"):
        empty = [replace(item, columns={"text": " "}) for item in listing.splits[split]]
        with pytest.raises(InputError, match=f"All 2 texts of the split '{split}' .* are empty"):
            lines_of(replace(listing, splits={**listing.splits, split: empty}), height=24, groups=1)
    # A split that hides its texts is drawn anew.
    assert (
        "Split 'test' left out"
        in open_listing(written(tmp_path / "hidden", ("a" * 9, "b" * 2, [""] * 2)), "lines").source
    )


def test_a_line_that_is_much_wider_than_the_others_is_named(tmp_path):
    place = written(tmp_path / "set", (["a"] * 9, ["a"] * 2, ["b", "c"]))
    shape("round", 3).resize((900, 24)).save(place / "train" / "7.png")
    source = lines_of(open_listing(place, "lines"), height=24, groups=2).source
    assert "WARNING: train/7.png of train is 900 columns wide, and half of the lines at most 64" in source


def test_captions_without_words_are_named(tmp_path):
    place = made(tmp_path / "data", "captions")
    rows = [json.loads(line) for line in (place / "metadata.jsonl").read_text().splitlines()]
    rows[3]["text"] = ["a thing", " "]
    (place / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=r"1 of 40 pictures .* have a caption without a word: 3\.png"):
        captions.OwnCaptions.load(options_of("captions", "--data", place))


def test_arrays_that_are_no_pictures_are_refused_with_what_makes_them_some(tmp_path):
    values = np.random.default_rng(0).random((20, 6, 6))
    np.savez(tmp_path / "set.npz", x=values, y=np.arange(20) % 2)
    options = options_of("images", "--data", tmp_path / "set.npz")
    with pytest.raises(InputError, match=r"are float32 of shape \[6, 6, 1\]; .* \(255 \* images\)"):
        images.OwnImages(options, images.OwnImages.load(options))


def test_clips_that_do_not_fit_into_memory_are_read_from_disk(tmp_path):
    made(tmp_path / "mine", "clips")
    given = ["--data", str(tmp_path / "mine"), *TINY["clips"]]
    runs = []
    for memory in ("0", "100"):
        options, _ = parse(clips.Options, clips.PRESETS, [*given, "--data-memory", memory])
        runs.append(clips.OwnClips.load(options))
        assert isinstance(runs[-1].train, KeptClips if memory == "0" else Clips)
    streamed, whole = runs
    assert "Training clips are read from disk" in streamed.source
    assert streamed.describe() | {"source": ""} == whole.describe() | {"source": ""}


@pytest.mark.slow
def test_clips_are_trained_on_from_disk(tmp_path):
    place = made(tmp_path / "mine", "clips")
    given = ["--data", str(place), "--epochs", "1", "--output", str(tmp_path / "run"), "--data-memory", "0"]
    options, chosen = parse(clips.Options, clips.PRESETS, [*given, *TINY["clips"]])
    with jax.numpy_dtype_promotion("standard"):  # Schedules of optax multiply floats by step counts.
        run = run_study(clips.OwnClips, options, chosen)
    assert "Training clips are read from disk" in json.loads((run / "results.json").read_text())["data"]["source"]


def test_a_task_that_does_not_exist_is_named():
    with pytest.raises(InputError, match=r"no task 'imges'\. Did you mean 'images'\? The tasks are images, lines"):
        train("imges", ["folder"])
