"""Text: symbols, pieces, loss and scores against sums over single symbols, and writing that goes on."""

import itertools
import json
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import text as script
from rowrnn import GRU, Bidirectional, ConvGRU, Recurrent, Residual, Stack, Transformer
from rowrnn.errors import InputError
from rowrnn.lab.experiment.command_line import parse
from rowrnn.lab.experiment.study import run_study
from rowrnn.lab.predict.text import _as_within
from rowrnn.lab.tasks.text import task
from rowrnn.lab.tasks.text.examples import TextSet, in_parts, text_of, windows
from rowrnn.lab.tasks.text.models import MODELS, build
from rowrnn.lab.tasks.text.symbols import UNKNOWN, Symbols, split
from rowrnn.lab.tasks.text.task import SEGMENT, log_likelihood, loss, nats, nats_carried, written
from rowrnn.models import LanguageModel
from tests.helpers.cases import thinned
from tests.helpers.problem import random_like

SYMBOLS, CONTEXT = 7, 8


def model_of(name, dropout=0.0, blocks=1):
    sizes = {"blocks": blocks, "expansion": 2, "dropout": dropout}
    return random_like(build(name, 8, SYMBOLS, **sizes, rngs=nnx.Rngs(0)))


def drawn(*shape):
    return np.random.default_rng(3).integers(0, SYMBOLS, shape).astype(np.int32)


class Next:
    """Log-probabilities of the next symbol after a text, of which the model sees nothing else."""

    def __init__(self, model, longest):
        self.model, self.longest = model, longest
        self.logits = jax.jit(lambda m, symbols: m(symbols)[0])

    def __call__(self, text):
        padded = np.zeros((1, self.longest), np.int32)
        padded[0, : len(text)] = text
        logits = np.asarray(self.logits(self.model, padded), np.float64)[0, len(text) - 1]
        return logits - np.log(np.exp(logits).sum())


def of_single_symbols(model, numbers):
    """Cross-entropy of each symbol but the first, each from a call of its own with the symbols before it alone."""
    after = Next(model, len(numbers))
    return np.array([-after(numbers[:place])[numbers[place]] for place in range(1, len(numbers))])


@pytest.mark.parametrize("unit", ["character", "word"])
def test_a_text_is_its_symbols_joined(unit):
    text = " Ein Ha\u0308uschen,\n\n  it's  2\t\u20ac!\u00a0\n Zwei\u2014drei  \n"
    composed = text.replace("a\u0308", "ä")
    symbols = Symbols.of(text, unit)
    assert symbols.decode(symbols.encode(text)) == composed
    assert symbols.known[0] == UNKNOWN
    assert list(symbols.known[1:]) == sorted(set(split(text, unit)))
    assert symbols.unknown(text) == []


def test_words_have_the_white_space_before_them():
    assert list(split("Hello,  my dear\nfriend's", "word")) == ["Hello", ",", " ", " my", " dear", "\nfriend", "'", "s"]


def test_what_is_rare_or_new_is_unknown():
    symbols = Symbols.of("aaabbbc", min_count=2)
    assert symbols.known == (UNKNOWN, "a", "b")
    assert symbols.encode("acbd").tolist() == [1, 0, 2, 0]
    assert symbols.unknown("dcacc") == ["c", "d"]
    with pytest.raises(InputError, match="No character occurs 4 times"):
        Symbols.of("aaabbbc", min_count=4)


def test_parts_of_a_text_without_splits_are_its_tenths():
    text = "".join(chr(65 + n) for n in range(25))
    train, validation, test = in_parts({"train": text})
    assert (validation + train + test, len(validation), len(test)) == (text, 2, 2)
    assert in_parts({"train": "abc", "validation": "d", "test": "e"}) == ("abc", "d", "e")
    assert in_parts({"train": "a" * 10 + "b" * 10, "test": "e"}) == ("a" * 8 + "b" * 10, "aa", "e")


def test_every_symbol_is_learnt_once_an_epoch_and_judged_once():
    assert windows(np.arange(9), 4, 2).tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]
    numbers = np.arange(40, dtype=np.int32)
    data = TextSet(Symbols.of("ab"), {"train": numbers, "test": numbers}, 8, "")
    pieces = data.judged("test")
    scored = [symbol for piece in pieces for symbol in piece[1:][4:]]
    assert scored == list(range(5, 5 + 4 * len(pieces)))
    assert [len(piece) for piece in data.train] == [16] * 4
    assert [int(piece[0]) for piece in data.train] == [0, 8, 16, 24]


