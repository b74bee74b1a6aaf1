"""SOQL: text to records, with the vendor's own error bodies (reference/salesforce.md §1.1, §1.4)."""

from sandbox.salesforce.soql.engine import run_query
from sandbox.salesforce.soql.filters import lengthen_id
from sandbox.salesforce.soql.parser import parse
from sandbox.salesforce.soql.types import (
    FIELD_TYPES,
    ChildInfo,
    FieldInfo,
    QueryResult,
    SchemaView,
    SObjectInfo,
    SoqlError,
)
from sandbox.salesforce.soql.values import format_value

__all__ = [
    "FIELD_TYPES",
    "ChildInfo",
    "FieldInfo",
    "QueryResult",
    "SObjectInfo",
    "SchemaView",
    "SoqlError",
    "format_value",
    "lengthen_id",
    "parse",
    "run_query",
]
