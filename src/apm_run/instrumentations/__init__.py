"""One file per library: facts, no machinery."""
