"""Calibration and test pictures, as package data (README.md says where they come from)."""
