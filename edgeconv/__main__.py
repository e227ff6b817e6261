"""``python -m edgeconv``."""

from edgeconv.entry import main

main()
