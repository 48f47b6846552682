"""Opens up trained residual networks and measures how they work.

The public names are loaded when they are first used, so that `import resnet_probe` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_probe.chain import ResidualBlock, ResidualChain
    from resnet_probe.claims import judge
    from resnet_probe.discover import chain_of, layers_of
    from resnet_probe.edits import Edit
    from resnet_probe.engine.edited import edited
    from resnet_probe.engine.recalibrate import recalibrated
    from resnet_probe.engine.sweep import Sweep
    from resnet_probe.errors import ProbeError
    from resnet_probe.explorer import Explorer, explore
    from resnet_probe.figures import draw
    from resnet_probe.loading import prepare
    from resnet_probe.loading.trained import trained
    from resnet_probe.loading.untrained import untrained
    from resnet_probe.results import Result, load
    from resnet_probe.studies.agreement import agreement
    from resnet_probe.studies.append import append
    from resnet_probe.studies.attribution import attribute
    from resnet_probe.studies.control import control
    from resnet_probe.studies.flow import flow
    from resnet_probe.studies.gates import gates
    from resnet_probe.studies.greedy import greedy
    from resnet_probe.studies.influence import influence
    from resnet_probe.studies.interactions import interactions
    from resnet_probe.studies.lens import lens
    from resnet_probe.studies.lesion import lesion
    from resnet_probe.studies.paths import path_gradients, paths
    from resnet_probe.studies.responses import responses

__version__ = "0.1.0"

_HOME = {
    "Edit": "edits",
    "Explorer": "explorer",
    "ProbeError": "errors",
    "ResidualBlock": "chain",
    "ResidualChain": "chain",
    "Result": "results",
    "Sweep": "engine.sweep",
    "agreement": "studies.agreement",
    "append": "studies.append",
    "attribute": "studies.attribution",
    "chain_of": "discover",
    "control": "studies.control",
    "draw": "figures",
    "edited": "engine.edited",
    "explore": "explorer",
    "flow": "studies.flow",
    "gates": "studies.gates",
    "greedy": "studies.greedy",
    "influence": "studies.influence",
    "interactions": "studies.interactions",
    "judge": "claims",
    "layers_of": "discover",
    "lens": "studies.lens",
    "lesion": "studies.lesion",
    "load": "results",
    "path_gradients": "studies.paths",
    "paths": "studies.paths",
    "prepare": "loading",
    "recalibrated": "engine.recalibrate",
    "responses": "studies.responses",
    "trained": "loading.trained",
    "untrained": "loading.untrained",
}

__all__ = [
    "Edit",
    "Explorer",
    "ProbeError",
    "ResidualBlock",
    "ResidualChain",
    "Result",
    "Sweep",
    "agreement",
    "append",
    "attribute",
    "chain_of",
    "control",
    "draw",
    "edited",
    "explore",
    "flow",
    "gates",
    "greedy",
    "influence",
    "interactions",
    "judge",
    "layers_of",
    "lens",
    "lesion",
    "load",
    "path_gradients",
    "paths",
    "prepare",
    "recalibrated",
    "responses",
    "trained",
    "untrained",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        from resnet_probe.errors import did_you_mean

        hint = did_you_mean(name, _HOME)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
    found = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found  # from now on an attribute like any other
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
