"""What a layout gives: items by the splits that it names, before splits are completed and labels are numbered."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item
from rowrnn.lab.data.sources.files import composed, natural, some

TARGETS = ("label", "text", "objects", "mask")


@dataclass
class Found:
    """Items of one layout.

    Args:
        place: where they were found, for messages.
        layout: the layout in words, as "class folders".
        splits: items by split; a data set without splits has "train" only.
        media: what the files are: "pictures", "clips", or both for GIFs.
        class_orders: by column, the names of classes in the order of a table's schema.
        notes: sentences for the description of the data set.
    """

    place: str
    layout: str
    splits: dict[str, list[Item]]
    media: tuple[str, ...] = ("pictures",)
    class_orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def with_columns(found: Found, label_column: str | None, text_column: str | None, target: str | None) -> Found:
    """Names the chosen columns "label" and "text", and makes the labels strings.

    A split of which no item has what is learnt, while others have, is left out: public test sets hide theirs.

    Args:
        found: items of a layout.
        label_column: the column of the class; "label" where None, or the only column of classes of a table.
        text_column: the column of the text; "text" where None.
        target: the column that is learnt, which every item must have; all of `TARGETS` that there are where None.

    Raises:
        InputError: if there is no such column, or some items lack a label, a text or the like that others have.
    """
    has_label = any("label" in item.columns for items in found.splits.values() for item in items)
    if label_column is None and not has_label and len(found.class_orders) == 1:  # the only column of classes
        (label_column,) = found.class_orders
    for name, chosen in {"label": label_column, "text": text_column}.items():
        if chosen is not None and chosen != name:
            found = _renamed(found, name, chosen)
    targets = TARGETS if target is None else (target,)
    found = _without_hidden(found, "label" if target is None else target)
    if "label" in targets:
        named = {split: [_with_label_name(item) for item in items] for split, items in found.splits.items()}
        found = replace(found, splits=named)
    for name in targets:
        _check_complete(found, name)
    return found


def _renamed(found: Found, name: str, chosen: str) -> Found:
    columns = dict.fromkeys(column for items in found.splits.values() for item in items for column in item.columns)
    if chosen not in columns:
        raise InputError(
            f"{found.place} has no column {chosen!r}; expected one of its columns: {', '.join(columns) or 'none'}."
        )
    splits = {
        split: [replace(item, columns={**item.columns, name: item.columns.get(chosen)}) for item in items]
        for split, items in found.splits.items()
    }
    orders = dict(found.class_orders)
    orders.pop(name, None)
    return replace(found, splits=splits, class_orders=orders | {name: orders[chosen]} if chosen in orders else orders)


def _without_hidden(found: Found, target: str) -> Found:
    """Leaves out splits of which no item has what is learnt, while others have."""
    # Where all texts of a split are empty they are hidden, though an empty text among others is one.
    hidden = (*_missing(target), "")
    with_it = {
        split: items
        for split, items in found.splits.items()
        if any(item.columns.get(target) not in hidden for item in items)
    }
    left = [split for split in found.splits if split not in with_it]
    if not with_it:
        if any(target in item.columns for items in found.splits.values() for item in items):
            raise InputError(f"No item of {found.place} has a value in its column {target!r}; expected one for each.")
        return found
    notes = [
        f"split {split!r} left out: none of its {len(found.splits[split]):,} items has a {target}" for split in left
    ]
    return replace(found, splits=with_it, notes=[*found.notes, *notes])


def _with_label_name(item: Item) -> Item:
    label = item.columns.get("label")
    if label is None or (isinstance(label, str) and _name_of(label) == label):
        return item
    if isinstance(label, list | dict | float):
        raise InputError(
            f"The label of {item.name} is {label!r}; expected one class: a string, a whole number, true or false."
        )
    return replace(item, columns={**item.columns, "label": _name_of(label)})


def _name_of(label: Any) -> str:
    return str(label).lower() if isinstance(label, bool) else composed(str(label)).strip()


def _missing(name: str) -> tuple[Any, ...]:
    """Returns the values of a column that are none; an empty text is one, and so are no objects at all."""
    return {"label": (None, "", []), "objects": (None,)}.get(name, (None, []))


def _check_complete(found: Found, name: str) -> None:
    """Checks that all items or none have a column."""
    items = [item for items in found.splits.values() for item in items]
    missing = _missing(name)
    without = [item for item in items if item.columns.get(name) in missing]
    if 0 < len(without) < len(items):
        have = sorted({column for item in without for column, value in item.columns.items() if value is not None})
        raise InputError(
            f"{len(without):,} of {len(items):,} items of {found.place} have no {name!r} though others have: "
            f"{some([item.name for item in without])} (columns there: {', '.join(have) or 'none'}). Expected it for "
            "every item of one task. Complete the column, or take these items out."
        )


def class_names(found: Found) -> tuple[str, ...]:
    """Returns the names of the classes: in the schema's order, else sorted, numbers by their value.

    Raises:
        InputError: if a class has items in another split, but none for training.
    """
    by_split = {
        split: {item.columns["label"] for item in items if "label" in item.columns}
        for split, items in found.splits.items()
    }
    for split, labels in by_split.items():
        unknown = sorted(labels - by_split["train"], key=natural)
        if unknown:
            raise InputError(
                f"{len(unknown)} classes of the split {split!r} of {found.place} have no item in 'train': "
                f"{some(unknown)}. Expected training items of every class; check the names, or move items."
            )
    labels = by_split["train"]
    order = found.class_orders.get("label", ())
    if labels and labels <= set(order):
        return order
    return tuple(sorted(labels, key=natural))
