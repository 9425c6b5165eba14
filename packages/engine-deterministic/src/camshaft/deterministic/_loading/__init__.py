"""Loaders: which samples a batch has, and how each is fetched under its own seed."""
