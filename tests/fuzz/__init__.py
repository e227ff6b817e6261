"""Mutated inputs for every format and command: seeded, a process a case, one JSON line a result."""
