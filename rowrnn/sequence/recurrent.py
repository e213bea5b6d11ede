"""Unidirectional recurrent layer."""

from typing import Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Key

from rowrnn.cells import Cell, GatedCell, LinearCell
from rowrnn.cells.zoneout import ZoneoutCell
from rowrnn.machine.sharding import place_examples
from rowrnn.recurrence.arguments import check_cell, check_rate, check_sequence
from rowrnn.recurrence.backend import ScanCall
from rowrnn.recurrence.scan import ScanOptions, scan, zero_state
from rowrnn.sequence.noise import split_key
from rowrnn.typing import Outputs, State


class Recurrent(nnx.Module):
    """Layer that runs a cell over sequences in one direction.

    Args:
        cell: any of `rowrnn.cells`.
        reverse: whether to run from the last valid step to the first.
        learn_initial_state: whether the initial state is a parameter, initialized to zero.
        recurrent_dropout: probability with which a unit of the hidden state is dropped from the recurrent product in
            training, the same units at all steps of a sequence (variational dropout, Gal & Ghahramani 2016).
        zoneout: probability with which a unit of the state keeps its previous value at a step (Krueger et al. 2017);
            without a key the expected value is used. An output is held with the state if `cell.step` returns the same
            array as both; a step that is compiled itself, or copies, shows what it computed.

    Raises:
        ValueError: if a probability is not in [0, 1), an option is used with a convolutional cell, recurrent dropout
            with a cell that has no recurrent product, or zoneout or a learned state with one whose state's arrays share
            a factor.
        TypeError: if `cell` is not a cell of rowrnn.
    """

    def __init__(
        self,
        cell: Cell,
        *,
        reverse: bool = False,
        learn_initial_state: bool = False,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
    ) -> None:
        check_cell("Recurrent", cell)
        check_rate("recurrent_dropout", recurrent_dropout)
        check_rate("zoneout", zoneout)
        options = {
            "recurrent_dropout": recurrent_dropout,
            "zoneout": zoneout,
            "learn_initial_state": learn_initial_state,
        }
        for name, given in options.items():
            if given and cell.num_feature_axes != 1:
                raise ValueError(f"{name} is for cells over vectors, not for {type(cell).__name__}.")
            if given and name != "recurrent_dropout" and not cell.any_state:
                raise ValueError(f"{name} is not for {type(cell).__name__}, whose arrays of the state share a factor.")
        if recurrent_dropout and not isinstance(cell, GatedCell):
            raise ValueError(f"{type(cell).__name__} has no recurrent product that recurrent_dropout could act on.")
        self.cell = cell
        self.reverse = reverse
        self.recurrent_dropout = recurrent_dropout
        self.zoneout = zoneout
        self.learn_initial_state = learn_initial_state
        if learn_initial_state:
            self.initial_state = nnx.data(jax.tree.map(nnx.Param, cell.initialize_carry((cell.features,))))

    @property
    def features(self) -> int:
        """Number of input features of a step."""
        return self.cell.features

    @property
    def causal(self) -> bool:
        """Whether each output depends on the steps up to it only."""
        return not self.reverse

    @property
    def num_feature_axes(self) -> int:
        """Number of feature axes of an input and of an output: 1 for vectors, 3 for images."""
        return self.cell.num_feature_axes

    @property
    def outputs(self) -> int:
        """Number of output features."""
        return self.cell.outputs

    def __call__(
        self,
        x: ArrayLike,
        *,
        initial_state: State | None = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[ScanOptions],
    ) -> tuple[Outputs, State]:
        """Runs the cell over sequences `[b, t, features]`.

        Args:
            x: sequences.
            initial_state: state before the first step; default: the learned state or zeros.
            key: random key of dropout and zoneout, in training.
            options: options of `rowrnn.scan`.

        Returns:
            Outputs `[b, t, outputs]` and the last state.

        Raises:
            ValueError: if a shape does not fit, or an option cannot be used.
            TypeError: if the dtype of `x` or of an option is wrong.
        """
        x, cell = jnp.asarray(x), self.cell
        if initial_state is None and self.learn_initial_state:
            initial_state = jax.tree.map(
                lambda learned: jnp.broadcast_to(learned[...][None], (x.shape[0], learned.size)),
                self.initial_state,
                is_leaf=lambda leaf: isinstance(leaf, nnx.Param),
            )
        hold_key, keep_key = split_key(key, 2)
        mask = None
        if self.zoneout or (self.recurrent_dropout and key is not None):
            check_sequence(x, cell.features, cell.num_feature_axes)
        if self.recurrent_dropout and keep_key is not None:
            kept = 1 - self.recurrent_dropout
            mask = jax.random.bernoulli(keep_key, kept, (x.shape[0], cell.outputs)).astype(x.dtype) / kept
        if self.zoneout:
            x, cell = self._with_zoneout(x, hold_key)
        return scan(cell, x, initial_state=initial_state, dropout_mask=mask, reverse=self.reverse, **options)

    def _with_zoneout(self, x: Array, key: Array | None) -> tuple[Array, ZoneoutCell]:
        """Returns sequences with zoneout masks or rates appended to the features, and the `ZoneoutCell` for them."""
        state, holds = jax.eval_shape(zero_state, self.cell, ScanCall(x)), []
        for number, leaf in enumerate(jax.tree.leaves(state)):
            parts = 2 if isinstance(self.cell, LinearCell) and self.cell.complex_units else 1  # real and imaginary
            hold = jnp.full((*x.shape[:2], leaf.shape[-1] // parts), self.zoneout, jnp.float32)
            if key is not None:
                hold = jax.random.bernoulli(jax.random.fold_in(key, number), hold)
            hold = jnp.tile(hold, parts)
            holds.append(place_examples(hold.astype(x.dtype), x))
        return jnp.concatenate([x, *holds], axis=-1), ZoneoutCell(self.cell, state)
