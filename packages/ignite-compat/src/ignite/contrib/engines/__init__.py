"""Engines and set-ups for common cases."""
