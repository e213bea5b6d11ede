"""What happens in a row classifier while it reads one image: gates, states and answer after each row."""

import jax
from jaxtyping import Array, Float

from rowrnn.cells import LSTMState
from rowrnn.image.rows import image_rows
from rowrnn.models import Classifier
from rowrnn.recurrence.scan import scan


def read_along(model: Classifier, image: Float[Array, "1 h w c"]) -> dict[str, Array]:
    """Returns gate activations `gate/NAME` and the state `state/NAME`, `[h, hidden]`, and `probability` `[h, classes]`.

    Args:
        model: a classifier of rows.
        image: one image as the model takes it.
    """
    outputs, state = scan(model.rows.cell, image_rows(image), return_states=True)
    name, kept = "state h" if isinstance(state, jax.Array) else "output h", outputs
    if isinstance(state, LSTMState):
        name, kept = "cell state c", state.cell
    return {
        **{f"gate/{gate}": activation[0] for gate, activation in model.rows.gates(image).items()},
        f"state/{name}": kept[0],
        "probability": jax.nn.softmax(model.logits_by_row(image)[0]),
    }
