"""Hand over the proxy network of a search's winner: its twin, narrow and with trained weights."""

from pathlib import Path
from typing import cast

from nas import bundle
from nas.pipeline.handover import settings_of
from nas.temporal.learned import INHERITED
from nas.temporal.settings import Settings
from search_spaces import Architecture, InputError
from search_spaces.shipped.loading import load_temporal, load_twin
from supernet import load_supernet
from supernet.checkpoint import read_notes
from temporal_bundle.made_with import MADE_WITH


def hand_over_twin(run: Path, out: Path) -> Architecture:
    """Write a bundle of the network that stood for the winner while its quality was searched.

    Args:
        run: the folder of a finished search that had a twin; it stays as it is.
        out: the folder to write.

    Returns:
        What the network is, in the twin's space.

    Raises:
        InputError: no finished search of temporal blocks, or one without a twin.
    """
    settings = cast("Settings", settings_of(run, Settings))
    if settings.learned_space is None:
        raise InputError(f"{run}: had no twin: the network that learned is in {run / 'bundle'}")
    wide = load_temporal(settings.space)
    twin = load_twin(wide, settings.learned_space)
    won = bundle.Bundle.load(run / "bundle")
    architecture = twin.architecture(dict(won.architecture(wide)))
    trained = Path(settings.supernet) if settings.supernet else run / "supernet.safetensors"
    network = load_supernet(trained, twin).extract(architecture).eval()
    programs = bundle.export_programs(network, twin, architecture)
    weights = f"{INHERITED}; the narrow twin of {wide.name}'s winner"
    study = {**won.manifest["study"], "space": twin.to_json(), "weights": weights}
    if learned := read_notes(trained).get(MADE_WITH):
        study[MADE_WITH] = learned
    preview = (won.path / "preview.gif").read_bytes()  # which the twin made
    report = (won.path / "report.html").read_text(encoding="utf-8")
    # No latency: what was predicted is of the wide network.
    bundle.write_bundle(out, network, twin, architecture, programs, {}, study, preview, report)
    return architecture
