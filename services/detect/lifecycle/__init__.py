"""Rules as they come and go (R14): proposed, back-tested, approved, active, tuned, retired."""
