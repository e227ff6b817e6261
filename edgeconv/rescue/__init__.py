"""A verdict was missed: try what may mend it, and say which is worth it."""
