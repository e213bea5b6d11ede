"""Modules as JSON and named arrays, and back.

A module is described by what it is made of: the class of each nested module, its static attributes, and its arrays by
name. Nothing of a description is executed: classes and functions are looked up by name, those of rowrnn, `flax.nnx`
and JAX only, and a module is filled without calling its constructor.
"""

import dataclasses
import enum
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.core import FrozenDict

from rowrnn.errors import InputError

Description = dict[str, Any]
"""A module in terms of JSON."""
Arrays = Mapping[str, Any]

NAMESPACES = ("flax.nnx", "jax.nn", "jax.nn.initializers", "jax.numpy", "jax.lax")
"""Public modules whose functions and classes are named by them, not by the private module that defines them."""
FILE_FUNCTIONS = {"fromfile", "load", "save", "savez"}
"""Functions of `jax.numpy` that read or write files, which no model needs."""


def describe(module: Any) -> tuple[Description, dict[str, Any]]:
    """Describes a module.

    Args:
        module: a module that is a pytree, as every layer and model of rowrnn and of `flax.nnx` is.

    Returns:
        The description, which `build` reads, and the arrays by their paths, such as "rows.cell.bias".

    Raises:
        InputError: if an attribute cannot be described: a function without a name, or an object of an unknown kind.
    """
    if not isinstance(module, nnx.Pytree):
        raise InputError(f"Only a module of flax.nnx can be saved, not an object of the class {type(module).__name__}.")
    arrays: dict[str, Any] = {}
    return _described(module, (), arrays), arrays


def _described(value: Any, path: tuple[str, ...], arrays: dict[str, Any]) -> Any:
    """Returns a value in terms of JSON: numbers, strings and None as they are, all else as a dict with one tag."""

    def of_each(values: Sequence[Any]) -> list[Any]:
        names = getattr(values, "_fields", map(str, range(len(values))))
        return [_described(part, (*path, name), arrays) for name, part in zip(names, values, strict=True)]

    def of_items(items: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _described(part, (*path, name), arrays) for name, part in items.items()}

    if isinstance(value, enum.Enum):
        return {"enum": _name(type(value), path), "member": value.name}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, nnx.Variable):
        inner = _described(value.get_raw_value(), path, arrays)
        return {"variable": _name(type(value), path), "value": inner, "metadata": of_items(value.get_metadata())}
    if isinstance(value, nnx.Pytree):
        return {"module": _name(type(value), path), **{part: of_items(of) for part, of in _attributes(value).items()}}
    if isinstance(value, jax.Array):
        return _of_array(value, ".".join(path), arrays)
    if isinstance(value, np.ndarray):
        return {"constant": _kept(".".join(path), value, arrays)}
    if isinstance(value, np.number | np.bool_):
        return value.item()
    if isinstance(value, np.dtype):
        return {"dtype": value.name}
    if isinstance(value, tuple):
        named = {"class": _name(type(value), path)} if hasattr(value, "_fields") else {}
        return {"tuple": of_each(value), **named}
    if isinstance(value, list):
        return {"list": of_each(value)}
    if isinstance(value, dict | FrozenDict):
        items = [
            [_described(key, path, arrays), _described(of, (*path, str(key)), arrays)] for key, of in value.items()
        ]
        return {"frozen_dict" if isinstance(value, FrozenDict) else "dict": items}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        return {"dataclass": _name(type(value), path), "fields": of_items(fields)}
    if isinstance(value, type) and issubclass(value, np.generic):
        return {"scalar_type": np.dtype(value).name}
    if callable(value):
        return {"named": _name(value, path)}
    raise InputError(
        f"{'.'.join(path)} is an object of the class {type(value).__name__}, which cannot be saved: an attribute of a "
        "module is a module, an array, a number, a string, a dtype, a function or class with a name, or tuples, lists, "
        "dicts and dataclasses of these."
    )


