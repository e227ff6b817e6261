"""One module a runtime, and the protocol they share."""
