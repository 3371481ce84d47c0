"""The bundle format of temporal-nas, and its reader: torch and safetensors are all that it needs.

A bundle is a folder that a search leaves and a training package tunes. README.md says what its
files are; bundle.schema.json and finetuned.schema.json fix them.

    manifest         bundle.json and finetuned.json: format, version, hashes of files
    weights          parameters out of safetensors files
    program_archive  a .pt2 opened without running anything of whoever made it
    bundle           Bundle: one on disk, opened
    made_with        what clips were made with, and how two such blocks differ
    network          NetworkBundle: the same of any network, of somebody's own task
    testing          a small bundle for tests of whatever reads bundles
"""

from temporal_bundle.bundle import Bundle, ChosenWeights, Which, open_bundle
from temporal_bundle.errors import BundleError
from temporal_bundle.manifest import (
    FINETUNED,
    FINETUNED_FORMAT,
    FORMAT,
    LFS_WORDS,
    MAJOR,
    MANIFEST,
    NETWORK_FORMAT,
    TUNED_WEIGHTS,
    VERSION,
    WEIGHTS,
    is_lfs_pointer,
    read_json,
    schema,
    sha256,
)
from temporal_bundle.network import NetworkBundle, NetworkInput, open_network
from temporal_bundle.program_archive import HostileProgramError
from temporal_bundle.weights import Weights, read_weights

__all__ = [
    "FINETUNED",
    "FINETUNED_FORMAT",
    "FORMAT",
    "LFS_WORDS",
    "MAJOR",
    "MANIFEST",
    "NETWORK_FORMAT",
    "TUNED_WEIGHTS",
    "VERSION",
    "WEIGHTS",
    "Bundle",
    "BundleError",
    "ChosenWeights",
    "HostileProgramError",
    "NetworkBundle",
    "NetworkInput",
    "Weights",
    "Which",
    "is_lfs_pointer",
    "open_bundle",
    "open_network",
    "read_json",
    "read_weights",
    "schema",
    "sha256",
]
