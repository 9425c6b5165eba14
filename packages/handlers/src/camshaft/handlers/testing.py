"""Helpers for tests of save handlers: check that a store keeps the promises that a `Checkpoint` relies on."""

from camshaft.handlers.checkpoint._contract import Damage, MakeStore, check_store

__all__ = ["Damage", "MakeStore", "check_store"]
