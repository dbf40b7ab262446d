"""Whether what somebody lacks of a string pays for the key that is made of it: the leftover hash lemma, as an account.

The bounds of `finite_key` promise it beforehand, whatever Eve has done. Here her knowledge is at hand, as it is to
the laboratory and to Eve herself, and the account is of one block.
"""

from math import log2


def min_entropy_to_spare_bits(
    min_entropy_bits: float, disclosed_bits: float, secret_bits: int, eps_sec: float
) -> float:
    """Eve's min-entropy over the reconciled key, less what was disclosed and the secret key: below 0 it does not pay.

    `disclosed_bits` are parities and tag, `eps_sec` (0..1/2) how far from uniform the key may be for her: that costs
    2 log2(1 / (2 eps_sec)) bits.

    Source: leftover hash lemma; Tomamichel, Schaffner, Smith, Renner, IEEE Trans. Inf. Theory 57, 5524 (2011).
    """
    return min_entropy_bits - disclosed_bits - secret_bits + 2 * log2(2 * eps_sec)


def min_entropy_suffices(
    min_entropy_bits: float, disclosed_bits: float, secret_bits: int, eps_sec: float
) -> bool:
    """Whether `min_entropy_to_spare_bits` is not below 0: the key is secret, as far as this account goes."""
    return min_entropy_to_spare_bits(min_entropy_bits, disclosed_bits, secret_bits, eps_sec) >= 0