def _attributes(module: nnx.Pytree) -> dict[str, dict[str, Any]]:
    """Returns the attributes of a module that are nodes of the pytree, and those that are not."""
    if not module._pytree__is_pytree:
        raise InputError(f"{type(module).__name__} is no pytree (pytree=False) and cannot be saved.")
    found = {name: value for name, value in sorted(vars(module).items()) if not name.startswith("_pytree__")}
    is_data = {name: module._pytree__nodes.get(name, False) for name in found}
    return {
        "data": {name: value for name, value in found.items() if is_data[name]},
        "static": {name: value for name, value in found.items() if not is_data[name]},
    }


def _of_array(array: jax.Array, name: str, arrays: dict[str, Any]) -> Description:
    if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
        return {"key": _kept(name, jax.random.key_data(array), arrays), "algorithm": str(jax.random.key_impl(array))}
    return {"array": _kept(name, array, arrays)}


def _kept(name: str, array: Any, arrays: dict[str, Any]) -> str:
    """Adds an array under its name, and returns that; of two of one name neither is lost in silence."""
    if name in arrays:
        raise InputError(f"Two arrays of the model are called {name!r}: name no key of a dict with a full stop.")
    arrays[name] = array
    return name


def initializer_not_kept(*_: Any, **__: Any) -> Any:
    """Stands for an initializer that has no name, as `nnx.initializers.he_normal()`, in a loaded module.

    Raises:
        InputError: if it is called.
    """
    raise InputError("A loaded module has its parameters, and no longer the initializer that first drew them.")


def _name(value: Any, path: tuple[str, ...]) -> str:
    """Returns the name "module:qualified name" under which a class or function is found again."""
    name, module = getattr(value, "__name__", None), getattr(value, "__module__", None)
    for namespace in NAMESPACES:
        if isinstance(name, str) and getattr(sys.modules.get(namespace), name, None) is value:
            return f"{namespace}:{name}"
    qualified = getattr(value, "__qualname__", None)
    if module in sys.modules and isinstance(qualified, str):
        found: Any = sys.modules[module]
        for part in qualified.split("."):
            found = getattr(found, part, None)
        if found is value:
            return f"{module}:{qualified}"
    if path and path[-1].endswith("init"):  # Only a constructor needs it.
        return f"{__name__}:{initializer_not_kept.__name__}"
    what = "class" if isinstance(value, type) else "function"
    raise InputError(
        f"{'.'.join(path)} is {value!r}, a {what} that is not found by a name (a lambda, a partial, or defined inside "
        "a function), and cannot be saved: define it at the top of a module."
    )


def own_names(description: Any) -> set[str]:
    """Returns the names in a description that `build` finds only among the `classes` given to it."""
    if isinstance(description, list):
        return set().union(*map(own_names, description))
    if not isinstance(description, dict):
        return set()
    names = {description.get(tag) for tag in ("module", "variable", "enum", "dataclass", "named", "class")}
    found = {name for name in names if isinstance(name, str) and not _is_known(name.partition(":")[0])}
    return found.union(*map(own_names, description.values()))


def _is_known(module: str) -> bool:
    of_library = f"{module}.".startswith(("rowrnn.", "flax.nnx.")) and not f"{module}.".startswith("rowrnn.lab.")
    return of_library or module in NAMESPACES


def build(description: Description, arrays: Arrays, classes: Sequence[Any] = (), seed: int | None = None) -> Any:
    """Builds a module from its description and arrays.

    Args:
        description: from `describe`.
        arrays: its arrays by name.
        classes: classes and functions outside of rowrnn, `flax.nnx` and JAX that the description may name.
        seed: index in the leading axis of the arrays, where that has several models; None where there is no such axis.

    Raises:
        InputError: if the description names a class that is not known or no longer exists, is damaged, or its arrays
            are missing or have a dtype that needs `jax_enable_x64`.
    """
    try:
        return _Builder(arrays, {each.__qualname__: each for each in classes}, seed).value(description)
    except InputError:
        raise
    except Exception as error:  # What is in a file may be anything.
        raise InputError(f"The description of the model is damaged ({type(error).__name__}: {error}).") from None


class _Blank(nnx.Module):
    """A module without attributes; a module that is built takes from it what Flax gives to every module."""


