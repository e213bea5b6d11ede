"""Masks of own pictures: files, tiles, overlaps and the loss by hand, and the two commands on drawn discs."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import masks as script
from rowrnn.errors import InputError
from rowrnn.lab.data import Augmentation
from rowrnn.lab.data.load import Columns, load_listing
from rowrnn.lab.experiment.command_line import parse
from rowrnn.lab.experiment.study import run_study
from rowrnn.lab.own import masks as own
from rowrnn.lab.predict.command import Wish, tell
from rowrnn.lab.tasks.masks.files import Masked, masks_of
from rowrnn.lab.tasks.masks.task import loss, otsu, overlap, turned
from rowrnn.lab.tasks.masks.tiles import by_tiles, places


def disc(rng, height=32, width=32):
    """A picture of noise with a bright disc, and its mask."""
    row, column = np.mgrid[:height, :width]
    radius = rng.uniform(4, 9)
    middle = [rng.uniform(8, side - 8) for side in (height, width)]
    mask = (row - middle[0]) ** 2 + (column - middle[1]) ** 2 < radius**2
    return np.clip(rng.normal(90 + 60 * mask, 12), 0, 255).astype(np.uint8), mask


def folder(path, sizes=((32, 32),), count=12):
    rng = np.random.default_rng(0)
    for split, number in (("train", count), ("validation", 3), ("test", 3)):
        for kind in ("images", "masks"):
            (path / split / kind).mkdir(parents=True)
        for n in range(number):
            image, mask = disc(rng, *sizes[n % len(sizes)])
            Image.fromarray(image).save(path / split / "images" / f"{n}.png")
            Image.fromarray(255 * mask.astype(np.uint8)).save(path / split / "masks" / f"{n}.png")
    return path


def of(path, **how):
    return masks_of(load_listing(str(path), "masks", Columns()), **how)


def test_pictures_of_one_size_stay_whole(tmp_path):
    data = of(folder(tmp_path / "d"))
    assert data.train.images.shape == (12, 32, 32, 1)
    for n in range(3):
        image, mask = (Image.open(tmp_path / "d" / "test" / kind / f"{n}.png") for kind in ("images", "masks"))
        np.testing.assert_array_equal(data.test.images[n, :, :, 0], np.asarray(image))
        np.testing.assert_array_equal(data.test.masks[n], np.asarray(mask) > 127)
    assert data.preprocessing.size == (32, 32)
    assert "in their own resolution. " in data.source


def test_a_mask_that_was_mended_is_read_anew(tmp_path):
    place = folder(tmp_path / "d")
    before, file = of(place), place / "test" / "masks" / "0.png"
    mended = 255 - np.asarray(Image.open(file))
    Image.fromarray(mended).save(file)
    after = of(place)
    np.testing.assert_array_equal(after.test.masks[0], mended > 127)
    np.testing.assert_array_equal(after.test.masks[1:], before.test.masks[1:])


def test_pictures_of_different_sizes_are_cut_into_tiles(tmp_path):
    data = of(folder(tmp_path / "d", sizes=((32, 32), (20, 50))), tile=24)
    # Of 32 rows and columns two tiles each, of 20 and 50 one and three.
    assert data.train.images.shape == (6 * 4 + 6 * 3, 24, 24, 1)
    image = np.asarray(Image.open(tmp_path / "d" / "train" / "images" / "0.png"))
    np.testing.assert_array_equal(data.train.images[3, :, :, 0], image[8:, 8:])
    small = data.train.images[4]  # 20 rows, and 4 of the background, in which there is no object
    assert np.ptp(small[20:]) == 0
    assert not data.train.masks[4, 20:].any()


def test_tiles_cover_a_side_evenly():
    assert places(10, 10) == [0]
    assert places(25, 10) == [0, 8, 15]
    assert places(25, 10, 4) == [0, 5, 10, 15]


def test_what_tiles_say_is_blended():
    """A function of single pixels says the same by tiles; one of the tile's place is blended by nearness."""
    image = np.random.default_rng(0).normal(size=(30, 41, 1)).astype(np.float32)
    np.testing.assert_allclose(by_tiles(lambda x: np.sin(x[..., 0]), image, 16, 4), np.sin(image[..., 0]), atol=1e-6)
    np.testing.assert_array_equal(by_tiles(lambda x: x[..., 0], image, 64, 4), image[..., 0])
    line = np.arange(14, dtype=np.float32)[None, :, None]  # tiles of 8 with 2 in common begin at 0 and 6
    found = by_tiles(lambda x: np.broadcast_to(x.min(axis=(1, 2)), x.shape[:3]), np.tile(line, (8, 1, 1)), 8, 2)
    # At column 6 the first tile has weight 2 and the second 1, at column 7 the reverse.
    np.testing.assert_allclose(found[0, 5:9], [0, 6 / 3, 12 / 3, 6], atol=1e-6)


def test_overlap_by_hand():
    said = np.array([[[1, 1, 0, 0]], [[0, 0, 0, 0]], [[0, 0, 0, 0]], [[1, 1, 1, 1]]], bool)
    truth = np.array([[[0, 1, 1, 0]], [[0, 0, 0, 0]], [[1, 0, 0, 0]], [[1, 1, 1, 1]]], bool)
    for arrays in ((said, truth), (jnp.asarray(said), jnp.asarray(truth))):
        iou, dice = overlap(*arrays)
        np.testing.assert_allclose(iou, [1 / 3, 1, 0, 1], atol=1e-6)
        np.testing.assert_allclose(dice, [2 / 4, 1, 0, 1], atol=1e-6)


