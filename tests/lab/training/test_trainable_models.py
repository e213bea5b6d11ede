"""Which models a training takes, which of their weights decay, and that 64-bit JAX trains too."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import GRU, PeepholeLSTM
from rowrnn.errors import InputError
from rowrnn.lab.data.augmentation import Augmentation
from rowrnn.lab.data.dataset import Split
from rowrnn.lab.tasks.classification.task import correct, cross_entropy
from rowrnn.lab.training.fit import fit
from rowrnn.lab.training.recipe import Recipe
from rowrnn.lab.training.task import Task
from rowrnn.models import Classifier

DATA = Split(np.zeros((8, 4, 4, 1), np.uint8), np.arange(8, dtype=np.int32) % 3)


@pytest.fixture(autouse=True)
def promotion():
    """Schedules of optax multiply floats by step counts, which strict promotion forbids."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def classifier(key):
    return Classifier(GRU(4, 5, rngs=nnx.Rngs(key)), 3, rngs=nnx.Rngs(key))


def trained(build, recipe=None):
    loss = partial(cross_entropy, augmentation=Augmentation())
    return fit(build, Task(loss, correct, DATA, DATA), recipe or Recipe(1, 4), jax.random.split(jax.random.key(0), 1))


def test_a_training_in_64_bit_mode():
    with jax.enable_x64(True):
        result = trained(classifier)
    assert np.isfinite(result.epochs[0].metrics["loss"]).all()


class Normed(nnx.Module):
    """A model with what calls change, or what is no float."""

    def __init__(self, key, *, extra):
        self.classifier = classifier(key)
        self.extra = extra(nnx.Rngs(key))

    def __call__(self, images, *, key=None):
        return self.classifier(images, key=key)


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (lambda rngs: nnx.BatchNorm(4, rngs=rngs), "extra.mean is BatchStat, extra.var is BatchStat"),
        (lambda rngs: nnx.Dropout(0.1, rngs=rngs), "extra.rngs.*key.* is RngKey"),
        (lambda rngs: nnx.data(jnp.arange(3)), "extra is int32"),
    ],
    ids=["BatchNorm", "Dropout with a stream of keys", "integers"],
)
def test_what_gradients_cannot_train_is_refused_by_name(extra, named):
    with pytest.raises(InputError, match=f"fit trains pytrees of float parameters, and .*{named}"):
        trained(partial(Normed, extra=extra))


@pytest.mark.slow
def test_a_variable_that_holds_several_arrays_trains():
    held = partial(Normed, extra=lambda rngs: nnx.Param({"a": jnp.ones(2), "b": jnp.ones(3)}))
    assert np.isfinite(trained(held).epochs[0].metrics["loss"]).all()
    mixed = partial(Normed, extra=lambda rngs: nnx.Param({"a": jnp.ones(2), "b": jnp.arange(3)}))
    with pytest.raises(InputError, match="extra is int32"):
        trained(mixed)


@pytest.mark.slow
def test_weights_that_multiply_element_by_element_do_not_decay():
    """One step of AdamW from a gradient of zero is -rate · decay · weight: kernels shrink, the others stay."""
    recipe = Recipe(epochs=1, batch_size=1, learning_rate=0.5, warmup=0.0, weight_decay=0.1)
    cell: Any = PeepholeLSTM(3, 4, rngs=nnx.Rngs(0))
    optimizer = recipe.transformation(2)
    zeros = jax.tree.map(jnp.zeros_like, cell)
    _, state = optimizer.update(zeros, optimizer.init(cell), cell)  # The first step of the warm-up has a rate of 0.
    updates, _ = optimizer.update(zeros, state, cell)
    for name, rate in (("input_kernel", 0.5), ("recurrent_kernel", 0.5), ("peephole", 0.0), ("bias", 0.0)):
        weights, update = getattr(cell, name)[...], getattr(updates, name)[...]
        np.testing.assert_allclose(update, -rate * 0.1 * np.float64(weights), rtol=1e-6, atol=0, err_msg=name)


def test_muon_turns_kernels_and_leaves_other_weights_to_adamw():
    """A first step: of a kernel, an orthogonal matrix of AdamW's size; of other weights, the sign of the gradient."""
    model = {
        "kernel": jnp.ones((6, 4)),
        "convolution": {"kernel": jnp.ones((3, 3, 2, 8))},
        "embedding": jnp.ones((5, 4)),
        "bias": jnp.ones(7),
        "peephole": jnp.ones((3, 4)),
    }
    rng = np.random.default_rng(0)
    gradient: Any = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), model)
    recipe = Recipe(1, 1, 0.5, warmup=0.0, weight_decay=0.0, clip_norm=1e9, optimizer="muon")
    transformation = recipe.transformation(1000)
    zeros = jax.tree.map(jnp.zeros_like, model)
    update = jax.jit(transformation.update)
    _, state = update(zeros, transformation.init(model), model)  # The warm-up's step of rate 0.
    updates: Any = update(gradient, state, model)[0]
    for kernel, given in (
        (updates["kernel"], gradient["kernel"]),
        (updates["convolution"]["kernel"].reshape(18, 8), gradient["convolution"]["kernel"].reshape(18, 8)),
    ):
        u, _, v = np.linalg.svd(given, full_matrices=False)
        # Five Newton-Schulz steps bring all singular values near 1, between 0.68 and 1.13 (Jordan et al. 2024).
        of_step = np.diag(u.T @ (np.float64(kernel) / (-0.5 * 0.2 * np.sqrt(len(kernel)))) @ v.T)
        assert of_step.min() > 0.65, of_step
        assert of_step.max() < 1.2, of_step
    # The second step of AdamW with Nesterov's momentum (Dozat 2016) after a gradient of zero.
    ratio = (0.9 * 0.1 / (1 - 0.9**3) + 0.1 / (1 - 0.9**2)) / np.sqrt(0.001 / (1 - 0.999**2))
    for name in ("embedding", "bias", "peephole"):
        np.testing.assert_allclose(updates[name], -0.5 * ratio * np.sign(gradient[name]), rtol=1e-4, err_msg=name)


def test_an_optimizer_that_is_not_there():
    with pytest.raises(InputError, match="one of the optimizers adamw, muon, not 'sgd'"):
        Recipe(1, optimizer="sgd")
