"""Boards: what is copied to one, how it runs there, and how the figures come back."""
