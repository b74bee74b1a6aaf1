"""The only code that speaks to a CRM. One folder per vendor; `open_connector` finds it by name.

What a connector is, is said in `connectors.protocol`; how a call is made, in `connectors.calls`; what a CRM's properties mean,
in `connectors.mapping`.
"""

from connectors.fields import OUTPUT_FIELDS, TASK_KEY, OutputField
from connectors.protocol import (
    CallCounts,
    Capabilities,
    Connector,
    Cursor,
    Diagnosis,
    FieldWrite,
    Finding,
    FoundTask,
    Page,
    SetupResult,
    SetupStep,
    Signal,
    TaskWrite,
    Write,
    WriteResult,
)
from connectors.registry import names, open_connector

__all__ = [
    "OUTPUT_FIELDS",
    "TASK_KEY",
    "CallCounts",
    "Capabilities",
    "Connector",
    "Cursor",
    "Diagnosis",
    "FieldWrite",
    "Finding",
    "FoundTask",
    "OutputField",
    "Page",
    "SetupResult",
    "SetupStep",
    "Signal",
    "TaskWrite",
    "Write",
    "WriteResult",
    "names",
    "open_connector",
]
