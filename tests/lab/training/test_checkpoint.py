"""Checkpoints: whole or not there, every damage found and named, restored on other devices."""

import resource
import subprocess
import warnings
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from rowrnn.errors import InputError
from rowrnn.lab.errors import StorageError
from rowrnn.lab.training import Checkpoints
from rowrnn.lab.training.checkpoint import damaged
from tests.helpers.cases import thinned


class State(NamedTuple):
    """Not in the order of its names."""

    model: Any
    mark: Any
    count: Any


def sharding(devices):
    return NamedSharding(Mesh(np.array(jax.devices()[:devices]), ("seed",)), P("seed"))


def state(devices=2, offset=0.0):
    tree = State(
        model=[jnp.arange(6.0).reshape(2, 3) + offset, (jnp.ones((2, 2, 2), jnp.bfloat16),)],
        count=jnp.arange(2, dtype=jnp.int32),
        mark=jnp.array([True, False]),
    )
    return jax.device_put(tree, sharding(devices))


def like(devices=2):
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding(devices)), state())


def newest(checkpoints, form=None):
    found = checkpoints.newest()
    assert found is not None
    return found.state(form or like()), found.record()


def files(path):
    return sorted(file for file in path.rglob("*") if file.is_file())


@pytest.mark.parametrize(("before", "after"), [(2, 2), (1, 2), (2, 1)])
def test_a_state_comes_back_bit_by_bit_on_as_many_devices_as_there_are(tmp_path, before, after):
    checkpoints = Checkpoints(tmp_path / "deep" / "model")
    assert checkpoints.newest() is None
    checkpoints.save(3, 7, state(before), {"seconds": [0.1, 1e-300], "words": "ä"})
    found, record = newest(checkpoints, like(after))
    chex.assert_trees_all_equal(found, state())
    chex.assert_trees_all_equal_dtypes(found, state())
    assert all(leaf.sharding == sharding(after) for leaf in jax.tree.leaves(found))
    assert record == {"seconds": [0.1, 1e-300], "words": "ä"}


def test_the_newest_are_kept_and_the_newest_is_loaded(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for position in [(0, 900), (1, 0), (1, 90), (10, 0)]:
        checkpoints.save(*position, state(offset=float(sum(position))), {"position": position})
    assert [path.name for path in checkpoints.all()] == ["000001-000000090", "000010-000000000"]
    found, record = newest(checkpoints)
    assert record == {"position": [10, 0]}
    chex.assert_trees_all_equal(found, state(offset=10.0))


def test_the_sums_are_those_of_sha256sum(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, 0, state(), {})
    (path,) = checkpoints.all()
    checked = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=path, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count(": OK") == len(files(path)) - 1


def truncate(file):
    file.write_bytes(file.read_bytes()[:-1])


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    "damage", thinned({"flipped": flip, "truncated": truncate, "removed": lambda file: file.unlink()}, 3)
)
def test_every_damage_of_every_file_is_found_and_the_checkpoint_before_is_used(tmp_path, damage):
    checkpoints = Checkpoints(tmp_path, keep=3)
    checkpoints.save(1, 0, state(offset=1.0), {"epoch": 1})
    number = 0
    while True:
        checkpoints.save(2, 0, state(offset=2.0), {"epoch": 2})
        # Orbax leaves an empty file, of which nothing can be cut off and no bit be flipped.
        there = [file for file in files(checkpoints.all()[-1]) if file.stat().st_size or damage not in (truncate, flip)]
        if number >= len(there):  # Orbax does not always write as many files.
            break
        damage(there[number])
        assert str(there[number]) in damaged(checkpoints.all()[-1])
        with pytest.warns(UserWarning, match=f"{there[number]} is (damaged|missing)"):
            found, record = newest(checkpoints)
        assert record == {"epoch": 1}
        chex.assert_trees_all_equal(found, state(offset=1.0))
        number += 1
    assert number > 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert newest(checkpoints)[1] == {"epoch": 2}


def test_without_a_whole_checkpoint_nothing_is_resumed(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for epoch in (1, 2):
        checkpoints.save(epoch, 0, state(), {})
        truncate(checkpoints.all()[-1] / "record.json")
    message = r"No checkpoint in .* is whole: .*2-0+/record.json is damaged.* .*1-0+/record.json .* Remove"
    with pytest.raises(InputError, match=message):
        checkpoints.newest()
    assert len(checkpoints.all()) == 2


def test_a_full_disk_is_an_error_that_leaves_the_checkpoint_before(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, 0, state(), {"epoch": 1})
    rng = np.random.default_rng(0)
    large = jax.device_put({"noise": rng.normal(size=(2, 100_000))}, sharding(2))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"000002-000000000 cannot be written .* the one before, .*000001-0"):
            checkpoints.save(2, 0, large, {"epoch": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["000001-000000000"]
    assert newest(checkpoints)[1] == {"epoch": 1}
    # What JSON cannot hold is found before anything has its name.
    with pytest.raises(StorageError, match="not JSON serializable"):
        checkpoints.save(3, 0, state(), {"state": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["000001-000000000"]


def test_what_a_killed_process_left_is_no_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, 0, state(), {"epoch": 1})
    (tmp_path / ".partial" / "arrays").mkdir(parents=True)
    (tmp_path / ".partial" / "record.json").write_text("{")
    assert newest(checkpoints)[1] == {"epoch": 1}
    checkpoints.save(2, 0, state(), {"epoch": 2})
    assert newest(checkpoints)[1] == {"epoch": 2}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000001-000000000", "000002-000000000"]


def test_a_state_of_another_form_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, 0, state(), {})
    more = jax.ShapeDtypeStruct((2,), jnp.float32, sharding=sharding(2))
    for message, wrong in {
        r"count, int32\[2\] in the checkpoint and float32\[2\] here": like()._replace(count=more),
        r"mark, bool\[2\] in the checkpoint and None here": like()._replace(mark=None),
        r"model\.2, None in the checkpoint and float32\[2\] here": like()._replace(model=[*like().model, more]),
    }.items():
        with pytest.raises(InputError, match=f"another model or another way to train it: .*{message}"):
            newest(checkpoints, wrong)


def test_numbers_out_of_range(tmp_path):
    for keep, every in ((0, 1.0), (1, 0.0), (1, float("nan"))):
        with pytest.raises(InputError, match="expected at least 1 to keep"):
            Checkpoints(tmp_path, keep, every)
    assert not Checkpoints(tmp_path).due()
    assert Checkpoints(tmp_path, every=1e-9).due()