@pytest.mark.parametrize("name", thinned(["gru", "transformer"], 2))
def test_loss_and_score_are_those_of_single_symbols(name, monkeypatch):
    model, batch = model_of(name), drawn(3, CONTEXT + 1)
    expected = np.array([of_single_symbols(model, piece) for piece in batch])
    np.testing.assert_allclose(jax.jit(nats)(model, jnp.asarray(batch)), expected, atol=1e-5)
    np.testing.assert_allclose(
        jax.jit(log_likelihood)(model, jnp.asarray(batch)), -expected[:, 4:].mean(axis=1), atol=1e-5
    )
    with monkeypatch.context() as patched:  # Two pieces after one another, where more do not fit.
        patched.setattr(task, "LOGITS", 2 * CONTEXT * SYMBOLS)
        np.testing.assert_allclose(nats(model, jnp.asarray(batch)), expected, atol=1e-5)
    # Of pieces of one window there is one place to begin.
    found, metrics = jax.jit(partial(loss, context=CONTEXT))(model, jnp.asarray(batch), jax.random.key(0))
    assert float(found) == pytest.approx(expected.mean(), abs=1e-5)
    assert metrics == {}


def test_training_windows_begin_anywhere_in_a_piece():
    piece = np.arange(1, 2 * 3 + 1, dtype=np.int32)[None].repeat(200, 0) % SYMBOLS
    seen = set()

    class Spy(LanguageModel):
        def __init__(self):
            pass

        def __call__(self, symbols, *, initial_state=None, key=None):
            seen.update(map(tuple, np.asarray(symbols).tolist()))
            return jnp.zeros((*symbols.shape, SYMBOLS)), None

    found, _ = loss(Spy(), jnp.asarray(piece), jax.random.key(1), context=3)
    assert seen == {(1, 2, 3), (2, 3, 4), (3, 4, 5)}
    assert float(found) == pytest.approx(math.log(SYMBOLS))


@pytest.mark.parametrize("name", thinned(["lstm", "lru"], 2))
def test_a_text_read_in_segments_is_the_text_read_whole(name):
    model, numbers = model_of(name, blocks=2), drawn(2 * SEGMENT + 5)
    whole = jax.jit(nats)(model, jnp.asarray(numbers[None]))[0]
    assert nats_carried(model, numbers) == pytest.approx(float(whole.mean()), abs=1e-4)


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_layers_that_cannot_write_are_refused(layer):
    rngs = nnx.Rngs(0)
    gru = partial(GRU, 4, 4, rngs=rngs)
    layers = [
        Recurrent(gru(), reverse=True),
        Stack([gru(), Bidirectional(GRU(4, 2, rngs=rngs), GRU(4, 2, rngs=rngs))]),
        Residual(Transformer(4, 4, rngs=rngs), rngs=rngs),
        Recurrent(ConvGRU(1, 2, rngs=rngs)),
    ]
    with pytest.raises(ValueError, match="sees no later step"):
        LanguageModel(layers[layer], SYMBOLS, rngs=rngs)


def test_a_cell_is_a_layer_and_a_transformer_within_a_block_does_not_write():
    rngs, prompts = nnx.Rngs(0), jnp.asarray(drawn(1, 3))
    cell = GRU(4, 4, rngs=rngs)
    model = LanguageModel(cell, SYMBOLS, rngs=rngs)
    np.testing.assert_array_equal(model(prompts)[1], Recurrent(cell)(model.embedding(prompts))[1])
    within = LanguageModel(Residual(Transformer(4, 4, causal=True, rngs=rngs), rngs=rngs), SYMBOLS, rngs=rngs)
    assert within(prompts)[0].shape == (1, 3, SYMBOLS)
    with pytest.raises(ValueError, match="within a block has no state"):
        within.generate(prompts, 2, jax.random.key(0))


def test_a_recurrent_model_reads_all_of_its_prompt_whatever_it_writes():
    model, prompt = model_of("gru"), drawn(30)
    few, many = (written(model, prompt, n, jax.random.key(0), temperature=0.0, context=8)[1] for n in (4, 5))
    np.testing.assert_allclose(few, many[:4], atol=1e-5)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in ("lstm", "mlstm") else pytest.mark.slow) for n in MODELS]
)
def test_writing_on_is_the_most_probable_symbol_after_all_before(name):
    model, prompt = model_of(name), drawn(3)
    found, log_probs = written(model, prompt, 5, jax.random.key(0), temperature=0.0, context=40)
    text, after = prompt, Next(model, 8)
    for symbol, log_prob in zip(found, log_probs, strict=True):
        assert symbol == after(text).argmax()
        assert log_prob == pytest.approx(after(text)[symbol], abs=1e-4)
        text = np.append(text, symbol)


def test_a_transformer_sees_no_more_than_its_context():
    model, prompt = model_of("transformer"), drawn(30)
    found, _ = written(model, prompt, 10, jax.random.key(0), temperature=0.0, context=8)
    expected, text, after = [], prompt, Next(model, 8)
    for turn in (4, 4, 2):
        seen = text[-4:]
        for _ in range(turn):
            symbol = int(after(seen).argmax())
            seen = np.append(seen, symbol)
            expected.append(symbol)
        text = np.append(text, seen[4:])
    assert found.tolist() == expected


