"""Boxes of own pictures: files, targets, losses and precision by hand, and the two commands on drawn boxes."""

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from experiments import boxes as script
from rowrnn.errors import InputError
from rowrnn.lab.data import Split
from rowrnn.lab.data.load import Columns, load_listing
from rowrnn.lab.data.shaping import Shaping
from rowrnn.lab.experiment.command_line import parse
from rowrnn.lab.experiment.study import run_study
from rowrnn.lab.own import boxes as own
from rowrnn.lab.predict.command import Wish, tell
from rowrnn.lab.tasks.boxes.augmentation import BoxAugmentation
from rowrnn.lab.tasks.boxes.digit_scenes import digit_scenes
from rowrnn.lab.tasks.boxes.examples import Scenes
from rowrnn.lab.tasks.boxes.files import boxes_before, boxes_of, boxes_within
from rowrnn.lab.tasks.boxes.measures import average_precision, best_threshold, counts, true_counts
from rowrnn.lab.tasks.boxes.targets import next_places, ordered, place_weights
from rowrnn.lab.tasks.boxes.task import box_loss, dense_loss, picture_precision, rightness, sequential_loss
from rowrnn.models.boxes import Boxes
from rowrnn.models.sequential_detector import Spoken
from rowrnn.saving import Preprocessing

STILL = BoxAugmentation(mirror=False, upside_down=False, zoom=0.0, shift=0.0, light=0.0, contrast=0.0, tint=0.0)
NAMES = ("square", "bar")


def drawn(rng, height=64, width=96):
    """A dark picture with one to three light squares and bars, and their boxes."""
    image, boxes, kinds = rng.integers(0, 60, (height, width, 3)).astype(np.uint8), [], []
    for _ in range(rng.integers(1, 4)):
        kind = int(rng.integers(2))
        wide, high = ((16, 16), (28, 10))[kind]
        left, top = int(rng.integers(0, width - wide)), int(rng.integers(0, height - high))
        if any(abs(left - x) < 26 and abs(top - y) < 18 for x, y, *_ in boxes):
            continue
        image[top : top + high, left : left + wide] = (220, 120, 120) if kind else (120, 220, 160)
        boxes.append([left, top, wide, high])
        kinds.append(NAMES[kind])
    return image, {"bbox": boxes, "category": kinds}


def folder(path, count=12, change=lambda row: row):
    rng = np.random.default_rng(0)
    for split, number in (("train", count), ("validation", 4), ("test", 4)):
        (path / split).mkdir(parents=True)
        rows = []
        for n in range(number):
            image, objects = drawn(rng)
            Image.fromarray(image).save(path / split / f"{n}.png")
            rows.append(change({"file_name": f"{n}.png", "objects": objects}))
        (path / split / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return path


def of(path):
    return boxes_of(load_listing(str(path), "boxes", Columns()), Shaping())


def test_own_pictures_with_boxes(tmp_path):
    data = of(folder(tmp_path / "d"))
    assert data.classes == ("bar", "square")
    assert data.train.images.shape == (12, 64, 96, 3)
    rows = [json.loads(line) for line in (tmp_path / "d" / "train" / "metadata.jsonl").read_text().splitlines()]
    for n, row in enumerate(rows):
        assert data.train.counts[n] == len(row["objects"]["bbox"])
        for place, (box, kind) in enumerate(zip(*row["objects"].values(), strict=True)):
            left, top, width, height = box
            np.testing.assert_allclose(data.train.boxes[n, place], [left, top, left + width, top + height], atol=1e-4)
            assert data.classes[data.train.classes[n, place]] == kind
    assert data.most == max(len(row["objects"]["bbox"]) for row in rows)


@pytest.mark.parametrize("fit", ["pad", "stretch", "crop"])
@pytest.mark.parametrize("invert", [False, True])
def test_boxes_move_with_their_picture(fit, invert):
    image = np.zeros((60, 100, 1), np.uint8)
    image[20:44, 30:70] = 255
    preprocessing = Preprocessing((32, 32), fit=fit, invert=invert)
    seen = preprocessing.to_bytes(image[None])[0, :, :, 0]
    rows, columns = (np.flatnonzero((seen > 127).any(axis=axis) != invert) for axis in (1, 0))
    if not invert:
        box = np.array([[30, 20, 70, 44]], np.float32)
        ((left, top, right, bottom),) = boxes_within(preprocessing, box, (60, 100))
        np.testing.assert_allclose([left, right], [columns[0], columns[-1] + 1], atol=0.6)
        np.testing.assert_allclose([top, bottom], [rows[0], rows[-1] + 1], atol=0.6)
        back = boxes_before(preprocessing, boxes_within(preprocessing, box, (60, 100)), (60, 100))
        if fit != "crop":
            np.testing.assert_allclose(back, box, atol=1e-3)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({"bbox": [[1, 2, 0, 5]], "category": ["x"]}, r"box \[1, 2, 0, 5\] of .*1.png \(x\) has no size"),
        ({"bbox": [[1, 2, 99, 5]], "category": ["x"]}, r"to \[100, 7\], beyond the picture of 96x64"),
        ({"bbox": [[1, 2, 3, 5]], "category": []}, "has 1 boxes and 0 categories"),
        ({"bbox": [[1, 2, 3]], "category": ["x"]}, r"expected \{\"bbox\""),
        ({"box": []}, r"expected \{\"bbox\""),
    ],
)
def test_boxes_that_are_wrong(tmp_path, objects, message):
    def change(row):
        return {**row, "objects": objects} if row["file_name"] == "1.png" else row

    with pytest.raises(InputError, match=message):
        of(folder(tmp_path / "d", change=change))


