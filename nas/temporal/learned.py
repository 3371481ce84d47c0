"""What training left: a supernet, and the network of the winner."""

from dataclasses import dataclass

from supernet import Supernet, VideoUNet

INHERITED = "inherited from the supernet"


@dataclass(frozen=True)
class Learned:
    """What training left.

    Args:
        supernet: whose weights the networks were compared with; a twin's where there is one.
        network: the winner as it was trained on by itself, or as the supernet left it.
        trained: whether it was trained on.
    """

    supernet: Supernet
    network: VideoUNet | None = None
    trained: bool = False

    @property
    def winner(self) -> VideoUNet:
        """The winner's network; there is one."""
        assert self.network is not None
        return self.network
