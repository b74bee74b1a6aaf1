"""HubSpot's native Salesforce integration between the two emulators: links, mirrored fields, copied activities."""

from sandbox.native.control import WithNative
from sandbox.native.options import DEFAULT_MAPPING, FieldMapping, NativeOptions
from sandbox.native.sync import NativeSync

__all__ = ["DEFAULT_MAPPING", "FieldMapping", "NativeOptions", "NativeSync", "WithNative"]
