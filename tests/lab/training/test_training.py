"""The loop against closed forms and plain NumPy: a linear model whose every step can be written down."""

import hashlib
import signal
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from rowrnn.cells import GRU
from rowrnn.errors import InputError
from rowrnn.lab.devices.mesh import seed_mesh
from rowrnn.lab.training import Checkpoints, Epoch, Fit, Recipe, Task
from rowrnn.lab.training.evaluation import compile_evaluation, evaluate
from rowrnn.lab.training.fit import fit
from rowrnn.lab.training.interruption import STOP_SIGNALS, Interruption
from rowrnn.models import Classifier
from tests.helpers.line_training import (
    assert_equal_fits,
    closeness,
    examples,
    fit_line,
    interrupted,
    line,
    noisy,
    recorded,
    squared,
    stop,
)

pytestmark = pytest.mark.usefixtures("standard_promotion")


def adamw(model, gradient, moments, t, rate):
    """Clipping by the global norm, then AdamW (Loshchilov & Hutter 2019) with decay on kernels only, in float64."""
    norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
    new = {}
    for name, g in gradient.items():
        g = g * min(1.0, 0.5 / norm)
        m, v = moments.setdefault(name, [np.zeros_like(g), np.zeros_like(g)])
        m[:] = 0.9 * m + 0.1 * g
        v[:] = 0.999 * v + 0.001 * g**2
        step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        decay = 0.1 * model[name] if model[name].ndim > 1 else 0.0
        new[name] = model[name] - rate * (step + decay)
    return new


def rate(step, steps):
    """Linear warm-up over a quarter of the steps, then half a cosine to zero."""
    rise = round(0.25 * steps)
    if step < rise:
        return 0.05 * step / rise
    return 0.05 * 0.5 * (1 + np.cos(np.pi * (step - rise) / (steps - rise)))


def moving_average(models, decay):
    """The mean of models with the weights decay^0 for the newest, decay^1 for the one before it, and so on."""
    shares = decay ** np.arange(len(models))[::-1]
    return {name: np.average([model[name] for model in models], axis=0, weights=shares) for name in models[0]}


@pytest.mark.parametrize("averaging", [0.0, 0.7])
def test_a_full_batch_training_equals_a_numpy_loop(averaging):
    # With one batch an epoch the order of the examples does not matter, so that the loop needs no random numbers.
    train, recipe = examples(4), Recipe(8, 4, 0.05, 0.25, 0.1, 0.5, averaging=averaging)
    keys = jax.random.split(jax.random.key(3), 2)
    result = fit(line, Task(squared, closeness, train, examples(3, 1)), recipe, keys)
    for seed, key in enumerate(keys):
        model = {name: np.asarray(value, np.float64) for name, value in line(jax.random.fold_in(key, 0)).items()}
        moments, models, (x, y) = {}, [], (np.asarray(array, np.float64) for array in train)
        scored = []
        for step in range(8):
            residual = x @ model["w"] + model["b"] - y
            assert result.epochs[step].metrics["loss"][seed] == pytest.approx((residual**2).mean(), rel=1e-5)
            gradient = {"w": 2 * x.T @ residual / 4, "b": 2 * residual.mean(axis=0)}
            model = adamw(model, gradient, moments, step + 1, rate(step, 8))
            models.append(model)
            scored.append(moving_average(models, averaging) if averaging else model)
            vx, vy = examples(3, 1)
            score = -((vx @ scored[-1]["w"] + scored[-1]["b"] - vy) ** 2).mean()
            assert result.epochs[step].score[seed] == pytest.approx(score, rel=1e-5)
        best = np.argmax([epoch.score[seed] for epoch in result.epochs])
        assert result.best_epochs[seed] == best + 1
        for name, kept in result.models.items():
            np.testing.assert_allclose(kept[seed], scored[best][name], rtol=1e-5)


