"""The published networks by name, a file for each kind."""

from published_networks.blocks import BLOCKS
from published_networks.building import Build
from published_networks.diffusion import DIFFUSION
from published_networks.iformer import IFORMERS
from published_networks.images import IMAGES
from published_networks.sound import SOUNDS
from published_networks.text import TEXTS
from published_networks.yolo26 import YOLOS

NETWORKS: dict[str, Build] = {
    **IMAGES,
    **IFORMERS,
    **YOLOS,
    **TEXTS,
    **SOUNDS,
    **DIFFUSION,
    **BLOCKS,
}
