from tests.sync.databases import database, postgresql

__all__ = ["database", "postgresql"]  # fixtures
