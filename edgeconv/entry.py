"""Where the command line begins: a signal ends it in one sentence from here on, before the rest is imported."""

import signal

from edgeconv.signals import ASKED, end_early


def main() -> None:
    """Run the command that the words of this process ask for, and exit."""
    for number in ASKED:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and a shell's & leave them
            signal.signal(number, end_early)
    from edgeconv.cli import main as command

    command()
