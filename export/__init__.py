"""From a net to verified artifacts: one stage a file."""
