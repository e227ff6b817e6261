"""The errors a user can cause. They print as one sentence; anything else is a bug and keeps its traceback."""


class EdgeconvError(Exception):
    """Something the user can fix: the text names the file, tensor or option and what to do.

    Exit code 1.
    """

    exit_code = 1


class UsageError(EdgeconvError):
    """An argument that cannot be right whatever the files hold. Exit code 2."""

    exit_code = 2


class UnsupportedOpError(EdgeconvError):
    """A target cannot express an operator: names op, node and the nearest supported form."""


class BudgetMissedError(EdgeconvError):
    """The work was done and the result is outside the budget the user named. Exit code 3."""

    exit_code = 3
