"""The seeded market simulator: latent truth, vendor-shaped rows, loading. Imports no emulator."""

from sandbox.market.market import Market, simulate
from sandbox.market.mint import Block
from sandbox.market.model import Options
from sandbox.market.truth import TruePerson, TrueRecord, Truth

__all__ = ["Block", "Market", "Options", "TruePerson", "TrueRecord", "Truth", "simulate"]
