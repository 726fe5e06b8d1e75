"""A log whose key was handed over: which key has to have signed what."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.cases.ledger.keys import Signer
from services.cases.ledger.verifier import Checkpoint, Handover, KeyRing, TamperedError, ring_of

SIGNERS = [Signer("x/log", Ed25519PrivateKey.generate()) for _ in range(4)]
FIRST, SECOND, THIRD, STRANGE = SIGNERS


def handover(old: Signer, new: Signer, size: int) -> str:
    text = Handover("x/log", size, old.public, new.public).text()
    return old.sign(text) + new.signature(text)


def checkpoint(signer: Signer, size: int) -> str:
    return signer.sign(Checkpoint("x/log", size, bytes(32), 0).text())


CHAIN = [handover(FIRST, SECOND, 10), handover(SECOND, THIRD, 20)]


@pytest.mark.parametrize("known", [FIRST, SECOND, THIRD])
def test_each_size_has_its_key(known: Signer) -> None:
    ring = ring_of(known.public, CHAIN)
    for size, right in ((1, FIRST), (10, FIRST), (11, SECOND), (20, SECOND), (21, THIRD)):
        for signer in SIGNERS:
            if signer is right:
                assert ring.open_checkpoint(checkpoint(signer, size)).size == size
            else:
                with pytest.raises(TamperedError, match="has not signed"):
                    ring.open_checkpoint(checkpoint(signer, size))


def test_a_key_that_signed_nothing_is_passed_over() -> None:
    ring = ring_of(THIRD.public, [handover(FIRST, SECOND, 10), handover(SECOND, THIRD, 10)])
    assert ring.open_checkpoint(checkpoint(FIRST, 10)).size == 10
    assert ring.open_checkpoint(checkpoint(THIRD, 11)).size == 11


def test_without_a_handover_there_is_the_one_key() -> None:
    assert ring_of(FIRST.public, []) == KeyRing((FIRST.public,))


@pytest.mark.parametrize(
    "notes",
    [
        [handover(FIRST, STRANGE, 10)],  # the known key is not in it
        [CHAIN[1], CHAIN[0]],
        [CHAIN[0], handover(SECOND, THIRD, 9)],  # backwards
        [CHAIN[0], handover(FIRST, THIRD, 20)],  # by whom had handed it over
        [FIRST.sign(Handover("x/log", 10, FIRST.public, SECOND.public).text())],  # the new one not
        [SECOND.sign(Handover("x/log", 10, FIRST.public, SECOND.public).text())],  # the old one not
        [handover(FIRST, SECOND, 10).replace("until 10", "until 99")],
        [handover(FIRST, SECOND, 10).replace("until 10", "until 010")],
        [checkpoint(FIRST, 10)],
        ["rubbish"],
    ],
)
def test_what_is_no_chain_is_tampered_with(notes: list[str]) -> None:
    with pytest.raises(TamperedError):
        ring_of(SECOND.public, notes)
