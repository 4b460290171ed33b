"""Rewrites: from a module to one that differs in one thing, a file for each.

:func:`nkipy.hlo.rewrites.base.rewrite` is what they are made with: it copies a module
and has a rule replace instructions. The original is not changed, but by
:func:`~nkipy.hlo.rewrites.dead_code.eliminate_dead_code`, which is for who has just
built it. Which rewrites a module needs is for whoever executes it to know.
"""
