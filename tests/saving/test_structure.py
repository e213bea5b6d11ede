"""Modules as JSON and arrays: what comes back is the same pytree, and nothing but known classes is looked up."""

import json
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rowrnn
from rowrnn import (
    CELLS,
    Bidirectional,
    ConvGRU,
    ConvLSTM,
    ImageScan,
    Order,
    ProjectedLSTM,
    Recurrent,
    ReNet,
    Residual,
    Stack,
    Transformer,
)
from rowrnn.decoding.sentences import SpecialTokens
from rowrnn.errors import InputError
from rowrnn.image.orders import ORDERS
from rowrnn.models import (
    CNN,
    Captioner,
    Classifier,
    Forecaster,
    FrameAverage,
    FrameCNN,
    LanguageModel,
    LineReader,
    ScanClassifier,
    VideoClassifier,
)
from rowrnn.saving.structure import build, describe, own_names
from tests.helpers.cases import thinned
from tests.helpers.pytrees import assert_same

RNGS = nnx.Rngs(0)


def there_and_back(module, **options):
    description, arrays = describe(module)
    stored = {name: np.asarray(array) for name, array in arrays.items()}
    return build(json.loads(json.dumps(description)), stored, **options)


def gru(features=3, hidden=4):
    return rowrnn.GRU(features, hidden, rngs=RNGS)


LAYERS = {
    "rows": lambda: rowrnn.RowLSTM(4, 3, rngs=RNGS),
    "noisy": lambda: Recurrent(gru(), reverse=True, recurrent_dropout=0.1, zoneout=0.2),
    "learned state": lambda: Recurrent(rowrnn.LSTM(3, 4, rngs=RNGS), learn_initial_state=True),
    "bidirectional": lambda: Bidirectional(gru(), gru(), merge="sum"),
    "stack": lambda: Stack([gru(), Bidirectional(gru(4), gru(4))], dropout=0.5, variational=True),
    "scan": lambda: ImageScan(gru(4), "diagonal"),
    "residual": lambda: Stack([Residual(gru(3), expansion=2, dropout=0.1, rngs=RNGS), gru()]),
    "transformer": lambda: Transformer(3, 4, causal=True, rngs=RNGS),
    "patches": lambda: ImageScan(gru(4), "pixels", patch=(2, 2)),
    "renet": lambda: ReNet(1, 3, (2, 2), cell=rowrnn.LSTM, rngs=RNGS),
    "conv lstm": lambda: ConvLSTM(1, 2, (3, 5), rngs=RNGS),
    "conv gru": lambda: ConvGRU(1, 2, rngs=RNGS),
    "projected": lambda: ProjectedLSTM(3, 4, 2, rngs=RNGS),
    "sixteen bit": lambda: rowrnn.GRU(3, 4, dtype=jnp.bfloat16, rngs=RNGS),
    "batch norm": lambda: nnx.Sequential(
        nnx.Linear(3, 3, rngs=RNGS), nnx.BatchNorm(3, rngs=RNGS), jax.nn.gelu, jnp.tanh
    ),
    "attention": lambda: nnx.MultiHeadAttention(2, 4, dropout_rate=0.1, rngs=RNGS),
    "own noise": lambda: nnx.Dropout(0.1, rngs=nnx.Rngs(dropout=jax.random.key(3, impl="rbg"))),
    "precise": lambda: nnx.Linear(2, 3, precision=jax.lax.Precision.HIGHEST, dtype=jnp.float16, rngs=RNGS),
    "dict": lambda: nnx.Dict(b=gru(), a=nnx.List([nnx.relu, gru()])),
}
MODELS = {
    "classifier": lambda: Classifier(gru(4), 3, pooling="mean", dropout=0.1, rngs=RNGS),
    "scan classifier": lambda: ScanClassifier(
        [ReNet(1, 3, rngs=RNGS), ImageScan(Bidirectional(gru(6), gru(6)))], 3, head_hidden=5, rngs=RNGS
    ),
    "cnn": lambda: CNN((6, 4, 1), 4, 3, rngs=RNGS),
    "video": lambda: VideoClassifier(FrameCNN((6, 4, 1), 4, 3, rngs=RNGS), gru(3), 3, rngs=RNGS),
    "frame": lambda: FrameAverage(FrameCNN((6, 4, 1), 4, 3, rngs=RNGS), 5, 3, rngs=RNGS),
    "lines": lambda: LineReader(16, 5, 4, cell=rowrnn.LSTM, both_ways=True, rngs=RNGS),
    "lines without a cell": lambda: LineReader(16, 5, 4, cell=None, rngs=RNGS),
    "captions": lambda: Captioner(
        rowrnn.GRU, 4, shape=(8, 8, 1), words=7, longest=4, tokens=SpecialTokens(0, 1, 2), channels=8, rngs=RNGS
    ),
    "language": lambda: LanguageModel(Residual(gru(3), rngs=RNGS), 5, dropout=0.1, rngs=RNGS),
    "forecast": lambda: Forecaster(rowrnn.ConvGRU, 4, shape=(8, 8, 1), patch=4, rngs=RNGS),
}


@pytest.mark.parametrize("make", thinned({**LAYERS, **MODELS}, 4))
def test_every_layer_and_model_comes_back_as_the_same_pytree(make):
    module = make()
    assert_same(there_and_back(module), module)
    assert own_names(describe(module)[0]) == set()


@pytest.mark.parametrize("kind", thinned(list(CELLS), 3))
def test_every_cell_comes_back_and_computes_the_same(kind):
    layer = Recurrent(CELLS[kind](3, 4, rngs=RNGS))
    loaded = there_and_back(layer)
    assert_same(loaded, layer)
    x = jnp.ones((2, 5, 3))
    compute = jax.jit(lambda layer, x: layer(x)[0])
    np.testing.assert_array_equal(compute(loaded, x), compute(layer, x))


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_comes_back(order):
    layer = ImageScan(gru(1), order)
    assert there_and_back(layer).order is ORDERS[order]


