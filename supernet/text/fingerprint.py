"""A fingerprint of a text encoder: its states of a fixed sentence, token by token.

Numbers in place of a hash: the same weights in another precision are other bytes.
"""

from supernet.text.contract import TextEncoder

# Words, digits and signs, a few of each at the beginning: a short encoder sees no more.
SENTENCE = "7 red dogs, 2 foxes: the cat's 0, 1, 3-4, 5.6 & 8/9 jump over (some) lazy brown one!"
TOKENS, CHANNELS = 40, 2  # of the states that are kept
DIGITS = 4  # after the point


def sentence_states(encoder: TextEncoder) -> list[list[float]]:
    """The first channels of each token's state."""
    states_LC = encoder.encode([SENTENCE])[0][:TOKENS, :CHANNELS]
    return [[round(value, DIGITS) for value in row] for row in states_LC.tolist()]
