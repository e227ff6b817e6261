"""Core ML: a prepared graph, float or with its recipe, as a deterministic .mlpackage.

The operator table (``table.py`` and its families) knows MIL's vocabulary, ``integers.py`` the
recipe in Core ML's form, ``convert.py`` is the only module that calls coremltools.
"""
