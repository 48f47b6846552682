"""What every command of a study does around it: refuse, announce, run, save, say where."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli.progress import progress_bar
from resnet_probe.cli.run_folder import default_folder, facts
from resnet_probe.errors import ProbeError
from resnet_probe.loading import Prepared

if TYPE_CHECKING:
    from resnet_probe.results import Result


@dataclass(frozen=True)
class Job:
    """One study of one network, or of several on the same images."""

    name: str
    networks: tuple[Prepared, ...]
    folder: Path
    identity: dict[str, Any] = field(repr=False)

    @classmethod
    def of(
        cls, name: str, networks: Sequence[Prepared], options: Namespace, settings: dict[str, Any]
    ) -> Job:
        """`settings` are what determines the table beside the networks and their images.

        Raises `ProbeError` if the folder holds something else, or for images that differ.
        """
        from resnet_probe.results import refuse_other

        identity = {"study": name, **_together(networks), **settings}
        job = cls(name, tuple(networks), _folder(name, networks, options), identity)
        refuse_other(job.folder, identity)
        return job

    def run(
        self,
        study: Callable[..., Result],
        summarize: Callable[[Result], str],
        *,
        journaled: bool = False,
    ) -> int:
        """Runs `study(progress=…)`, with a `journal=` too where it takes one, and saves."""
        from resnet_probe.cli.lesion import announce
        from resnet_probe.results.journal import Journal

        for network in self.networks:
            announce(network)
        journal = Journal(self.folder, self.identity) if journaled else None
        kept = {"journal": journal} if journal else {}
        try:
            with progress_bar(self.name) as progress:
                result = study(progress=progress, **kept)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"nothing was written to {self.folder}; {_how_on(journal)}"
            ) from None
        record = {**facts(self.networks[0]), **result.provenance, "identity": self.identity}
        self._save(replace(result, provenance=record), summarize)
        if journal:
            journal.discard()
        return 0

    def _save(self, result: Result, summarize: Callable[[Result], str]) -> None:
        from resnet_probe import figures

        drawn = figures.draw_all(result)
        saved = result.save(self.folder, figures=drawn)
        print(summarize(result))
        names = (f"{stem}.{kind}" for stem in drawn for kind in ("png", "svg"))
        print(f"\n{saved}: table.csv, provenance.json, {', '.join(names)}")


def _together(networks: Sequence[Prepared]) -> dict[str, Any]:
    """The identity of one network, or of several with what differs between them listed."""
    identities = [network.identity for network in networks]
    if len({identity["data_sha256"] for identity in identities}) > 1:
        raise ProbeError("networks that are measured together need the same images: give --data")
    return {key: _one([identity[key] for identity in identities]) for key in identities[0]}


def _one(values: list[Any]) -> Any:
    same = all(value == values[0] for value in values)
    return values[0] if same else ", ".join(map(str, values))


def _folder(name: str, networks: Sequence[Prepared], options: Namespace) -> Path:
    if len(networks) == 1 or options.out is not None:
        return default_folder(name, networks[0], options)
    each = [default_folder("", network, options).name for network in networks]
    data = each[0].removeprefix(f"-{_slug(networks[0])}-")
    return Path("runs") / f"{name}-{'+'.join(_slug(network) for network in networks)}-{data}"


def _slug(network: Prepared) -> str:
    return network.network.arch.spec.translate(str.maketrans(":,=", "---"))


def _how_on(journal: Any) -> str:
    if journal is None:
        return "run it again"
    return f"what was finished lies in {journal.place}, and the same command goes on from there"
