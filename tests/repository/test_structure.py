"""The traffic between the rooms goes one way."""

import ast
import pkgutil
from functools import cache
from importlib import import_module
from types import ModuleType

import pytest

import rowrnn
from tests.helpers import ROOT

PACKAGE = ROOT / "rowrnn"

# From the bottom up: a room imports from those before its own group only.
ORDER = [
    {"typing", "errors", "atomic_file"},
    {"machine"},
    {"cells"},
    {"recurrence"},
    {"sequence", "program", "decoding"},
    {"image"},
    {"interop"},
    {"models", "generation"},
    {"saving"},
    {"__init__"},
    {"lab.errors", "lab.leaf_names", "lab.budget", "lab.devices"},
    {"lab.data", "lab.training", "lab.runs"},
    {"lab.report"},
    {"lab.tasks"},
    {"lab.draw"},
    {"lab.experiment", "lab.predict"},
    {"lab.page"},
    {"lab.own"},
    {"lab.__init__", "lab.commands"},
    {"__main__"},
]
LEVEL = {name: number for number, names in enumerate(ORDER) for name in names}
# In the laboratory these know arrays and files only, never a cell or a model.
KNOW_NO_CELL = {"lab.errors", "lab.leaf_names", "lab.budget", "lab.devices", "lab.data", "lab.training", "lab.report"}


def parsed(path):
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def room(parts):
    """Name of the room of a module, given as its names below the package."""
    return ".".join(parts[:2] if parts[0] == "lab" else parts[:1])


def imports(path):
    """Rooms of the package that a file imports, each with what it takes."""
    found = []
    for node in parsed(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rowrnn":
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("rowrnn.")]
    return {room(name.split(".")[1:]): name for name in found}


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    here = room(path.relative_to(PACKAGE).with_suffix("").parts)
    assert here in LEVEL, f"{here} has no place in the order"
    for there, name in imports(path).items():
        assert there == here or LEVEL[there] < LEVEL[here], f"{here} imports {name}"
        if here in KNOW_NO_CELL:
            assert there not in {"cells", "recurrence", "sequence", "image", "models"}, f"{here} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_of_a_room_do_not_import_each_other_in_a_circle(path):
    """Within a room too: no module reaches itself."""
    graph = imports_of_all()
    start, reached, todo = module(path), set(), list(graph[module(path)])
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += graph.get(name, ())
    assert start not in reached


def module(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imports_of_all():
    """Modules that each module imports."""
    known = {module(file) for file in FILES}
    return {module(file): modules_imported(file, known) for file in FILES}


def modules_imported(path, known):
    found = set()
    for node in parsed(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rowrnn":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in known else node.module for name in names}
    return found


def test_only_the_laboratory_and_the_command_line_import_the_laboratory():
    for path in FILES:
        inside = path.is_relative_to(PACKAGE / "lab") or path.name == "__main__.py"
        assert inside or not any(there.startswith("lab") for there in imports(path)), path


def test_the_library_is_few_files_and_its_wings():
    files = [path.name for path in PACKAGE.iterdir() if path.is_file()]
    assert len(files) <= 7, files


def test_no_public_function_shadows_a_module():
    for package in [rowrnn, *map(import_module, sorted(module(path) for path in FILES if path.name == "__init__.py"))]:
        for _, name, _ in pkgutil.iter_modules(package.__path__):
            found = getattr(package, name, None)
            assert found is None or isinstance(found, ModuleType), f"{package.__name__}.{name} is {found}"


def test_no_file_is_two_rooms():
    for path in (*PACKAGE.rglob("*.py"), *ROOT.glob("experiments/*.py"), *ROOT.glob("benchmarks/*.py")):
        assert len(path.read_text().splitlines()) <= 300, path
