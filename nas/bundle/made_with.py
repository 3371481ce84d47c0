"""Provenance: weights are gone on with, and sampled, by what their clips were made with.

`temporal_bundle.made_with` says what is known of that, and how two are told apart; here what a
person names is held against it.
"""

from pathlib import Path

from nas.bundle.folder import Bundle, mendable
from search_spaces import InputError
from search_spaces.files.document import Json
from supernet import checkpoint
from supernet.autoencoders.contract import Autoencoder
from supernet.autoencoders.fingerprint import shown_blocks
from supernet.data.provenance import empty_states
from supernet.text.contract import TextEncoder
from supernet.text.fingerprint import sentence_states
from temporal_bundle.made_with import (
    ASKED_BY,
    AUTOENCODER,
    DIGITS,
    DISTILLED,
    ENCODES,
    MADE_WITH,
    NOTHING,
    TEXT_ENCODER,
    difference,
    made_with,
    other_autoencoder,
    other_picture,
    other_text_encoder,
)
from temporal_bundle.manifest import one_line


def checked(found: Json, where: str) -> Json:
    """What clips say of themselves, which may be what somebody wrote into their index."""
    with mendable():
        return made_with({MADE_WITH: found}, where)


def check_supernet(path: Path, data: Json, named: str) -> None:
    """Refuse to go on with a supernet on clips that were made with something else.

    Args:
        path: of the supernet.
        data: what the clips were made with.
        named: what the clips are called.

    Raises:
        InputError: what was something else.
    """
    with mendable():
        learned = made_with(checkpoint.read_notes(path), path)
    if (other := difference(learned, data)) is not None:
        raise InputError(
            f"{path}: learned from {other}; `data={named}` is another than it was trained on: give "
            "that, or train again"
        )


def check_autoencoder(bundle: Bundle, path: Path, found: Autoencoder) -> None:
    """Refuse a decoder of other latents than the network makes.

    Raises:
        InputError: it is one.
    """
    wanted = bundle.made_with.get(AUTOENCODER, {})
    own = {"scaling": found.scaling, "shift": found.shift, DISTILLED: found.distilled}
    was = f"the network's were encoded by {one_line(str(wanted.get('name')))[:60]!r}"
    if other_autoencoder(wanted, own):
        raise InputError(
            f"{path}: decodes latents of scaling {found.scaling:g} and shift {found.shift:g}, and "
            f"{was} with scaling {wanted.get('scaling')} and shift {wanted.get('shift')}; give "
            "that autoencoder's folder"
        )
    if ENCODES in wanted and other_picture(wanted, shown_blocks(found, wanted[ENCODES])):
        raise InputError(
            f"{path}: is another autoencoder, and {was} (the same latents are another picture); "
            "give that one, or one that was distilled from it"
        )


def check_text_encoder(bundle: Bundle, folder: Path, encoder: TextEncoder) -> None:
    """Refuse a text encoder that says something else of captions than the clips' own.

    Raises:
        InputError: it does, or there were no captions.
    """
    known = bundle.made_with
    if known.get(ASKED_BY) in {NOTHING, DIGITS}:
        how = "without captions" if known[ASKED_BY] == NOTHING else "digits by their names"
        raise InputError(f"{bundle.path}: learned {how}; leave `text_encoder=` out")
    own = {"empty": empty_states(encoder.encode([""])[0]), "sentence": sentence_states(encoder)}
    if other_text_encoder(known.get(TEXT_ENCODER, {}), own):
        raise InputError(
            f"{folder}: is another text encoder than the captions of the bundle's clips were "
            "encoded by (it says something else of the same caption); give that one"
        )
