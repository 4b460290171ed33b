"""Rewrites: from a module to one that computes the same by other instructions."""
