"""What the clips that a network learned from were encoded with: whoever samples must use the same.

A decoder is known by how its latents are scaled, as another one of the same latents may serve (one
that was tuned on, or made small). A text encoder is known by what it says of the empty caption, as
the same weights in another precision are other bytes. Both are numbers of a bundle's manifest.
"""

from pathlib import Path

import torch
from torch import Tensor

from search_spaces import InputError
from search_spaces.files.document import Json
from supernet.autoencoders.contract import Autoencoder
from supernet.data.clips import ClipSource, autoencoder_of, empty_context

AUTOENCODER, TEXT_ENCODER = "autoencoder", "text_encoder"
CHANNELS = 8  # of a token that are kept
ALIKE = 0.02  # of a number, and beside it: more than a cast to float16 or bfloat16 changes


def made_with(source: ClipSource, context_shape: tuple[int, int]) -> Json:
    """What a bundle keeps of autoencoder and text encoder, where clips had some."""
    found: Json = {}
    if (autoencoder := autoencoder_of(source)) is not None:
        found[AUTOENCODER] = autoencoder
    empty_LC = empty_context(source, torch.zeros(1, *context_shape))
    if empty_LC.any():
        found[TEXT_ENCODER] = {"empty": _told(empty_LC)}
    return found


def check_autoencoder(manifest: Json, path: Path, found: Autoencoder) -> None:
    """Refuse a decoder of latents of another scale than the network makes.

    Raises:
        InputError: it is one.
    """
    wanted = _kept(manifest, AUTOENCODER)
    scale = {"scaling": found.scaling, "shift": found.shift}
    if wanted is None or not wanted.keys() >= scale.keys():
        return
    if any(abs(wanted[name] - value) > 1e-6 for name, value in scale.items()):
        raise InputError(
            f"{path}: decodes latents of scaling {found.scaling:g} and shift {found.shift:g}, and "
            f"the network's were encoded by {wanted.get('name')!r} with scaling "
            f"{wanted['scaling']:g} and shift {wanted['shift']:g}; give that autoencoder's folder"
        )


def check_text_encoder(manifest: Json, folder: Path, empty_LC: Tensor) -> None:
    """Refuse a text encoder that says something else of the empty caption.

    Args:
        manifest: of the bundle.
        folder: the text encoder's.
        empty_LC: its states of the empty caption.

    Raises:
        InputError: it does.
    """
    wanted = _kept(manifest, TEXT_ENCODER)
    if wanted is None:
        return
    told, kept = torch.tensor(_told(empty_LC)), torch.tensor(wanted["empty"])
    if told.shape != kept.shape or ((told - kept).abs() > ALIKE * (1 + kept.abs())).any():
        raise InputError(
            f"{folder}: is another text encoder than the captions of the bundle's clips were "
            "encoded by (the empty caption has other states); give that one"
        )


def _kept(manifest: Json, name: str) -> Json | None:
    found = manifest["study"].get("made_with", {}).get(name)
    return found if isinstance(found, dict) else None


def _told(states_LC: Tensor) -> list[list[float]]:
    """The first numbers of the first two tokens and of the last one."""
    some = states_LC[[0, min(1, len(states_LC) - 1), -1], :CHANNELS].float()
    return [[round(value, 4) for value in row] for row in some.tolist()]
