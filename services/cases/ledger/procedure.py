"""What lies in every bundle for whoever opens it years later."""

__all__ = ["PROCEDURE"]

PROCEDURE = """\
AN INCIDENT, WITH PROOFS

This file checks itself. Nothing of it needs Tocsin, a database or a network.

  1. Get Python 3.11 or later and `pip install cryptography` (for Ed25519; nothing else is used).
  2. Take verify.py out of this zip file. Read it: it is one file and says what it does. Whoever
     does not trust the copy in here takes the one in Tocsin's sources, or writes one (see below).
  3. python verify.py bundle.zip --key 'ORIGIN+ID+KEY'
     The key is the one that the operator of the log has published. Without --key the one in
     key.txt is taken: then compare its id yourself.

  Exit code 0: intact. 2: altered, with the first thing that is wrong. 3: something is missing.

WHAT IS IN HERE

  events.jsonl      every event of the incident, then of each item of evidence; one a line, in the
                    canonical JSON of RFC 8785: its bytes are what was hashed
  proofs.json       for each line the path to the root (RFC 6962, section 2.1.1; base64)
  openings.json     for each line the keys of its sealed parts, or null where they were erased
  checkpoint.txt    the signed root of the log (a C2SP tlog-checkpoint in a signed note)
  statement.txt     signed: how many events each stream has, and size and SHA-256 of every file
  key.txt           the public key, as name+id+base64(0x01 and 32 bytes of Ed25519)
  manifest.json     every item of evidence with digest, size and chain of custody
  custody/          a custody report for each item
  certificates/     a draft for the certification of each item by a qualified person
  evidence/         the bytes, if they were asked for: one file an item, named by its id

BY HAND

  signature   Ed25519 over the text of the note up to and with the line break before the empty
              line; the base64 after the name is 4 bytes of key id, then the signature. The id is
              the first 4 bytes of SHA-256(name, LF, 0x01, public key).
  leaf        SHA-256(0x00, line without its line break)
  node        SHA-256(0x01, left, right)
  root        from a leaf upwards by its path, as RFC 9162 section 2.1.3.2 says; number and size
              are the event's position less 1, and the size in the checkpoint
  sealed      in the stored event text about persons is [sealed], and data.sealed has the parts:
              base64 of 12 bytes of nonce and AES-256-GCM, opened with the key in openings.json;
              authenticated with it are the lines tocsin/sealed/1, stream_id, event_id, type, and
              the box's keys with spaces between. verify.py BUNDLE [--key KEY] --text shows them
  evidence    sha256sum of a file in evidence/ is the sha256 in its EvidenceCollected event
"""
