"""The versions that pyproject.toml lets in are those that were tested: from the floor's to the newest."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.helpers import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"].values()
LINES = (*PROJECT["dependencies"], *(line for extra in EXTRAS for line in extra))
REQUIREMENTS = [requirement for requirement in map(Requirement, LINES) if requirement.specifier]


def pinned(name):
    """Versions by package of a constraint file."""
    lines = (ROOT / "constraints" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): Version(str(pin.specifier).removeprefix("==")) for pin in pins}


def floor_of(requirement):
    (floor,) = (Version(part.version) for part in requirement.specifier if part.operator == ">=")
    return floor


def versions_of(constraints):
    """Requirements whose packages a constraint file pins, each with the version."""
    pins = pinned(constraints)
    names = [canonicalize_name(requirement.name) for requirement in REQUIREMENTS]
    return [(requirement, pins[name]) for requirement, name in zip(REQUIREMENTS, names, strict=True) if name in pins]


def test_the_floors_are_the_oldest_versions_that_are_tested():
    assert [(str(requirement), floor_of(requirement)) for requirement, _ in versions_of("floor")] == [
        (str(requirement), version) for requirement, version in versions_of("floor")
    ]


@pytest.mark.parametrize("constraints", ["floor", "newest"])
def test_the_versions_that_are_tested_are_let_in(constraints):
    for requirement, version in versions_of(constraints):
        assert version in requirement.specifier, requirement


@pytest.mark.parametrize("constraints", ["floor", "newest"])
def test_every_dependency_of_the_library_and_the_laboratory_is_pinned(constraints):
    pins = pinned(constraints)
    for line in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["lab"]):
        assert canonicalize_name(Requirement(line).name) in pins, line


def test_what_errors_and_pages_tell_to_install_is_an_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    files = [*ROOT.glob("rowrnn/**/*.py"), *ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    named = {name for file in files for name in re.findall(r"rowrnn\[(\w+)\]", file.read_text(encoding="utf-8"))}
    assert "lab" in named
    assert named <= set(project["optional-dependencies"])