def test_loss_by_hand():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 4, 4, 1)).astype(np.uint8)
    masks = images[..., 0] > 100

    def model(images, key=None):
        """Says more of bright pixels, wherever they are, so that turning changes nothing."""
        return images[..., 0] - 1

    how = {"to_floats": lambda x: x.astype(jnp.float32) / 100, "augmentation": Augmentation(), "outside": [0.0]}
    found, metrics = loss(model, Masked(jnp.asarray(images), jnp.asarray(masks)), jax.random.key(0), **how)
    logits = images[..., 0] / 100.0 - 1
    said = 1 / (1 + np.exp(-logits))
    entropy = -np.where(masks, np.log(said), np.log(1 - said)).mean()
    sums = [a.sum(axis=(1, 2)) for a in (said * masks, said, masks)]
    dice = ((2 * sums[0] + 1) / (sums[1] + sums[2] + 1)).mean()
    assert found == pytest.approx(entropy + 1 - dice, abs=1e-5)
    assert metrics["entropy"] == pytest.approx(entropy, abs=1e-5)


def test_pictures_are_turned_into_eight_positions():
    image = jnp.arange(9.0).reshape(1, 3, 3, 1)
    found = np.asarray(turned(jnp.tile(image, (400, 1, 1, 1)), jax.random.key(0)))[..., 0]
    expected = {
        tuple(np.rot90(m, k).ravel())
        for m in (np.arange(9.0).reshape(3, 3), np.arange(9.0).reshape(3, 3).T)
        for k in range(4)
    }
    assert {tuple(one.ravel()) for one in found} == expected
    wide = jnp.arange(6.0).reshape(1, 2, 3, 1)
    assert (
        len({tuple(one.ravel()) for one in np.asarray(turned(jnp.tile(wide, (99, 1, 1, 1)), jax.random.key(0)))}) == 4
    )


def test_otsu_finds_what_differs_in_grey():
    rng = np.random.default_rng(1)
    pairs = [disc(rng) for _ in range(4)]
    images = np.stack([image for image, _ in pairs])[..., None]
    truth = np.stack([mask for _, mask in pairs])
    for shown in (images, 255 - images):  # Light on dark, and dark on light.
        assert overlap(otsu(shown), truth)[0].min() > 0.7
    assert not otsu(np.full((1, 4, 4, 1), 7, np.uint8)).any()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda mask: np.where(mask > 0, np.arange(32, dtype=np.uint8)[None] * 3 + 90, 0),
            "grey values, as .*set each",
        ),
        (lambda mask: np.zeros_like(mask), ""),
    ],
    ids=["grey", "empty"],
)
def test_masks_have_two_values(tmp_path, spoil, message):
    file = folder(tmp_path / "d") / "train" / "masks" / "3.png"
    Image.fromarray(spoil(np.asarray(Image.open(file))).astype(np.uint8)).save(file)
    if message:
        with pytest.raises(InputError, match=f"3.png has .* {message}"):
            of(tmp_path / "d")
    else:
        assert not of(tmp_path / "d").train.masks[3].any()


@pytest.mark.slow
def test_own_pictures_are_painted(tmp_path):
    data = folder(tmp_path / "d", count=24)
    given = ["--data", str(data), "--params", "8000", "--epochs", "6", "--output", str(tmp_path / "run"), "--no-quick"]
    options, _ = parse(own.Options, own.PRESETS, given)
    with jax.numpy_dtype_promotion("standard"):
        run = run_study(own.OwnMasks, options)
    record = json.loads((run / "results.json").read_text())
    assert record["summary"][0]["iou"]["mean"] > 0.8
    assert (run / "painted_renet.png").stat().st_size > 10_000
    # A picture of another size than those of the training.
    image, mask = disc(np.random.default_rng(5), 40, 70)
    Image.fromarray(image).save(tmp_path / "new.png")
    (answer,) = tell(str(run), [str(tmp_path / "new.png")], Wish(draw=tmp_path / "drawn"))
    assert answer.details["share"] == pytest.approx(mask.mean(), abs=0.03)
    painted = np.asarray(Image.open(tmp_path / "drawn" / "new-mask.png")) > 0
    assert overlap(painted[None], mask[None])[0][0] > 0.75
    assert (tmp_path / "drawn" / "new.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_experiment_compares_renet_and_unet(tmp_path):
    data = folder(tmp_path / "d", count=16)
    given = ["--data", str(data), "--params", "9000", "--epochs", "2", "--output", str(tmp_path / "run")]
    options, _ = parse(script.Options, script.PRESETS, [*given, "--no-quick", "--no-full"])
    with jax.numpy_dtype_promotion("standard"):
        run = run_study(script.Masks, options)
    record = json.loads((run / "results.json").read_text())
    assert [row[0] for row in record["table"][1:]] == ["ReNet", "U-Net", "Otsu's threshold"]
    assert record["baselines"]["otsu"]["iou"] > 0.8