def test_every_epoch_sees_another_permutation_and_leaves_out_the_incomplete_batch():
    def visit(model, batch, key):
        # The gradient with respect to `seen` marks the examples of a batch.
        del key
        loss = jnp.sum(jnp.take(model["seen"], batch))
        return loss, {"first": batch[0].astype(jnp.float32), "sum": jnp.sum(jnp.left_shift(1, batch))}

    train, validation = jnp.arange(10), jnp.arange(2)
    result = fit(
        lambda key: {"seen": jnp.zeros(10)},
        Task(visit, lambda model, batch: jnp.zeros(batch.shape), train, validation),
        Recipe(epochs=6, batch_size=4),
        jax.random.split(jax.random.key(0), 2),
    )
    # Sums of powers of two tell which eight different examples an epoch took: its mean over two batches, times two.
    taken = (2 * np.stack([epoch.metrics["sum"] for epoch in result.epochs])).astype(int)
    for mask in taken.ravel():
        assert bin(mask).count("1") == 8
        assert mask < 2**10
    assert len(set(taken.ravel())) > 6


def test_an_epoch_of_three_passes_sees_every_example_three_times():
    def visit(model, batch, key):
        del key
        loss = jnp.sum(jnp.take(model["seen"], batch))
        return loss, {name: jnp.sum(batch == number) for name, number in (("first", 0), ("last", 9))}

    result = fit(
        lambda key: {"seen": jnp.zeros(10)},
        Task(visit, lambda model, batch: jnp.zeros(batch.shape), jnp.arange(10), jnp.arange(2)),
        Recipe(epochs=4, batch_size=5, passes=3),
        jax.random.split(jax.random.key(0), 2),
    )
    for epoch in result.epochs:
        # Means over six steps.
        np.testing.assert_allclose(6 * np.stack([epoch.metrics["first"], epoch.metrics["last"]]), 3)
    assert Recipe(epochs=4, batch_size=4, passes=3).steps(10) == 7


def test_the_weights_of_the_best_epoch_are_kept():
    # The score counts down while training goes on, so the first epoch is the best.
    def loss(model, batch, key):
        return jnp.mean(model["w"] * batch), {}

    result = fit(
        lambda key: {"w": jnp.zeros(())},
        Task(loss, lambda model, batch: jnp.broadcast_to(model["w"], batch.shape), jnp.ones(4), jnp.ones(3)),
        Recipe(epochs=5, batch_size=4, warmup=0.0, weight_decay=0.0),
        jax.random.split(jax.random.key(0), 1),
    )
    scores = [epoch.score[0] for epoch in result.epochs]
    assert scores[0] > scores[-1]
    assert result.models["w"][0] == pytest.approx(scores[0])
    assert result.best_epochs.tolist() == [1]


def test_training_ends_when_no_seed_becomes_better():
    # The score of the first seed is best after epoch 2 of 12, that of the other after epoch 4; both stay as they are.
    def loss(model, batch, key):
        return jnp.mean(batch) - model["epoch"], {}

    def score(model, batch):
        return jnp.broadcast_to(-jnp.maximum(model["best"] - model["epoch"], 0.0), batch.shape)

    def fit_with(patience):
        return fit(
            lambda key: {"epoch": jnp.zeros(()), "best": jnp.where(jax.random.bernoulli(key), 0.015, 0.035)},
            # Weights that no gradient reaches stay; the other grows by the learning rate, 0.01, in each epoch's step.
            Task(loss, score, jnp.ones(4), jnp.ones(3)),
            Recipe(12, 4, 0.01, warmup=0.0, weight_decay=0.0, patience=patience),
            keys,
        )

    keys = jax.random.split(jax.random.key(0), 2)
    ends = jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, 0)))(keys)
    assert sorted(ends.tolist()) == [False, True]
    whole = fit_with(None)
    assert len(whole.epochs) == 12
    improved = np.stack([epoch.score for epoch in whole.epochs]).argmax(axis=0) + 1
    assert len(set(improved.tolist())) == 2
    for patience in (1, 3):
        cut = fit_with(patience)
        assert len(cut.epochs) == improved.max() + patience
        for one, other in zip(cut.epochs, whole.epochs, strict=False):
            chex.assert_trees_all_equal((one.metrics, one.score), (other.metrics, other.score))
        # Equal scores are no improvement, but of equals the latest weights are kept.
        assert cut.best_epochs.tolist() == [len(cut.epochs)] * 2


