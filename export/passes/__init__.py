"""Exact graph rewrites, one a file: each takes a Graph and says whether it changed it."""
