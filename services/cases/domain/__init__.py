"""The functional core of cases: commands in, events or a refusal out; standard library only."""