class Reading(NamedTuple):
    first: int


class Mine(nnx.Module):
    """Keeps one attribute of every kind that can be described."""

    def __init__(self, rngs):
        self.cell = gru()
        self.order = ORDERS["snake"](2, 3)
        self.kinds = (np.dtype("float16"), jnp.bfloat16, np.float32, Reading(3), [None, True, 2, 0.5, "ä"], {1: ("b",)})
        self.count = np.int64(3)
        self.kernel_init = nnx.initializers.he_normal()
        self.weights = nnx.data({"a": nnx.Param(jnp.ones((2, 0))), "b": jnp.float32(1)})


def test_every_kind_of_attribute_comes_back():
    mine = Mine(RNGS)
    assert own_names(describe(mine)[0]) == {f"{__name__}:Mine", f"{__name__}:Reading"}
    loaded = there_and_back(mine, classes=(Mine, Reading))
    assert (loaded.kinds, loaded.count) == (mine.kinds, mine.count)
    assert isinstance(loaded.kinds[3], Reading)
    assert isinstance(loaded.order, Order)
    np.testing.assert_array_equal(loaded.order.pixels, mine.order.pixels)
    assert loaded.weights["a"].shape == (2, 0)
    assert loaded.weights["b"].shape == ()
    with pytest.raises(InputError, match="no longer the initializer"):
        loaded.kernel_init(jax.random.key(0), (2, 2))


def test_a_class_of_ones_own_must_be_given():
    with pytest.raises(InputError, match=r"uses Mine of .*: import it and load .* classes=\(Mine,\)"):
        there_and_back(Mine(RNGS))
    with pytest.raises(InputError, match="Mine is not a class of the kind that the model needs, Pytree"):
        build({"module": "elsewhere:Mine", "data": {}, "static": {}}, {}, classes=(type("Mine", (), {}),))


def test_a_loaded_model_is_trained_on():
    model = MODELS["classifier"]()
    loss = jax.jit(jax.value_and_grad(lambda model, x: model(x).sum()))
    images = jnp.ones((2, 5, 4, 1))
    found, expected = loss(there_and_back(model), images), loss(model, images)
    assert_same(found[1], expected[1])
    assert found[0] == expected[0]
    loaded = there_and_back(model)
    loaded.head.bias[...] = loaded.head.bias[...] + 1.0
    np.testing.assert_array_equal(loaded.head.bias[...], jnp.ones(3))
    assert jax.tree.structure(nnx.merge(*nnx.split(loaded))) == jax.tree.structure(model)


def test_one_of_several_seeds_is_taken():
    models = [Mine(nnx.Rngs(seed)) for seed in range(3)]
    description, arrays = describe(models[0])
    stacked = {name: np.stack([np.asarray(describe(model)[1][name]) for model in models]) for name in arrays}
    stacked = {name: arrays[name] if name.startswith("order") else array for name, array in stacked.items()}
    loaded = build(description, stacked, (Mine, Reading), seed=2)
    np.testing.assert_array_equal(loaded.cell.bias[...], models[2].cell.bias[...])
    np.testing.assert_array_equal(loaded.order.places, models[0].order.places)


@pytest.mark.parametrize(
    "attribute", [lambda h, w: ORDERS["rows"](h, w), partial(ORDERS["permuted"], seed=3)], ids=["lambda", "partial"]
)
def test_a_function_without_a_name_is_named_by_its_place(attribute):
    with pytest.raises(InputError, match=r"^layers\.0\.order is .*, a function that is not found by a name"):
        describe(ScanClassifier([ImageScan(gru(1), attribute)], 2, rngs=RNGS))


def test_an_object_of_another_kind_is_named_by_its_place():
    with pytest.raises(InputError, match=r"^note is an object of the class object, which cannot be saved"):
        describe(nnx.Dict(note=object()))
    with pytest.raises(InputError, match=r"Only a module of flax\.nnx can be saved, not an object of the class int"):
        describe(3)


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "builtins:eval",
        "subprocess:Popen",
        "rowrnn.lab.runs.directory:Run",
        "jax.numpy:load",
        "jax.numpy:np.load",
        "rowrnn.atomic_file:os.system",
        "rowrnn.atomic_file:os",
        "rowrnn.cells.gated:Nothing",
        "rowrnn.nowhere:LSTM",
        "flax.nnx:jax.numpy.load",
        "rowrnn.saving.structure:import_module",
        "rowrnn",
    ],
)
def test_nothing_else_is_looked_up(name):
    for description in (
        {"named": name},
        {"module": name, "data": {}, "static": {}},
        {"variable": name, "value": 0, "metadata": {}},
        {"dataclass": name, "fields": {}},
        {"tuple": [], "class": name},
        {"enum": name, "member": "x"},
    ):
        with pytest.raises(InputError, match="The model uses "):
            build(description, {})


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"module": "rowrnn.cells.gated:LSTM"},
        {"module": "flax.nnx:relu", "data": {}, "static": {}},
        {"module": "flax.nnx:Linear", "data": 3, "static": {}},
        {"array": "missing"},
        {"dtype": "float33"},
        {"dict": [1]},
        {"found": "os:system"},
    ],
    ids=str,
)
def test_a_damaged_description_is_refused(description):
    with pytest.raises(InputError):
        build(description, {})


def test_an_array_that_jax_would_round_is_refused():
    with pytest.raises(InputError, match="w has the dtype float64, which JAX would round: set jax_enable_x64"):
        build({"array": "w"}, {"w": np.ones(3)})
