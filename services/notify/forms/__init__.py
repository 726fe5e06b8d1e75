"""Forms to authorities, filled: one document, as JSON and as PDF (§4)."""
