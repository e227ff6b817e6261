"""The weights and pictures that ``edgeconv demo`` runs on: ``weights/`` and ``pictures/`` beside this file.

edgeconv finds them by itself; nothing here is called.
"""
