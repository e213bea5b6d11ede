"""Reading of lines of text in groups of similar width, `grouped_lines`: loss and score of a training."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rowrnn.decoding import ctc
from rowrnn.lab.tasks.lines.augmentation import LineAugmentation
from rowrnn.lab.tasks.lines.examples import Lines
from rowrnn.lab.tasks.lines.task import best_path, ctc_loss


def text_loss(
    model: Any, groups: Sequence[Lines], key: Array, *, augmentation: LineAugmentation, shortcut: float = 0.0
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the mean `ctc_loss` of changed lines; all groups have as many lines.

    Args:
        model: a `LineReader`.
        groups: training lines.
        key: source of randomness of changes and dropout.
        augmentation: random changes of each line.
        shortcut: weight of the same loss of the convolutions alone, for a reader with a shortcut.
    """
    losses = []
    for lines, of_group in zip(groups, jax.random.split(key, len(groups)), strict=True):
        changing, dropping = jax.random.split(of_group)
        changed = augmentation(lines, changing)
        if not shortcut:
            losses.append(ctc_loss(model, changed, dropping))
            continue
        scores = model.with_shortcut(changed.images, changed.widths, key=dropping)
        late, early = (ctc_loss(lambda *_, scores=one, **__: scores, changed, dropping) for one in scores)
        losses.append(late + shortcut * early)
    return jnp.stack(losses).mean(), {}


def character_accuracy(model: Any, groups: Sequence[Lines], *, characters: float) -> Float[Array, "b"]:
    """Returns 1 minus the edits of the most probable path for each true character, of one line of each group.

    The mean over all examples is 1 minus the character error rate, but that few lines are in two groups.

    Args:
        model: function `(images, widths)` to logits.
        groups: lines.
        characters: mean number of characters of all lines, by which edits are divided: lines count by their length.
    """
    edits = jnp.stack([edit_distance(best_path(model, lines), lines) for lines in groups])
    return 1 - edits.astype(jnp.float32).mean(axis=0) / characters


def edit_distance(readings: ctc.Reading, truths: Lines) -> Int[Array, "b"]:
    """Computes the smallest number of insertions, deletions and substitutions, as `measures.edit_distances` in JAX."""
    return jax.vmap(_edit_distance)(
        readings.labels, readings.lengths, jnp.asarray(truths.labels), jnp.asarray(truths.lengths)
    )


def _edit_distance(
    read: Int[Array, "t"], read_length: Int[Array, ""], true: Int[Array, "n"], true_length: Int[Array, ""]
) -> Int[Array, ""]:
    """Computes the distances of all prefixes of the truth, one read label after the other (Wagner & Fischer 1974)."""
    place = jnp.arange(len(true) + 1, dtype=jnp.int32)

    def step(distances: Array, given: tuple[Array, Array]) -> tuple[Array, None]:
        label, within = given
        replaced = distances[:-1] + (true != label).astype(jnp.int32)
        begun = jnp.concatenate([distances[:1] + 1, jnp.minimum(distances[1:] + 1, replaced)])
        # A label of the truth that was not read costs 1 more than the prefix without it.
        stepped = jax.lax.cummin(begun - place) + place
        return jnp.where(within, stepped, distances), None

    distances, _ = jax.lax.scan(step, place, (read, jnp.arange(len(read)) < read_length))
    return distances[true_length]
