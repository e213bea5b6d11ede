"""Options composed of groups: by name, changed by name, checked by type; and presets on the command line."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from rowrnn import lab
from rowrnn.errors import InputError
from rowrnn.lab.experiment.command_line import parse
from rowrnn.lab.experiment.data_options import Size
from rowrnn.lab.experiment.options import check_options, values_by_name, with_values


@dataclass(frozen=True)
class Inner:
    """A group within a group."""

    depth: lab.Count = 3


@dataclass(frozen=True)
class Shared:
    """A group."""

    rate: Annotated[float, lab.Positive()] = 0.5
    inner: lab.Group[Inner] = Inner()


@dataclass(frozen=True)
class Options:
    """Options with a group and a value that has fields."""

    names: Annotated[tuple[str, ...], lab.KnownNames(("gru", "lstm"))] = ("gru",)
    chance: lab.Probability = 0.0
    augmentation: lab.Unnamed[lab.Augmentation] = lab.Augmentation()
    shared: lab.Group[Shared] = Shared(rate=0.25)


ZOOM = lab.Augmentation(zoom=0.2)
PRESETS = {"quick": {"depth": 1, "names": ("gru", "lstm")}, "full": {"augmentation": lab.Augmentation(zoom=0.1)}}


def test_options_of_groups_stand_beside_the_others():
    assert values_by_name(Options()) == {
        "names": ("gru",),
        "chance": 0.0,
        "augmentation": lab.Augmentation(),
        "rate": 0.25,
        "depth": 3,
    }


def test_an_option_is_changed_by_its_name_wherever_it_stands():
    changed = with_values(Options(), depth=5, chance=0.5)
    assert changed == Options(chance=0.5, shared=Shared(rate=0.25, inner=Inner(depth=5)))
    with pytest.raises(TypeError, match="Options has no width"):
        with_values(Options(), width=5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"depth": 0}, "--depth is 0; expected at least 1"),
        ({"rate": 0.0}, "--rate is 0.0; expected a number above 0"),
        ({"rate": float("nan")}, "--rate is nan"),
        ({"chance": 1.0}, r"--chance is 1.0; expected a chance in \[0, 1\)"),
        ({"names": ("lstn",)}, "There is no 'lstn' for --names. Did you mean 'lstm'"),
        ({"names": ()}, "--names is empty"),
    ],
)
def test_an_option_out_of_its_range_is_named(wrong, message):
    check_options(Options())
    with pytest.raises(InputError, match=message):
        check_options(with_values(Options(), **wrong))


@pytest.mark.parametrize(
    ("arguments", "expected", "chosen"),
    [
        ([], Options(), ""),
        (
            ["--depth", "7", "--zoom", "0.2"],
            with_values(Options(), depth=7, augmentation=ZOOM),
            "",
        ),
        (["--quick"], with_values(Options(), depth=1, names=("gru", "lstm")), "quick"),
        (["--quick", "--depth", "2"], with_values(Options(), depth=2, names=("gru", "lstm")), "quick"),
        (["--no-quick", "--full"], with_values(Options(), augmentation=lab.Augmentation(zoom=0.1)), "full"),
    ],
)
def test_an_option_beside_a_preset_wins_in_a_group_too(arguments, expected, chosen):
    options, presets = parse(Options, PRESETS, arguments)
    assert options == expected
    assert presets == {"quick": chosen == "quick", "full": chosen == "full"}


@dataclass(frozen=True)
class Sized:
    """Options with a size."""

    size: Size = None


def test_a_size_is_two_numbers_or_none(capsys):
    assert parse(Sized, {}, ["--size", "48", "64"])[0].size == (48, 64)
    assert parse(Sized, {}, [])[0].size is None
    assert parse(Sized, {}, ["--size", "None"])[0].size is None
    for wrong in (["48"], ["48", "x"], ["1", "2", "3"]):
        with pytest.raises(SystemExit) as ended:
            parse(Sized, {}, ["--size", *wrong])
        assert ended.value.code == 2
        assert "expected two numbers, a height and a width" in " ".join(capsys.readouterr().err.split())
