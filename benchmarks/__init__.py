"""Benchmarks: ratios against a named peer, measured in the same run.

``uv run --group bench python -m benchmarks`` runs all of them.
"""
