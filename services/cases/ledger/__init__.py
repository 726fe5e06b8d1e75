"""The log as a Merkle tree: anyone can detect its alteration (ADR 0009)."""