@pytest.mark.parametrize("one_each", [False, True], ids=["lists", "mappings"])
def test_boxes_of_a_table_with_named_categories(tmp_path, one_each):
    rng = np.random.default_rng(0)
    category = {"names": ["square", "bar"], "_type": "ClassLabel"}
    for split, count in (("train", 6), ("validation", 2), ("test", 2)):
        rows = []
        for _ in range(count):
            image, objects = drawn(rng)
            content = io.BytesIO()
            Image.fromarray(image).save(content, "png")
            numbers = [NAMES.index(kind) for kind in objects["category"]]
            told = {"bbox": objects["bbox"], "category": numbers}
            if one_each:
                told = [{"bbox": box, "category": number} for box, number in zip(objects["bbox"], numbers, strict=True)]
            rows.append({"image": {"bytes": content.getvalue(), "path": "a.png"}, "objects": told})
        of_objects = {"bbox": {"feature": {"dtype": "int64"}, "_type": "List"}, "category": category}
        features = {"image": {"_type": "Image"}, "objects": {"feature": of_objects, "_type": "Sequence"}}
        about = {"huggingface": json.dumps({"info": {"features": features}})}
        table = pa.Table.from_pylist(rows)
        pq.write_table(table.replace_schema_metadata(about), tmp_path / f"{split}-00000-of-00001.parquet")
    data = of(tmp_path)
    assert data.classes == ("bar", "square")
    _, objects = drawn(np.random.default_rng(0))  # those of the first picture
    assert [data.classes[kind] for kind in data.train.classes[0, : data.train.counts[0]]] == objects["category"]


def test_a_category_that_no_training_picture_has(tmp_path):
    place = folder(tmp_path / "d")
    file = place / "test" / "metadata.jsonl"
    file.write_text(file.read_text().replace("square", "disc"))
    with pytest.raises(InputError, match=r"disc of 'test' of .* are in no training picture"):
        of(place)


@pytest.mark.parametrize("none", [{"bbox": [], "category": []}, []], ids=["lists", "mappings"])
def test_a_picture_without_objects_is_one(tmp_path, none):
    def change(row):
        return {**row, "objects": none} if row["file_name"] == "1.png" else row

    assert of(folder(tmp_path / "d", change=change)).train.counts[1] == 0


def test_scenes_show_each_digit_in_its_box():
    rng = np.random.default_rng(0)
    digits = np.zeros((10, 28, 28, 1), np.uint8)
    for digit in digits:
        digit[4:24, 8:20] = rng.integers(100, 255, (20, 12, 1))
    scenes = digit_scenes(0, Split(digits, np.arange(10)), 30)
    assert scenes.counts.min() >= 1
    for image, boxes, count in zip(scenes.images, scenes.boxes, scenes.counts, strict=True):
        inside = np.zeros(image.shape[:2], bool)
        for left, top, right, bottom in boxes[:count].astype(int):
            assert image[top:bottom, left:right].mean() > 90
            inside[top:bottom, left:right] = True
        assert image[~inside].max(initial=0) == 0