@dataclasses.dataclass(frozen=True)
class _Builder:
    arrays: Arrays
    own: Mapping[str, Any]
    seed: int | None

    def value(self, of: Any) -> Any:
        """Returns the value of a part of a description."""
        match of:
            case None | bool() | int() | float() | str():
                return of
            case {"module": name, "data": data, "static": static}:
                return self._module(name, data, static)
            case {"variable": name, "value": value, "metadata": metadata}:
                return self._class(name, nnx.Variable).from_metadata(self.value(value), self._items(metadata))
            case {"array": name}:
                return self._array(name)
            case {"key": name, "algorithm": algorithm}:
                return jax.random.wrap_key_data(self._array(name), impl=algorithm)
            case {"constant": name}:
                return np.asarray(self.arrays[name])
            case {"dtype": name}:
                return jnp.dtype(name)
            case {"scalar_type": name}:
                return jnp.dtype(name).type
            case {"enum": name, "member": member}:
                return self._class(name, enum.Enum)[member]
            case {"tuple": values, "class": name}:
                return self._class(name, tuple)._make(map(self.value, values))
            case {"tuple": values}:
                return tuple(map(self.value, values))
            case {"list": values}:
                return list(map(self.value, values))
            case {"dict": items}:
                return {self.value(key): self.value(value) for key, value in items}
            case {"frozen_dict": items}:
                return FrozenDict({self.value(key): self.value(value) for key, value in items})
            case {"dataclass": name, "fields": fields}:
                return self._class(name, object)(**self._items(fields))
            case {"named": name}:
                return self._found(name)
        raise InputError(f"The description of the model has a part of an unknown kind: {str(of)[:80]}.")

    def _items(self, of: Description) -> dict[str, Any]:
        return {name: self.value(part) for name, part in of.items()}

    def _module(self, name: str, data: Description, static: Description) -> nnx.Pytree:
        kind = self._class(name, nnx.Pytree)
        node, blank = object.__new__(kind), vars(_Blank())
        nodes = {**blank["_pytree__nodes"], **dict.fromkeys(data, True), **dict.fromkeys(static, False)}
        made_by_flax = {"_pytree__state": blank["_pytree__state"], "_pytree__nodes": kind._pytree__nodes.update(nodes)}
        for attribute, value in {**made_by_flax, **self._items({**data, **static})}.items():
            object.__setattr__(node, attribute, value)
        return node

    def _array(self, name: str) -> jax.Array:
        stored = self.arrays[name] if self.seed is None else self.arrays[name][self.seed]
        if jax.dtypes.canonicalize_dtype(stored.dtype) != stored.dtype:
            raise InputError(
                f"{name} has the dtype {stored.dtype}, which JAX would round: set jax_enable_x64 "
                '(jax.config.update("jax_enable_x64", True)) before the model is loaded.'
            )
        return jnp.asarray(stored)

    def _class(self, name: str, base: type) -> Any:
        found = self._found(name)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise InputError(f"{name} is not a class of the kind that the model needs, {base.__name__}.")
        return found

    def _found(self, name: str) -> Any:
        """Returns a class or function by its name; what is not of rowrnn, `flax.nnx` or JAX only from `classes`."""
        module, _, qualified = name.partition(":")
        if not _is_known(module):
            if qualified in self.own:
                return self.own[qualified]
            short = qualified.rpartition(".")[2]
            raise InputError(
                f"The model uses {qualified} of {module}, which is not part of rowrnn, flax.nnx or JAX: import it and "
                f"load the model with rowrnn.load(..., classes=({short},))."
            )
        try:
            found: Any = import_module(module)
        except ImportError:
            found = None
        first, *inner = qualified.split(".")
        found = getattr(found, first, None)
        for part in inner:  # Only through classes: a module leads to all that it imports.
            found = getattr(found, part, None) if isinstance(found, type) else None
        origin = getattr(found, "__module__", None) or ""
        fits = origin == module or (module in NAMESPACES and origin.split(".")[0] in ("jax", "jaxlib", "flax"))
        if not callable(found) or not fits or (module == "jax.numpy" and qualified in FILE_FUNCTIONS):
            raise InputError(
                f"The model uses {qualified} of {module}, which this version does not have: it was saved by another "
                "version of rowrnn or Flax."
            )
        return found