def test_a_score_that_is_not_a_number_is_no_improvement():
    scores = [(0.5, np.nan), (np.nan, 0.1), (0.5, 0.2), (0.4, np.nan)]
    epochs = [Epoch(n, {}, np.array(of_seeds), 1.0) for n, of_seeds in enumerate(scores, 1)]
    assert Fit(None, epochs, np.zeros(2), 0.0, 0, {}).best_epochs.tolist() == [3, 3]


def rows_problem():
    rng = np.random.default_rng(0)
    return rng.normal(size=(80, 4, 3, 1)).astype(np.float32), rng.integers(0, 3, 80).astype(np.int32)


def classifier(key):
    rngs = nnx.Rngs(key)
    return Classifier(GRU(3, 4, rngs=rngs), 3, dropout=0.3, rngs=rngs)


def classifier_loss(model, batch, key):
    images, labels = batch
    loss = optax.softmax_cross_entropy_with_integer_labels(model(images, key=key), labels).mean()
    return loss, {}


def classifier_score(model, batch):
    images, labels = batch
    return (model(images).argmax(-1) == labels).astype(jnp.float32)


def fit_rows(devices, seeds=1, loss=classifier_loss):
    keys = jax.vmap(jax.random.key)(jnp.arange(seeds, dtype=jnp.uint32))
    # 20 steps: 4 epochs of 5 batches.
    recipe = Recipe(epochs=4, batch_size=16)
    data = rows_problem()
    return fit(classifier, Task(loss, classifier_score, data, data), recipe, keys, devices=devices)


@pytest.fixture(scope="module")
def two_seeds():
    """Two seeds on two devices, trained once for all tests that look at them."""
    with jax.numpy_dtype_promotion("standard"):
        return fit_rows(jax.devices(), seeds=2)


def test_one_and_two_devices_train_alike_and_a_seed_trains_alike_in_company(two_seeds):
    one, two = fit_rows(jax.devices()[:1]), fit_rows(jax.devices())
    chex.assert_trees_all_close(jax.device_get(one.models), jax.device_get(two.models), atol=1e-5, rtol=0)
    for a, b in zip(one.epochs, two.epochs, strict=True):
        np.testing.assert_allclose(a.metrics["loss"], b.metrics["loss"], atol=1e-5, rtol=0)
    # Two seeds go to two devices; the first is the one that trained alone.
    both = jax.device_get(two_seeds.models)
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[:1], both), jax.device_get(one.models), atol=1e-5, rtol=0)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_close(both.head.kernel[...][0], both.head.kernel[...][1], atol=1e-2)


def test_the_same_seed_gives_the_same_bits_with_two_traces(two_seeds):
    # One trace for the names of its metrics, one for the step of all steps, epochs and seeds.
    counted = chex.assert_max_traces(classifier_loss, n=2)
    again = fit_rows(jax.devices(), seeds=2, loss=counted)
    chex.assert_trees_all_equal(jax.device_get(two_seeds.models), jax.device_get(again.models))
    for a, b in zip(two_seeds.epochs, again.epochs, strict=True):
        chex.assert_trees_all_equal((a.metrics, a.score), (b.metrics, b.score))


@pytest.mark.parametrize("n", [1, 2, 7, 500, 501, 1003])
def test_evaluation_gives_every_example_once_in_order(n):
    models = {"factor": jnp.array([2.0, -3.0, 0.5])}
    batch = jnp.arange(n, dtype=jnp.float32)
    found = evaluate(lambda model, x: {"product": model["factor"] * x}, models, batch)
    np.testing.assert_array_equal(found["product"], np.array([[2.0], [-3.0], [0.5]]) * np.arange(n, dtype=np.float32))


