"""The benchmark: latency with an interval, the state of the machine beside it, and why INT8 did not pay."""
