"""What a child process starts with: this very package, wherever it lies, and isolate.py's other side.

``python -P .../edgeconv/isolated.py``: no folder is put on the path, neither the current one nor this.
"""

import importlib.util
import sys
from pathlib import Path

if __name__ == "__main__":
    found = importlib.util.spec_from_file_location(
        "edgeconv", Path(__file__).with_name("__init__.py")
    )
    if found is None or found.loader is None:
        sys.exit("Error: this copy of edgeconv has no __init__.py")
    package = sys.modules["edgeconv"] = importlib.util.module_from_spec(found)
    found.loader.exec_module(package)
    from edgeconv.isolate import main

    sys.exit(main())
