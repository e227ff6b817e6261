"""Where downloaded files stay between runs."""

import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """Return edgeconv's cache folder, which may not exist yet.

    $EDGECONV_CACHE, or ``edgeconv`` below $XDG_CACHE_HOME (an absolute path, as its specification
    demands), below %LOCALAPPDATA% on Windows, or below ~/.cache.
    """
    own = os.environ.get("EDGECONV_CACHE", "")
    if own:
        return Path(own)
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "edgeconv"
