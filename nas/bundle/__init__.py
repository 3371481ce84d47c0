"""The bundle: what a training package opens without knowing this toolkit.

README.md, "The bundle", and schema.json say what one is; the folder's files are

    manifest         bundle.json and finetuned.json, held against their schemas and hashes
    program_archive  a .pt2 opened without running anything of whoever made it
    programs         the torch.export programs of a network
    writing          a bundle written whole or not at all
    folder           Bundle: one on disk, opened
"""

from nas.bundle.folder import Bundle
from nas.bundle.manifest import sha256
from nas.bundle.programs import Programs, export_programs
from nas.bundle.writing import write_bundle

__all__ = ["Bundle", "Programs", "export_programs", "sha256", "write_bundle"]