def test_boxes_follow_the_changes_of_their_picture():
    rng = np.random.default_rng(0)
    images, boxes = np.zeros((40, 64, 96, 1), np.float32), np.zeros((40, 2, 4), np.float32)
    for image, box in zip(images, boxes, strict=True):
        left, top = rng.integers(5, 60), rng.integers(5, 30)
        box[0] = left, top, left + 24, top + 18
        image[top : top + 18, left : left + 24] = 1
    scenes = Scenes(images, boxes, np.ones((40, 2), np.int32), np.ones(40, np.int32))
    how = BoxAugmentation(upside_down=True, light=0.0, contrast=0.0, tint=0.0)
    found = jax.jit(how.__call__)(scenes, jax.random.key(0), jnp.zeros(1), jnp.ones(1))
    present = np.asarray(found.counts) == 1
    assert 0.6 < present.mean() <= 1
    for image, box in zip(np.asarray(found.images)[present], np.asarray(found.boxes)[present, 0], strict=True):
        rows, columns = (np.flatnonzero((image[..., 0] > 0.5).any(axis=axis)) for axis in (1, 0))
        np.testing.assert_allclose(box[[0, 2]], [columns[0], columns[-1] + 1], atol=1.01)
        np.testing.assert_allclose(box[[1, 3]], [rows[0], rows[-1] + 1], atol=1.01)


def test_without_changes_nothing_changes():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3, 32, 48, 3)).astype(np.float32)
    boxes = np.tile(np.array([4, 4, 20, 30], np.float32), (3, 2, 1))
    scenes = Scenes(images, boxes, np.ones((3, 2), np.int32), np.array([0, 1, 2], np.int32))
    found = jax.jit(lambda scenes, key: STILL(scenes, key, jnp.ones(3), jnp.ones(3)))(scenes, jax.random.key(0))
    np.testing.assert_allclose(found.images, images, atol=1e-5)
    np.testing.assert_array_equal(found.boxes, boxes)
    np.testing.assert_array_equal(found.counts, scenes.counts)


@pytest.mark.parametrize("given", [{"zoom": 1.0}, {"shift": -0.1}, {"light": float("nan")}])
def test_changes_out_of_range(given):
    with pytest.raises(InputError, match="from 0 to below 1, not"):
        BoxAugmentation(**given)


