"""Whoever mistypes a name is told which one is near, wherever there are names to choose from."""

from __future__ import annotations

from argparse import Action
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from toy_chains import TinyResNet, images, labels, seeded

import resnet_probe as rp
from resnet_probe import ProbeError, chain_of, data, models, zoo
from resnet_probe.claims import ledger
from resnet_probe.cli import HELP, main, parser
from resnet_probe.cli.output import FORMATS, formats
from resnet_probe.data.preprocess import INTERPOLATIONS
from resnet_probe.engine.task import LOSSES, asked
from resnet_probe.errors import did_you_mean
from resnet_probe.explorer.switches import PRESETS, check_preset
from resnet_probe.loading.request import Request
from resnet_probe.published import load, names
from resnet_probe.runs.catalogue import ROWS, row
from resnet_probe.settings import Option
from resnet_probe.studies import control, plan, scores
from resnet_probe.studies.attribution import request as attribution
from resnet_probe.studies.paths import request as paths
from resnet_probe.studies.study import Subject
from resnet_probe.training.recipe import RECIPES, recipe


def mistyped(name: str) -> str:
    """Without the letter in its middle."""
    return name[: len(name) // 2] + name[len(name) // 2 + 1 :]


def long_enough(names: Any) -> list[str]:
    return [name for name in names if isinstance(name, str) and len(name) > 2]


def choices() -> Iterator[Any]:
    """Each option of Python that has choices, of all studies and of `prepare`."""
    for settings in [Request, *(each.study.settings for each in ROWS)]:
        for option in settings.options():
            if option.choices:
                yield pytest.param(option, id=f"{settings.__name__}-{option.name}")


@pytest.mark.parametrize("option", list(choices()))
def test_options_in_python(option: Option) -> None:
    for name in long_enough(option.choices):
        with pytest.raises(ProbeError, match=rf"did you mean .*\b{name}\b.*\?"):
            option.check(mistyped(name))
    with pytest.raises(ProbeError) as refused:
        option.check("zzzzzz")
    assert "did you mean" not in str(refused.value)


def actions() -> Iterator[tuple[str, Action]]:
    """Each option of the command line that has choices."""
    commands = next(each for each in parser(every=True)._actions if each.choices)
    for command, words in commands.choices.items():
        yield from ((command, each) for each in words._actions if each.choices)


def test_options_of_the_command_line() -> None:
    seen = set()
    for command, action in actions():
        flag = [action.option_strings[-1]] if action.option_strings else []
        for name in long_enough(action.choices):
            seen.add(f"{command} {''.join(flag)}")
            with pytest.raises(ProbeError, match=rf"did you mean .*{name}.*\?"):
                parser(command).parse_args([command, *flag, mistyped(name)])
    assert {"lesion --edit", "paths --method", "bench ", "zoo ", "completion "} <= seen


@pytest.mark.parametrize("command", HELP)
def test_commands(command, capsys) -> None:
    assert main([mistyped(command)]) == 2
    assert f"did you mean {command}" in capsys.readouterr().err


def tiny() -> Any:
    return chain_of(seeded(TinyResNet), images(4), name="tiny")


def subject() -> Any:
    return Subject(tiny(), images(4), labels(4))


OTHERS: dict[str, tuple[Callable[[str], Any], Any]] = {
    "architecture": (models.architecture, ["resnet20", "preresnet110", "plain56", "vgg16_bn"]),
    "torchvision": (lambda n: models.architecture(f"torchvision:{n}"), ["resnet101"]),
    "option": (lambda n: models.architecture(f"resnet20:{n}=3"), ["width", "shortcut", "order"]),
    "weights": (lambda n: rp.prepare("resnet18", weights=f"pretrained:{n}"), ["IMAGENET1K_V1"]),
    "without weights": (lambda n: rp.prepare("resnet101"), ["resnet110"]),
    "zoo": (lambda n: zoo.find("resnet20", n), ["digits", "cifar10-jpeg"]),
    "data": (data.slug, ["digits", "cifar100", "fashion_mnist", "imagefolder"]),
    "normalize": (data.normalization, ["imagenet", "cifar10"]),
    "interpolation": (lambda n: data.preprocess(f"interpolation={n}", (8, 8)),
                      INTERPOLATIONS),
    "recipe": (recipe, RECIPES),
    "claim": (lambda n: ledger.chosen([n]), ["veit2016/delete-one"]),
    "published": (load, names()),
    "study": (row, [each.name for each in ROWS]),
    "argument": (lambda n: rp.lesion(tiny(), images(4), labels(4), **{n: 1}), ["counts", "draws"]),
    "edit": (lambda n: plan.plan(tiny(), n), plan.KINDS),
    "format": (formats, FORMATS),
    "preset": (lambda n: check_preset(n, 1, blocks=3), PRESETS),
    "loss": (lambda n: asked(tiny(), labels(4), loss=n), LOSSES),
    "metric": (lambda n: scores.metric_for(subject(), n), scores.NAMES),
    "control": (lambda n: control.ControlSettings(controls=(n,)), control.CONTROLS),
    "method": (lambda n: attribution.request(tiny(), methods=[n], permutations=1, seed=0),
               attribution.METHODS),
    "path method": (lambda n: rp.paths(tiny(), images(4), labels(4), method=n), paths.METHODS),
}  # fmt: skip
"""What takes a name that is no argparse choice, and names that it knows."""


@pytest.mark.parametrize("what", OTHERS)
def test_other_names(what: str) -> None:
    ask, known = OTHERS[what]
    for name in long_enough(known):
        with pytest.raises(ProbeError, match=rf"did you mean .*{name}.*\?"):
            ask(mistyped(name))


def test_what_is_near() -> None:
    known = ["resnet20", "resnet32", "resnet110", "plain20"]
    assert did_you_mean("ResNet20", known) == "; did you mean resnet20?"
    assert did_you_mean("resnet22", known) == "; did you mean resnet32 or resnet20?"
    assert did_you_mean("110", known) == "; did you mean resnet110?"  # a part of it
    assert did_you_mean("resnet1", known, form="--{}=").startswith("; did you mean --resnet110=")
    assert did_you_mean("11", known) == did_you_mean("transformer", known) == ""
    assert did_you_mean("", []) == ""
