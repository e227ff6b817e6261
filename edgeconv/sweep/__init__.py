"""The sweep: every form of every net that was asked for, verified, evaluated, timed, and what to ship."""
