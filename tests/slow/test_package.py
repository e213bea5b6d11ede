"""A wheel built from the repository carries the data and the licences, and works outside the checkout.

Installed with its own dependencies alone, in an environment of its own, the library works and names the extra that the
laboratory needs.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement

from tests.helpers import ROOT

pytestmark = pytest.mark.slow

FIRST_STEPS = """
import jax.numpy as jnp
from flax import nnx
from rowrnn import RowLSTM
layer = RowLSTM(28, 64, rngs=nnx.Rngs(0))
print(layer(jnp.ones((8, 28, 28)))[0].shape)
"""
OF_THE_CHECKOUT = """
import rowrnn
from rowrnn.lab.data.load import load
print(rowrnn.__file__)
print(len(load("mnist").test))
"""
# Flax imports packages too, some of them the laboratory's.
IMPORTED = """
import json, sys
import flax.nnx
before = set(sys.modules)
import rowrnn
print(json.dumps(sorted({name.partition(".")[0] for name in {*sys.modules} - before})))
"""
OF_THE_LABORATORY = {
    "optax",
    "orbax",
    "tensorflow_datasets",
    "grain",
    "matplotlib",
    "tyro",
    "rich",
    "scipy",
    "PIL",
    "psutil",
}


def run(python, *arguments, cwd, **environment):
    """A process outside the checkout, without what the tests have on their path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    return subprocess.run(
        [python, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


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


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The interpreter of a new environment into which pip installed the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    constraints = ROOT / "constraints" / ("floor.txt" if sys.version_info < (3, 12) else "newest.txt")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, str(wheel), "--constraint", str(constraints)], check=True, timeout=1800)
    return str(python)


def test_the_wheel_holds_the_package_its_data_and_licences(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith("rowrnn-")}
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "rowrnn").rglob("*")
        if path.suffix in {".py", ".npz", ".typed", ".cc", ".h", ".html", ".safetensors"}
    }
    assert names == expected | {"rowrnn/lab/data/LICENSE-MNIST"}
    licences = [name for name in zipfile.ZipFile(wheel).namelist() if "licenses/" in name]
    assert len(licences) == 2


def test_the_wheel_brings_its_data_into_an_empty_directory(wheel, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    found = run(sys.executable, "-c", OF_THE_CHECKOUT, cwd=empty, PYTHONPATH=str(site))
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines() == [str(site / "rowrnn" / "__init__.py"), "10000"]


def test_the_library_works_with_its_own_dependencies_alone(python, tmp_path):
    found = run(python, "-c", FIRST_STEPS, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines() == ["(8, 28, 64)"]


def test_pip_installs_five_packages_for_the_library_and_none_for_the_laboratory(python, tmp_path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {Requirement(line).name for line in project["dependencies"]}
    assert named == {"jax", "flax", "jaxtyping", "numpy", "safetensors"}
    listed = run(python, "-m", "pip", "list", "--format", "json", cwd=tmp_path)
    installed = {package["name"].lower() for package in json.loads(listed.stdout)}
    assert named < installed
    assert not installed & {"tensorflow-datasets", "grain", "matplotlib", "tyro", "pillow"}


def test_the_library_imports_nothing_of_the_laboratory(tmp_path):
    """In the environment of the tests, which has all packages."""
    found = run(sys.executable, "-c", IMPORTED, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert found.returncode == 0, found.stderr
    imported = set(json.loads(found.stdout))
    assert "rowrnn" in imported
    assert not imported & OF_THE_LABORATORY


def test_a_command_without_the_laboratory_names_the_extra(python, tmp_path):
    found = run(python, "-m", "rowrnn", "runs", cwd=tmp_path)
    assert found.returncode == 2, found.stderr
    (line,) = found.stderr.splitlines()
    assert "pip install 'rowrnn[lab]'" in line
    assert not found.stdout


def test_the_laboratory_without_its_packages_names_the_extra(python, tmp_path):
    found = run(python, "-c", "import rowrnn.lab", cwd=tmp_path)
    assert found.returncode == 1
    assert "rowrnn[lab]" in found.stderr.splitlines()[-1]
