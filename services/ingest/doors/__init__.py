"""One module a wire protocol: parse, call the core, render."""