def test_a_compiled_evaluation_can_be_called_again():
    evaluation = compile_evaluation(lambda model, x: model + x, jnp.zeros(2), jnp.arange(3.0))
    np.testing.assert_array_equal(evaluation(), evaluation())


@pytest.mark.parametrize(
    ("seeds", "batch", "devices", "shape"),
    [
        (1, 128, 1, (1, 1)),
        (4, 128, 2, (2, 1)),
        (3, 128, 2, (1, 2)),
        (6, 128, 4, (2, 2)),
        (3, 7, 2, (1, 1)),
        (5, 64, 8, (1, 8)),
    ],
)
def test_the_mesh_spreads_seeds_first_and_then_the_batch(seeds, batch, devices, shape):
    mesh = seed_mesh(seeds, batch, [jax.devices()[0]] * devices)
    assert mesh.devices.shape == shape
    assert mesh.axis_names == ("seed", "data")


def test_seconds_until_the_mean_over_seeds_reached_a_score():
    epochs = [
        Epoch(n, {}, np.array(scores), 10.0 * n) for n, scores in enumerate([(0.5, 0.7), (0.9, 0.5), (0.9, 0.9)], 1)
    ]
    fitted = Fit(None, epochs, np.zeros(2), 0.0, 0, {})
    assert [fitted.seconds_to(score) for score in (0.6, 0.65, 0.9, 0.95)] == [10, 30, 60, None]


def constant(model, batch):
    """A score that training does not change."""
    del model
    return jnp.zeros(len(batch[0]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"recipe": {"averaging": 0.9}}, {"epochs": 9, "score": constant, "recipe": {"averaging": 0.9, "patience": 2}}],
    ids=["plain", "averaging", "averaging and patience"],
)
def test_a_resumed_training_is_one_that_was_never_interrupted(tmp_path, options):
    whole = fit_line(None, **options)
    checkpoints = Checkpoints(tmp_path)
    assert [interrupted(checkpoints, **options) for _ in range(4)] == [(0, 8), (0, 16), (1, 0), (1, 8)]
    seen = []
    resumed = fit_line(checkpoints, on_epoch=lambda epoch: seen.append(epoch.number), **options)
    assert seen == [2, 3]
    assert_equal_fits(resumed, whole)
    assert len(resumed.epochs) == 3
    # A training that is done is taken from its checkpoint as it is: nothing is compiled.
    again = fit_line(checkpoints, on_compiled=pytest.fail, on_epoch=pytest.fail, **options)
    assert_equal_fits(again, whole)
    assert again.compile_seconds == resumed.compile_seconds
    assert [epoch.seconds for epoch in again.epochs] == [epoch.seconds for epoch in resumed.epochs]


ALONE = {"seeds": 1, "devices": jax.devices()[:1]}


@pytest.mark.slow
def test_interruptions_do_not_change_which_examples_come_when(tmp_path):
    def digest(steps):
        jax.effects_barrier()
        return hashlib.sha256(b"".join(array.tobytes() for step in steps for array in step)).hexdigest()

    loss, whole = recorded(noisy)
    fit_line(None, loss, epochs=2, **ALONE)
    checkpoints = Checkpoints(tmp_path)
    loss, cut = recorded(noisy)
    assert [interrupted(checkpoints, loss=loss, epochs=2, **ALONE) for _ in range(3)] == [(0, 8), (0, 16), (1, 0)]
    fit_line(checkpoints, loss, epochs=2, **ALONE)
    assert digest(cut) == digest(whole)
    assert len(whole) == 40


