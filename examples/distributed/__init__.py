"""Kernels over ranks that are processes."""
