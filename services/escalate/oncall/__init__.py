"""Who is on call, who is paged for what, and when the next one is (domain reference §6)."""
