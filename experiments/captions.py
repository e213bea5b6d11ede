"""Can a recurrent decoder describe what stands where, in combinations that it has never seen?

Images of one to four small or large digits are described word by word ("a large seven right of a small three") by an
LSTM and a GRU, each on the features of a small CNN, with one parameter budget. A blind decoder, which is given
no image, shows what can be predicted from the language alone. The models are tested on scenes of test digits, without
and with a combination (digit, relation, digit) that occurs in no training scene.

    python experiments/captions.py            a quarter of an hour on 2 cores
    python experiments/captions.py --full     two hours or more: three seeds, more epochs
    python experiments/captions.py --quick    two minutes: half learned, and far above blind
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from rowrnn import CELLS, lab
from rowrnn.lab.tasks.captions.examples import CANVAS, fixed_scenes, scenes
from rowrnn.lab.tasks.captions.language import LONGEST, VOCABULARY
from rowrnn.lab.tasks.captions.measures import exact_match
from rowrnn.lab.tasks.captions.task import MEASURE, check_digits, decode, exact, loss, measure
from rowrnn.models import Captioner

PARTS = {"seen": "", "unseen": "_unseen"}  # parts of the test set, with the suffixes of their scores
SHOWN = 12  # scenes of each part in the figures
LOOKED_AT = 2  # scenes of each part whose attention maps are drawn
PROTOCOL = {
    "validation": "fixed scenes of validation digits without combinations that are held out",
    "selection": "of each seed the weights of the epoch with the best share of captions whose words are all the "
    "likeliest after the right ones, which is that of greedy decoding; the later of equals",
    "test": "scored once, at the end: fixed scenes of the first test digits, exact_match, bleu4 and slots of those "
    "without combinations that are held out, *_unseen of those with at least one, which therefore have at least "
    "two digits, 2.8 on average beside 2.5; greedy decoding, *_beam by beam search",
    "bleu4": "corpus BLEU of words by sacrebleu, tokenize none, smoothing exp, one reference",
    "slots": "what is said in the right turn: number of digits, digit, size, relation",
}


@dataclass(frozen=True)
class Options:
    """Trains recurrent decoders to describe scenes of digits."""

    cells: Annotated[tuple[str, ...], lab.KnownNames(CELLS)] = ("lstm", "gru")
    """Cells of the decoders: lstm, gru or others of rowrnn.CELLS."""
    blind: bool = True
    """Also train a decoder with the first cell that is given no image."""
    params: lab.Count = 250_000
    """Parameter budget of each model, met within 3 %; widths follow from it."""
    channels: lab.Count = 64
    """Channels of the CNN's feature map."""
    embedding: lab.Count = 32
    """Size of a word's embedding."""
    attention: bool = True
    """Let the decoder attend to the feature map for every word."""
    dropout: lab.Probability = 0.1
    """Dropout probability of the features that predict the next word, in training."""
    beam: lab.Count = 3
    """Captions that beam search keeps after each word."""
    length_power: Annotated[float, lab.AtLeast(0)] = 0.0
    """Beam search ranks by log-probability divided by this power of the length."""
    scenes: lab.Count = 2_000
    """Scenes of each part of the test set, and of the validation set."""
    training: lab.Group[lab.TrainingOptions] = lab.TrainingOptions(epochs=6, seeds=1, learning_rate=3e-3)


PRESETS = {
    "quick": {"cells": ("lstm",), "epochs": 1, "scenes": 500},
    "full": {"seeds": 3, "epochs": 16, "scenes": 5_000},
}


