"""Loads and runs compiled modules, on a NeuronCore or on the CPU. Knows no tracer."""