def test_a_training_is_kept_within_an_epoch_when_a_checkpoint_is_due(tmp_path):
    checkpoints, kept = Checkpoints(tmp_path, every=1e-9), []
    save = checkpoints.save

    def recording(epochs, steps, state, record):
        kept.append((epochs, steps))
        save(epochs, steps, state, record)

    checkpoints.save = recording
    resumed = fit_line(checkpoints, epochs=1)
    assert kept[0] == (0, 8)
    assert kept[-1] == (1, 0)
    assert_equal_fits(resumed, fit_line(None, epochs=1))


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_a_training_goes_on_with_other_devices(tmp_path, before, after):
    checkpoints = Checkpoints(tmp_path)
    whole = fit_line(None, seeds=1, devices=jax.devices()[:before])
    interrupted(checkpoints, seeds=1, devices=jax.devices()[:before])
    resumed = fit_line(checkpoints, seeds=1, devices=jax.devices()[:after])
    for a, b in zip(whole.epochs, resumed.epochs, strict=True):
        np.testing.assert_allclose(a.metrics["loss"], b.metrics["loss"], atol=1e-6, rtol=0)


def test_checkpoints_of_another_training_are_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    interrupted(checkpoints)
    for message, options in {
        "recipe was .*'epochs': 3.* is .*'epochs': 4": {"epochs": 4},
        r"keys was \[\[0, 0\], \[0, 1\]\], is \[\[0, 0\]\]": {"seeds": 1},
        "examples was 80, is 40": {"train": examples(40)},
    }.items():
        with pytest.raises(InputError, match=message):
            fit_line(checkpoints, **options)


def marked(*where):
    """The training set with marks on some examples."""
    marks = np.zeros(80, np.float32)
    marks[list(where)] = 1.0
    return *examples(80), marks


def poisoned(where):
    """The squared error; in a batch with a marked example its data, its weights or its gradient are not finite."""

    def loss(model, batch, key):
        x, y, marks = batch
        bad = marks.any()
        if where == "data":
            x = jnp.where(bad, jnp.nan, x)
        if where == "weight":
            model = {**model, "w": jnp.where(bad, jnp.inf, model["w"])}
        value, metrics = squared(model, (x, y), key)
        if where == "gradient":  # that of sqrt at zero is infinite, times zero: NaN, while the loss is what it was
            value = value + jnp.sqrt(jnp.where(bad, 0.0, 1.0) * jnp.square(model["b"]).sum())
        return value, metrics

    return loss


@pytest.mark.parametrize(
    ("where", "named"),
    [
        ("data", "the loss, the gradient of b, the gradient of w"),
        ("weight", "the loss, the gradient of b"),
        ("gradient", "the gradient of b"),
    ],
)
def test_what_is_not_finite_stops_the_training_in_its_step(tmp_path, where, named):
    checkpoints = Checkpoints(tmp_path)
    loss, steps = recorded(poisoned(where))
    with pytest.raises(FloatingPointError) as caught:
        fit_line(checkpoints, loss, train=marked(37), **ALONE)
    jax.effects_barrier()
    # The step with the marked example is the last that was taken, and no chunk of eight goes on behind it.
    assert [bool(marks.any()) for _, _, marks in steps] == [*[False] * (len(steps) - 1), True]
    message = f"In step {len(steps)} of epoch 1, seed 0 of 1: not finite: {named}. Look at the data"
    assert str(caught.value).startswith(message)
    assert checkpoints.all() == []


def test_the_good_checkpoint_is_kept_and_named(tmp_path):
    checkpoints = Checkpoints(tmp_path, every=1e-9)
    # The marked example comes behind the first chunk, see above.
    with pytest.raises(FloatingPointError, match=r"In step 11 .* The last good checkpoint is .*000000-000000008\."):
        fit_line(checkpoints, poisoned("gradient"), train=marked(37), **ALONE)
    assert [path.name for path in checkpoints.all()] == ["000000-000000008"]


