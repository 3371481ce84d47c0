"""A closer look: the best few networks are evaluated at the fidelity of finalists."""

import json
from dataclasses import replace

from nas.evaluators.serial import evaluated
from nas.problem.problem import Problem
from nas.progress import Progress
from nas.run.results import Found, in_order, quality_place
from nas.run.run_folder import RunFolder
from nas.task.evaluation import Evaluation
from search_spaces.files import document

FILE = "finalists.json"
FORMAT, MAJOR = "temporal-nas/finalists", 1


def closer(
    networks: list[Found],
    evaluation: Evaluation,
    problem: Problem,
    folder: RunFolder,
    progress: Progress,
) -> Found:
    """The best of some networks at a higher fidelity; each finished look survives a kill.

    Where none of them can be evaluated so, the first is the best.
    """
    asked = ", ".join(f"{name}={value}" for name, value in evaluation.fidelity.items())
    title = f"finalists: {len(networks)} networks at {asked}"
    looks = _Looks(folder, json.dumps(dict(evaluation.fidelity)))
    seen: list[tuple[Found, Found]] = []
    failed = ""
    shown = progress.stage(title, len(networks))
    with folder.timed("finalists", again=True), shown as advance:
        for done, network in enumerate(networks, 1):
            values = looks.known.get(network.architecture.digest)
            if values is None:
                outcome = evaluated(evaluation, 0, network.architecture)
                values, failed = list(outcome.values), outcome.error or failed
                if outcome.error is None:
                    looks.add(network.architecture.digest, values)
            if values and values[0] == values[0]:
                seen.append((network, _again(network, values, problem)))
            advance(done)
    if not seen:
        progress.say(
            f"finalists: none could be evaluated at {asked} ({failed}), so the winner is the one "
            "that the search saw best"
        )
        return networks[0]
    seen.sort(key=lambda pair: in_order(pair[1]))
    folder.results["finalists"] = [
        {
            "trial": network.trial,
            "origin": network.origin,
            "searched": list(network.values),
            "seen": list(again.values),
        }
        for network, again in seen
    ]
    return seen[0][1]


def _again(network: Found, values: list[float], problem: Problem) -> Found:
    """A network with what a closer look found."""
    every = tuple(problem.values(network.architecture, values))
    place = quality_place(problem)
    return replace(network, values=every, loss=float(problem.signs[place]) * every[place])


class _Looks:
    """What was seen so far, in the run folder."""

    def __init__(self, folder: RunFolder, fidelity: str) -> None:
        self._file = folder.file(FILE)
        self._fidelity = fidelity
        self.known: dict[str, list[float]] = {}
        if self._file.exists():
            held = document.read(self._file, FORMAT, MAJOR)
            if held.get("fidelity") == fidelity:
                self.known = dict(held["found"])

    def add(self, digest: str, values: list[float]) -> None:
        """Keep a look."""
        self.known[digest] = values
        content = {"format": FORMAT, "version": f"{MAJOR}.0", "fidelity": self._fidelity}
        document.write_atomically(self._file, document.dumps({**content, "found": self.known}))