class Captions(lab.Study[Options]):
    """Captioners with different cells, and a blind one with the first cell."""

    name = "captions"
    protocol = PROTOCOL
    columns = (
        lab.score_column("exact match %", MEASURE),
        lab.score_column("unseen\ncombinations %", f"{MEASURE}_unseen"),
        lab.score_column("BLEU-4 %", "bleu4"),
        ("count %", lambda row: lab.format_score(row["slots"]["count"])),
        ("digit %", lambda row: lab.format_score(row["slots"]["digit"])),
        ("size %", lambda row: lab.format_score(row["slots"]["size"])),
        ("relation %", lambda row: lab.format_score(row["slots"]["relation"])),
        lab.PARAMETERS,
    )

    def __init__(self, options: Options, data: lab.Dataset) -> None:
        super().__init__(options, data)
        check_digits(data)
        self.validation = fixed_scenes(jax.random.key(0), data.validation, options.scenes)
        parts = [fixed_scenes(jax.random.key(1), data.test, options.scenes, unseen=part == "unseen") for part in PARTS]
        self.test = jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *parts)  # one part after the other

    def contenders(self) -> list[lab.Contender]:
        first, seeing = self.options.cells[0], [self.contender(name, blind=False) for name in self.options.cells]
        return [*seeing, self.contender(first, blind=True)] if self.options.blind else seeing

    def contender(self, name: str, *, blind: bool) -> lab.Contender:
        """Returns a captioner whose decoder has this cell; a blind one is given no image."""

        def generate(batch: lab.Split, key: Array) -> Any:
            made = scenes(key, batch.images, batch.labels)
            return made.captions if blind else made  # A blind model's images are not rendered in training.

        return lab.Contender(
            f"blind_{name}" if blind else name,
            f"blind {CELLS[name].__name__}" if blind else CELLS[name].__name__,
            partial(self.build, name, blind),
            lab.Task(loss, exact, self.data.train, self.validation, MEASURE),
            budget=self.options.params,
            generate=generate,
        )

    def build(self, name: str, blind: bool, width: int, rngs: nnx.Rngs) -> Captioner:
        """Builds a captioner whose decoder has `width` units."""
        options = self.options
        return Captioner(
            CELLS[name],
            width,
            shape=(CANVAS, CANVAS, 1),
            words=len(VOCABULARY),
            longest=LONGEST,
            tokens=VOCABULARY.tokens,
            channels=options.channels,
            embedding=options.embedding,
            attention=options.attention,
            blind=blind,
            dropout=options.dropout,
            rngs=rngs,
        )

    def setting(self) -> lab.Setting:
        arrays = {}
        for part, of_part in self.parts().items():
            arrays[f"scene/{part}/image"] = np.asarray(self.test.images[of_part][:SHOWN])
            arrays[f"scene/{part}/caption"] = np.asarray(self.test.captions[of_part][:SHOWN])
        return lab.Setting(arrays=arrays)

    def parts(self) -> dict[str, slice]:
        """Returns the slice of the test set that each part occupies."""
        scenes = self.options.scenes
        return {part: slice(n * scenes, (n + 1) * scenes) for n, part in enumerate(PARTS)}

    def examine(self, trial: lab.Trial) -> lab.Examined:
        options, scores, arrays = self.options, {}, {}
        decoded = trial.evaluate(partial(decode, beam=options.beam, length_power=options.length_power), self.test)
        for part, of_part in self.parts().items():
            greedy, by_beam = (captions[:, of_part] for captions in decoded)
            truth, ending = np.asarray(self.test.captions[of_part]), PARTS[part]
            scores |= {name + ending: score for name, score in measure(greedy, truth).items()}
            scores[f"{MEASURE}_beam{ending}"] = lab.interval(exact_match(by_beam, truth).mean(axis=1))
            arrays[f"{part}/said"] = greedy[0, :SHOWN]
            if options.attention and not trial.models.blind:
                model = jax.tree.map(jnp.asarray, trial.model())
                images, words = lab.as_float(self.test.images[of_part][:LOOKED_AT]), jnp.asarray(greedy[0, :LOOKED_AT])
                arrays[f"{part}/attention"] = np.asarray(jax.jit(Captioner.attention)(model, images, words))
        return lab.Examined(scores, arrays, examples=(lab.as_float(self.test.images[:1]),))


if __name__ == "__main__":
    lab.run(Captions, Options, PRESETS)
