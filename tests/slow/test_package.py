"""A wheel built from the repository carries the data and the licences, and works outside the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.helpers import ROOT

FIRST_STEPS = """
import jax.numpy as jnp
from flax import nnx
import rowrnn
from rowrnn import RowLSTM
from rowrnn.lab.data.load import load
print(rowrnn.__file__)
layer = RowLSTM(features=20, hidden=50, rngs=nnx.Rngs(0))
print(layer(jnp.ones((1, 10, 20))).shape, len(load("mnist").test))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # A build leaves folders in its source, so it gets a copy; the environment has setuptools, so it needs no network.
    source = folder / "source"
    shutil.copytree(ROOT / "rowrnn", source / "rowrnn", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(source)], check=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_package_its_data_and_licences(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith("rowrnn-")}
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "rowrnn").rglob("*")
        if path.suffix in {".py", ".npz", ".typed", ".cc", ".h"}
    }
    assert names == expected | {"rowrnn/lab/data/LICENSE-MNIST"}
    licences = [name for name in zipfile.ZipFile(wheel).namelist() if "licenses/" in name]
    assert len(licences) == 2


def test_the_installed_wheel_works_in_an_empty_directory(wheel, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    found = subprocess.run(
        [sys.executable, "-c", FIRST_STEPS], cwd=empty, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines() == [str(site / "rowrnn" / "__init__.py"), "(1, 10, 50) 10000"]
