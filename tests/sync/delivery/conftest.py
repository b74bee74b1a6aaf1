"""Fixtures of the delivery tests."""

from tests.sync.delivery.rig import crms, late_commits

__all__ = ["crms", "late_commits"]
