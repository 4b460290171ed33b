"""Kernels that run on several ranks."""
