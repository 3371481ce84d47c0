"""The bundle: what a training package opens without knowing this toolkit.

The format and its reader are a distribution of their own, `temporal_bundle` (its README.md says
what the files are). Here it is written, and opened as a network of a search space:

    programs    the torch.export programs of a network
    made_with   what its clips were made with, which whoever samples must use, too
    writing     a bundle written whole or not at all
    folder      Bundle: one on disk, opened
    network     NetworkBundle: the same of a task of one's own
    runnable    a network out of either, with its inputs
"""

from nas.bundle.folder import Bundle
from nas.bundle.network import NetworkBundle
from nas.bundle.programs import Programs, export_programs
from nas.bundle.writing import write_bundle

__all__ = ["Bundle", "NetworkBundle", "Programs", "export_programs", "write_bundle"]
