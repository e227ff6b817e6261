"""Run .tflite files in a process of its own, so that a kernel that aborts takes no test runner along.

Reads one JSON request a line ({model, feeds, out, resolver}: three paths and auto, builtin or ref) and
answers each with one ({delegates, ops} or {error}). It needs numpy
and either ai-edge-litert or tflite-runtime, nothing else: it also runs in a second environment.
"""

import json
import sys

import numpy as np

try:
    from ai_edge_litert import interpreter as tflite
except ImportError:
    from tflite_runtime import interpreter as tflite

RESOLVERS = {
    "auto": tflite.OpResolverType.AUTO,
    "builtin": tflite.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "ref": tflite.OpResolverType.BUILTIN_REF,
}


def run(request: dict[str, str]) -> dict[str, object]:
    model = tflite.Interpreter(
        model_path=request["model"],
        num_threads=1,
        experimental_op_resolver_type=RESOLVERS[request["resolver"]],
    )
    model.allocate_tensors()
    with np.load(request["feeds"]) as feeds:
        for detail in model.get_input_details():
            model.set_tensor(detail["index"], feeds[detail["name"]])
    model.invoke()
    details = model.get_output_details()
    np.savez(request["out"], **{d["name"]: model.get_tensor(d["index"]) for d in details})
    ops = model._get_ops_details()
    return {
        "delegates": sum(op["op_name"] == "DELEGATE" for op in ops),
        "ops": len(ops),
    }


if __name__ == "__main__":
    for line in sys.stdin:
        try:
            answer = run(json.loads(line))
        except (RuntimeError, ValueError, KeyError, SystemError) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)