def test_steps_that_are_not_finite_are_skipped_up_to_a_limit():
    train = marked(3, 50)
    loss, steps = recorded(poisoned("data"))
    with pytest.warns(UserWarning, match=r"not finite: .* Skipped, the [12] of 2 that may be\."):
        fitted = fit_line(None, loss, epochs=1, train=train, recipe={"max_skipped_steps": 2}, **ALONE)
    jax.effects_barrier()
    assert fitted.skipped.tolist() == [2]
    # The same without those steps, one by one.
    model = line(jax.random.fold_in(jax.random.key(0), 0))
    optimizer = Recipe(1, batch_size=4).transformation(20)
    state, losses, models = optimizer.init(model), [], []

    @jax.jit
    def step(model, state, x, y):
        (value, _), gradient = jax.value_and_grad(squared, has_aux=True)(model, (x, y), None)
        updates, state = optimizer.update(gradient, state, model)
        return value, optax.apply_updates(model, updates), state

    for x, y, marks in steps:
        if not marks.any():
            value, model, state = step(model, state, x, y)
            losses.append(value)
            models.append(jax.device_get(model))
    assert len(losses) == 18
    recipe = {"max_skipped_steps": 2, "averaging": 0.9}
    with pytest.warns(UserWarning, match="Skipped"):
        averaged = fit_line(None, poisoned("data"), epochs=1, train=train, recipe=recipe, **ALONE)
    chex.assert_trees_all_close(
        jax.tree.map(lambda a: np.asarray(a[0]), averaged.models), moving_average(models, 0.9), atol=1e-6
    )
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[0], jax.device_get(fitted.models)), model, atol=1e-6)
    assert fitted.epochs[0].metrics["loss"][0] == pytest.approx(np.mean(losses), rel=1e-5)
    with pytest.raises(FloatingPointError, match="In step"), pytest.warns(UserWarning, match="the 1 of 1"):
        fit_line(None, poisoned("data"), epochs=2, train=marked(3), recipe={"max_skipped_steps": 1}, **ALONE)


def test_a_metric_of_the_task_does_not_stand_in_for_the_loss():
    def named(model, batch, key):
        return squared(model, batch, key)[0], {"loss": jnp.full((), -7.0)}

    task, keys = Task(named, closeness, examples(8), examples(3)), jax.random.split(jax.random.key(0), 1)
    assert (fit(line, task, Recipe(1, 4), keys).epochs[0].metrics["loss"] > 0).all()


def test_arrays_of_different_lengths_are_refused():
    x, y = examples(10)
    task = Task(squared, closeness, (x, y[:9]), examples(3))
    with pytest.raises(InputError, match=r"one number of examples, at least 1; found \[9, 10\]"):
        fit(line, task, Recipe(1, 4), jax.random.split(jax.random.key(0), 1))


def test_a_batch_larger_than_the_training_set_is_refused():
    task = Task(squared, closeness, examples(10), examples(3))
    with pytest.raises(InputError, match="batch of 128 is larger than the training set of 10 examples"):
        fit(line, task, Recipe(1), jax.random.split(jax.random.key(0), 1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"epochs": 1, "batch_size": -1},
        {"epochs": 1, "learning_rate": 0.0},
        {"epochs": 1, "learning_rate": float("nan")},
        {"epochs": 1, "learning_rate": float("inf")},
        {"epochs": 1, "warmup": 1.0},
        {"epochs": 1, "weight_decay": -0.1},
        {"epochs": 1, "averaging": 1.0},
        {"epochs": 1, "averaging": -0.1},
        {"epochs": 1, "patience": 0},
        {"epochs": 1, "passes": 0},
    ],
)
def test_a_recipe_refuses_numbers_out_of_range(wrong):
    with pytest.raises(InputError, match="needs"):
        Recipe(**wrong)


def test_data_is_replicated_and_models_lie_on_the_seed_axis(two_seeds):
    assert two_seeds.models.head.kernel[...].sharding.spec == P("seed")
    assert two_seeds.memory_bytes > 2 * rows_problem()[0].nbytes
    assert two_seeds.compile_seconds > 0


BUSY = """
import hashlib
from rowrnn.lab.training.interruption import Interruption
with Interruption() as interruption:
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 50_000_000)  # Compiled code, which no handler interrupts.
"""


@pytest.mark.slow
def test_a_second_ctrl_c_leaves_at_once_whatever_is_computed():
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "busy\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5) == 130


def test_signals_act_as_before_afterwards():
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with Interruption() as interruption:
        stop()
        assert interruption.requested == signal.SIGTERM
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1