def test_places_that_suit_a_box_by_loops():
    boxes = np.array([[[3, 5, 50, 30], [0, 0, 6, 4]]], np.float32)
    found = np.asarray(place_weights(jnp.asarray(boxes), (4, 6)))[0]
    for box, weights in zip(boxes[0].astype(np.float64), found, strict=True):
        expected = []
        for place in range(24):
            x, y = 8 * (place % 6) + 4, 8 * (place // 6) + 4
            sx, sy = (max(0.09 * (box[2 + axis] - box[axis]), 3.2) for axis in (0, 1))
            away = ((x - (box[0] + box[2]) / 2) / sx) ** 2 + ((y - (box[1] + box[3]) / 2) / sy) ** 2
            expected.append(-away / 2)
        np.testing.assert_allclose(weights, np.exp(np.array(expected) - max(expected)), rtol=1e-4, atol=1e-7)


def test_what_is_asked_for_at_each_step_by_loops():
    rng = np.random.default_rng(0)
    weights, present = rng.uniform(size=(2, 3, 5)), np.array([[True, True, False], [False] * 3])
    shares = weights / weights.sum(axis=-1, keepdims=True)
    for in_turn in (False, True):
        found = next_places(jnp.asarray(weights, jnp.float32), jnp.asarray(present), in_turn=in_turn)
        expected = np.zeros((2, 4, 6))
        for image, count in enumerate((2, 0)):
            for step in range(count):
                left = [step] if in_turn else range(step, count)
                expected[image, step, :5] = np.mean([shares[image, number] for number in left], axis=0)
            expected[image, count, 5] = 1
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_orders():
    boxes = jnp.array([[[40.0, 9, 50, 13], [0, 1, 90, 3], [2, 10, 6, 14], [0, 0, 1, 1]]])
    present = jnp.array([[True, True, True, False]])
    key = jax.random.key(0)
    assert np.asarray(ordered(key, "rows", boxes, present)).tolist() == [[1, 2, 0, 3]]
    assert np.asarray(ordered(key, "large", boxes, present)).tolist() == [[1, 0, 2, 3]]
    drawn = {tuple(np.asarray(ordered(jax.random.key(n), "any", boxes, present))[0].tolist()) for n in range(60)}
    assert len(drawn) == 6
    assert all(one[3] == 3 for one in drawn)


def test_box_loss_by_hand():
    truth, said = jnp.array([[[10.0, 10, 30, 20]]]), jnp.array([[[20.0, 10, 40, 30]]])
    assert box_loss(truth, truth)[0, 0] == pytest.approx(0, abs=1e-6)
    common, either, around = 10 * 10, 20 * 10 + 20 * 20 - 100, 30 * 20
    generalized = common / either - (around - either) / around

    def huber(x):
        return x**2 / 2 if abs(x) < 0.2 else 0.2 * (abs(x) - 0.1)

    expected = 1 - generalized + huber(10 / 20) + huber(5 / 10) + huber(0) + huber(np.log(2))
    assert box_loss(said, truth)[0, 0] == pytest.approx(expected, rel=1e-5)


def scene():
    boxes = np.array([[[4, 4, 20, 12], [30, 8, 44, 28], [0, 0, 0, 0]]], np.float32)
    return Scenes(np.zeros((1, 32, 48, 1), np.float32), boxes, np.array([[1, 0, 0]], np.int32), np.array([2], np.int32))


def unchanged(batch, key):
    del key
    return jax.tree.map(jnp.asarray, batch)


def test_loss_of_a_decoder_by_loops():
    rng = np.random.default_rng(0)
    places, classes = rng.normal(size=(1, 4, 25)), rng.normal(size=(1, 3, 2))
    boxes = np.sort(rng.uniform(0, 40, (1, 3, 2, 2)), axis=2).reshape(1, 3, 4)

    class Model:
        def logits(self, images, given, kinds, told, key):
            assert images.shape == (1, 32, 48, 1)
            # Row by row: the second box lies in a lower row of places.
            np.testing.assert_array_equal(told, scene().boxes)
            return Spoken(*(jnp.asarray(part, jnp.float32) for part in (places, classes, boxes)))

    found, metrics = sequential_loss(Model(), scene(), jax.random.key(0), change=unchanged, order="rows")
    targets = np.asarray(
        next_places(place_weights(jnp.asarray(scene().boxes), (4, 6)), jnp.array([[True, True, False]]), in_turn=True)
    )
    logs = places - np.log(np.exp(places).sum(axis=-1, keepdims=True))
    where = -sum((targets[0, step] * logs[0, step]).sum() for step in range(3)) / 3
    kinds = classes - np.log(np.exp(classes).sum(axis=-1, keepdims=True))
    what = -(kinds[0, 0, 1] + kinds[0, 1, 0]) / 2
    size = float(np.mean(box_loss(jnp.asarray(boxes[:, :2]), jnp.asarray(scene().boxes[:, :2]))))
    np.testing.assert_allclose([metrics["place"], metrics["class"], metrics["box"]], [where, what, size], rtol=1e-4)
    assert found == pytest.approx(where + what + size, rel=1e-4)


def test_loss_of_a_dense_detector_by_loops():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 24, 2))
    boxes = np.sort(rng.uniform(0, 40, (1, 24, 2, 2)), axis=2).reshape(1, 24, 4)

    class Model:
        def logits(self, images, key):
            return jnp.asarray(logits, jnp.float32), jnp.asarray(boxes, jnp.float32)

    found, metrics = dense_loss(Model(), scene(), jax.random.key(0), change=unchanged)
    weights = np.asarray(place_weights(jnp.asarray(scene().boxes), (4, 6)), np.float64)[0]
    total = 0.0
    for place in range(24):
        for kind in range(2):
            heat = weights[0, place] if kind == 1 else weights[1, place]
            said = 1 / (1 + np.exp(-logits[0, place, kind]))
            right = -((1 - said) ** 2) * np.log(said)
            total += right if heat == 1 else -((1 - heat) ** 4) * said**2 * np.log(1 - said)
    assert metrics["place"] == pytest.approx(total / 2, rel=1e-4)
    assert found == pytest.approx(float(metrics["place"] + metrics["box"]), rel=1e-6)
    assert metrics["box"] > 0


TRUTH = Scenes(
    np.zeros((2, 8, 8, 1), np.uint8),
    np.array(
        [[[0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 0, 0]], [[0, 0, 10, 10], [5, 0, 15, 10], [40, 0, 50, 10]]], "f4"
    ),
    np.array([[0, 1, 0], [0, 0, 1]], np.int32),
    np.array([2, 3], np.int32),
)
SAID = Boxes(
    # Of the first picture: right, of the wrong class, right. Of the second: right, the same again, nothing there.
    jnp.asarray([[[20.0, 0, 30, 10], [0, 0, 10, 10], [1, 0, 11, 10]], [[0, 0, 10, 9], [0, 0, 10, 10], [90, 0, 99, 9]]]),
    jnp.asarray([[1, 1, 0], [0, 0, 1]]),
    jnp.asarray([[0.9, 0.8, 0.3], [0.6, 0.7, 0.95]]),
    jnp.zeros((2, 3), int),
)


