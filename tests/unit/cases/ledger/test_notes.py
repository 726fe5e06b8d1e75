"""Signed notes: the vector of the Go implementation, and everything that is none."""

from pathlib import Path

import pytest

from services.cases.ledger.keys import load_signer
from services.cases.ledger.verifier import (
    Checkpoint,
    TamperedError,
    VerifyKey,
    open_note,
    parse_checkpoint,
)
from shared.settings import SettingsError
from tests.support.ledger import key_path, new_signer

pytestmark = pytest.mark.unit

# golang.org/x/mod/sumdb/note, the package's example.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NOTE = (
    TEXT + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfq"
    "dngotpRZb6KE6RyyBwJnAM=\n"
)


def test_the_example_of_the_go_package() -> None:
    key = VerifyKey.parse(PETER)
    assert str(key) == PETER
    assert open_note(NOTE, key) == TEXT


def test_the_same_text_is_the_same_note(tmp_path: Path) -> None:
    signer = new_signer(tmp_path)
    text = Checkpoint(signer.origin, 7, bytes(32), 3).text()
    note = signer.sign(text)
    assert note == signer.sign(text)
    assert parse_checkpoint(open_note(note, signer.public)).previous == 3
    assert load_signer(signer.origin, tmp_path / "log.key").sign(text) == note


@pytest.mark.parametrize(
    "broken",
    [
        "",
        TEXT,
        TEXT + "\n",
        NOTE[:-1],
        NOTE.replace("think", "thank"),
        NOTE.replace("x08go", "x08gp"),
        NOTE.replace("— Peter", "- Peter"),
        NOTE.replace("— PeterNeumann", "— Peter"),
        NOTE + "\n",
        NOTE + "— \n",
    ],
)
def test_what_is_no_note_of_the_key(broken: str) -> None:
    with pytest.raises(TamperedError):
        open_note(broken, VerifyKey.parse(PETER))


@pytest.mark.parametrize(
    "text",
    ["", "o\n1\n", "o\nx\nAA==\nprevious 0\n", "o\n1\nAA==\nprevious 0\n",
     f"o\n01\n{'A' * 43}=\nprevious 0\n", f"o\n1\n{'A' * 43}=\nprevious 0\nmore\n"],
)  # fmt: skip
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(TamperedError):
        parse_checkpoint(text)


@pytest.mark.parametrize("text", ["", "a+b", PETER[:-4], PETER.replace("c74f", "c74e")])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        VerifyKey.parse(text)


def test_a_key_file_has_to_hold_an_ed25519_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load_signer("o", tmp_path / "none")
    path = key_path(tmp_path)
    path.write_text("nonsense")
    with pytest.raises(SettingsError, match="no private key"):
        load_signer("o", path)