def test_what_is_written_follows_the_distribution():
    model, prompts = model_of("gru"), jnp.asarray(drawn(1, 4)).repeat(4000, 0)
    squared = np.exp(2 * Next(model, 4)(prompts[0]))
    generate = jax.jit(lambda model, prompts, key: model.generate(prompts, 1, key, temperature=0.5)[0])
    found = generate(model, prompts, jax.random.key(2))
    shares = np.bincount(np.asarray(found)[:, 0], minlength=SYMBOLS) / 4000
    np.testing.assert_allclose(shares, squared / squared.sum(), atol=4 * np.sqrt(0.25 / 4000))
    np.testing.assert_array_equal(found, generate(model, prompts, jax.random.key(2)))


def test_the_first_word_of_a_prompt_is_known_as_it_stands_within_a_text():
    symbols = Symbols.of("The cat sat.\nA dog sat.", "word")
    assert symbols.decode(_as_within(symbols, "cat sat")) == " cat sat"
    assert symbols.decode(_as_within(symbols, "A dog")) == "\nA dog"
    assert symbols.decode(_as_within(symbols, "The dog")) == "The dog"
    assert symbols.decode(_as_within(symbols, "ox sat")) == f"{UNKNOWN} sat"


def test_what_is_unknown_is_not_written():
    model = model_of("gru")
    model.head.bias = nnx.Param(jnp.zeros(SYMBOLS).at[0].set(100.0))
    found, log_probs = written(model, drawn(3), 50, jax.random.key(0), temperature=1.0, context=8)
    assert 0 not in found
    assert (log_probs < -50).all()


def test_dropout_needs_a_key():
    model, batch = model_of("gru", dropout=0.5), jnp.asarray(drawn(2, 6))
    plain, _ = model(batch)
    noisy, _ = model(batch, key=jax.random.key(0))
    np.testing.assert_array_equal(plain, model(batch)[0])
    assert not np.allclose(plain, noisy)


def test_a_text_is_read_cut_and_described(tmp_path):
    text = "".join(itertools.islice(itertools.cycle("abcd "), 400)) + "z" * 3
    (tmp_path / "t.txt").write_text(text)
    data = text_of(str(tmp_path / "t.txt"), context=4)
    assert data.describe() == {"source": data.source, "symbols": 6, "train": 323, "validation": 40, "test": 40}
    assert "3 characters of test are unknown, as 'z'" in data.source
    (tmp_path / "test.txt").write_text("abcdabcd")
    (tmp_path / "validation.txt").write_text("ab ab ab")
    data = text_of(str(tmp_path), context=4)
    assert {split: len(numbers) for split, numbers in data.texts.items()} == {"train": 403, "validation": 8, "test": 8}


@pytest.mark.parametrize(
    ("text", "how", "message"),
    [
        ("short", {}, "The text of train in .* has 5 characters, and a piece of it 512"),
        ("a b " * 60, {"unit": "word", "context": 30}, "The text of validation .* words, and a piece of it 60"),
        ("long " * 99, {"context": 7}, "--context is 7; expected an even number"),
        ("", {}, "There is no text in"),
    ],
)
def test_texts_that_cannot_be_learnt(text, how, message, tmp_path):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        text_of(str(tmp_path / "t.txt"), **how)


@pytest.mark.slow
def test_the_experiment_compares_memories_and_draws_what_context_is_worth(tmp_path):
    text = "".join(np.random.default_rng(0).choice(["abba ", "acca "], 300))
    (tmp_path / "t.txt").write_text(text)
    given = ["--models", "gru", "transformer", "--params", "30000", "--context", "16", "--epochs", "8", "--seeds", "2"]
    given += ["--data", str(tmp_path / "t.txt"), "--output", str(tmp_path / "run"), "--no-quick", "--no-full"]
    options, _ = parse(script.Options, script.PRESETS, given)
    with jax.numpy_dtype_promotion("standard"):
        run = run_study(script.Text, options)
    record = json.loads((run / "results.json").read_text())
    gru, transformer = record["summary"]
    # Of five symbols one is drawn, of two: a fifth of ln 2 a symbol is the least.
    for row, most in ((gru, 0.35), (transformer, 1.2)):  # By how often each stands in the text alone it is 1.33.
        assert math.log(2) / 5 - 0.01 < row["nats"]["mean"] < most
        assert row["bits"]["mean"] == pytest.approx(row["nats"]["mean"] / math.log(2))
    assert gru["nats_carried"]["mean"] == pytest.approx(gru["nats"]["mean"], abs=0.05)
    assert "nats_carried" not in transformer
    with np.load(run / "arrays.npz") as found:
        arrays = dict(found)
    assert arrays["GRU/nats"].shape == (2, 16)
    assert (run / "by_context.png").stat().st_size > 10_000
