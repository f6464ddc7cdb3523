"""Captures in whatever layout: one module or package for each, found by `layouts`."""
