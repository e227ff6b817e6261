"""Questions about a model that a child process answers, because native code may crash on it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from edgeconv.errors import EdgeconvError
from edgeconv.runtimes.probe import child_failure


def ask_child(question: str, arguments: dict[str, Any], timeout_s: float = 600.0) -> dict[str, Any]:
    """Answer ``question`` (a key of ``_answer``) in a child process.

    Raises EdgeconvError with the child's sentence, the signal that ended it, or the time it took.
    """
    request = json.dumps({"question": question, "arguments": arguments})
    what = f"{question} of {arguments.get('path', 'the machine')}"
    try:
        child = subprocess.run(
            [sys.executable, "-m", "edgeconv.bench.isolated", request],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise EdgeconvError(f"{what} took more than {timeout_s:g} s") from error
    if child.returncode != 0:
        raise EdgeconvError(child_failure(what, child.returncode, child.stderr))
    answer: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return answer


def _answer(question: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if question == "facts":
        from edgeconv.bench.facts import examine

        return examine(Path(arguments["path"]), arguments["runtime"]).to_json()
    if question == "profile":
        from edgeconv.bench.profile import profile_here

        answer: dict[str, Any] = profile_here(arguments)
        return answer
    if question == "arena":
        from edgeconv.bench.arena import arena_here

        return arena_here(arguments)
    raise EdgeconvError(f"nothing here answers {question}")


def main(request: str) -> int:
    """Entry point of the child: answer on standard output, everything else on standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asked = json.loads(request)
    try:
        answer = _answer(asked["question"], asked["arguments"])
    except EdgeconvError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    with answers:
        answers.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