def test_which_boxes_are_right():
    right = np.asarray(rightness(SAID, TRUTH))
    np.testing.assert_array_equal(right, [[True, False, True], [False, True, False]])
    # By score: right, wrong, right of two; wrong, right, wrong of three.
    np.testing.assert_allclose(picture_precision(SAID, TRUTH), [(1 + 2 / 3) / 2, (1 / 2) / 3], rtol=1e-5)
    empty = TRUTH._replace(counts=np.array([2, 0], np.int32))
    np.testing.assert_allclose(picture_precision(SAID, empty), [(1 + 2 / 3) / 2, 1 - 0.95], rtol=1e-5)


def test_average_precision_by_hand():
    found = average_precision(SAID, TRUTH, NAMES)
    # Class 0, by score: right .7, wrong .6, right .3, of three. At 101 recalls precision is 1 to 1/3, and 2/3 to 2/3.
    recalls = np.linspace(0, 1, 101)
    first = np.where(recalls <= 1 / 3, 1, np.where(recalls <= 2 / 3, 2 / 3, 0)).mean()
    # Class 1, by score: wrong .95, right .9, wrong .8, of two: precision 1/2 up to 1/2.
    second = np.where(recalls <= 1 / 2, 1 / 2, 0).mean()
    assert found["ap_50_by_class"] == {
        "square": pytest.approx(first, abs=1e-6),
        "bar": pytest.approx(second, abs=1e-6),
    }
    assert found["ap_50"] == pytest.approx((first + second) / 2, abs=1e-6)
    # [1, 0, 11, 10] overlaps its box by 90 of 110, .818: right up to .8, seven of the ten bounds.
    without = np.where(recalls <= 1 / 3, 1, 0).mean()
    assert found["ap"] == pytest.approx(((7 * first + 3 * without) / 10 + second) / 2, abs=1e-6)


def test_counts_by_hand():
    np.testing.assert_array_equal(true_counts(TRUTH, 2), [[1, 1], [2, 1]])
    np.testing.assert_array_equal(counts(SAID, 0.65, 2), [[0, 2], [1, 1]])
    # From .3 on all count: [1, 2] and [2, 1], one wrong; from .31 to .6 two are.
    assert best_threshold(SAID, TRUTH, 2) <= 0.3


@pytest.mark.slow
def test_own_pictures_are_searched(tmp_path):
    data = folder(tmp_path / "d", count=96)
    given = [
        "--data",
        str(data),
        "--params",
        "50000",
        "--epochs",
        "12",
        "--output",
        str(tmp_path / "run"),
        "--no-quick",
    ]
    options, _ = parse(own.Options, own.PRESETS, given)
    with jax.numpy_dtype_promotion("standard"):
        run = run_study(own.OwnBoxes, options)
    record = json.loads((run / "results.json").read_text())
    assert record["summary"][0]["ap_50"]["mean"] > 0.6
    for picture in ("found_gru_box_after_box.png", "looks_gru_box_after_box.png"):
        assert (run / picture).stat().st_size > 10_000
    image, objects = drawn(np.random.default_rng(7))
    Image.fromarray(image).resize((192, 128), Image.Resampling.NEAREST).save(tmp_path / "new.png")
    (answer,) = tell(str(run), [str(tmp_path / "new.png")], Wish(draw=tmp_path / "drawn"))
    found = answer.details["objects"]
    assert sorted(one["class"] for one in found) == sorted(objects["category"])
    for box, kind in zip(*objects.values(), strict=True):
        nearest = min(np.abs(np.array(one["box"]) - 2 * np.array(box)).max() for one in found if one["class"] == kind)
        assert nearest < 12
    assert (tmp_path / "drawn" / "new.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_experiment_compares_with_and_without_memory(tmp_path):
    data = folder(tmp_path / "d", count=16)
    given = ["--data", str(data), "--params", "30000", "--epochs", "1", "--output", str(tmp_path / "run")]
    options, _ = parse(script.Options, script.PRESETS, [*given, "--no-quick", "--no-full"])
    with jax.numpy_dtype_promotion("standard"):
        run = run_study(script.BoxStudy, options)
    record = json.loads((run / "results.json").read_text())
    assert [row[0] for row in record["table"][1:]] == ["GRU, box after box", "dense, without memory"]
