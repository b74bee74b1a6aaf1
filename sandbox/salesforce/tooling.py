"""The Tooling API's CustomField: rows like any other, for who may customize the application."""

import json
from typing import Any

from sandbox.salesforce.call import Call
from sandbox.salesforce.customize import TABLE, change_field, create_field, remove_field
from sandbox.salesforce.errors import ApiError, record_missing
from sandbox.salesforce.ids import long_id
from sandbox.salesforce.org import Org
from sandbox.salesforce.soql import FieldInfo, SObjectInfo, SoqlError, run_query
from sandbox.salesforce.values import to_text
from sandbox.server import Response, empty, reply

_TEXT = [
    "DeveloperName",
    "TableEnumOrId",
    "EntityDefinitionId",
    "NamespacePrefix",
    "ManageableState",
    "FullName",
    "InlineHelpText",
    "Description",
]


class _ToolingSchema:
    """What `tooling/query` can ask."""

    def __init__(self) -> None:
        fields = [FieldInfo("Id", "id"), *(FieldInfo(name, "string", length=255) for name in _TEXT)]
        fields += [FieldInfo(name, "int") for name in ("Length", "Precision", "Scale")]
        fields += [FieldInfo(name, "datetime") for name in ("CreatedDate", "LastModifiedDate")]
        fields += [FieldInfo("Metadata", "textarea", filterable=False, sortable=False, groupable=False)]
        self._custom_field = SObjectInfo(TABLE, "00N", {one.name.lower(): one for one in fields})

    def sobject(self, name: str) -> SObjectInfo | None:
        return self._custom_field if name.lower() == TABLE.lower() else None


class Tooling:
    """Handlers of `/tooling`."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._schema = _ToolingSchema()

    def query(self, call: Call) -> Response:
        """`GET /tooling/query?q=SELECT … FROM CustomField …`; FullName and Metadata only of a single row."""
        _demand(call)
        text = (call.request.param("q") or "").replace("EntityDefinition.QualifiedApiName", "TableEnumOrId")
        with self._org.store.read() as slot:
            try:
                result = run_query(
                    text,
                    schema=self._schema,
                    connection=slot.connection,
                    now_ms=call.org.clock.now_ms(),
                    include_deleted=True,
                    visible=lambda *_: True,
                    row_filter=lambda _: None,
                    api_version=call.version,
                )
                records = result.records
            except SoqlError as error:
                raise ApiError(400, error.code, error.message) from None
        if len(records) > 1 and any("Metadata" in record or "FullName" in record for record in records):
            message = (
                "When retrieving results with Metadata or FullName fields, the query qualifications must specify no more "
                "than one row for retrieval. Result size: " + str(len(records))
            )
            raise ApiError(400, "MALFORMED_QUERY", message)
        for record in records:
            if isinstance(record.get("Metadata"), str):
                record["Metadata"] = json.loads(str(record["Metadata"]))
            attributes = record.get("attributes")
            if isinstance(attributes, dict) and "url" in attributes:
                attributes["url"] = attributes["url"].replace("/sobjects/", "/tooling/sobjects/")
        document = {"size": len(records), "totalSize": result.total_size, "done": True, "queryLocator": None}
        return reply(200, document | {"entityTypeName": TABLE, "records": records})

    def listing(self, call: Call) -> Response:
        """`GET /tooling/sobjects`."""
        _demand(call)
        root = f"{call.root}/tooling/sobjects/{TABLE}"
        entry = {"name": TABLE, "label": "Custom Field", "keyPrefix": "00N", "queryable": True, "createable": True}
        entry |= {"updateable": True, "deletable": True, "urls": {"sobject": root, "rowTemplate": root + "/{ID}"}}
        return reply(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": [entry]})

    def create(self, call: Call) -> Response:
        """`POST /tooling/sobjects/CustomField {"FullName", "Metadata"}` -> 201."""
        _demand(call)
        document = call.document()
        field_id = create_field(call.work(), document.get("FullName", ""), _metadata(document))
        body = {"id": field_id, "success": True, "errors": [], "warnings": [], "infos": []}
        return reply(201, body, {"Location": f"{call.root}/tooling/sobjects/{TABLE}/{field_id}"})

    def read(self, call: Call, field_id: str) -> Response:
        """`GET /tooling/sobjects/CustomField/{id}`."""
        _demand(call)
        row = call.org.store.get(TABLE, long_id(field_id) or "")
        if row is None:
            raise record_missing(field_id)
        row["Metadata"] = json.loads(row["Metadata"])
        for name in ("CreatedDate", "LastModifiedDate"):
            row[name] = to_text(row[name])
        url = f"{call.root}/tooling/sobjects/{TABLE}/{row['Id']}"
        return reply(200, {"attributes": {"type": TABLE, "url": url}, **row})

    def update(self, call: Call, field_id: str) -> Response:
        """`PATCH /tooling/sobjects/CustomField/{id} {"Metadata"}` -> 204."""
        _demand(call)
        change_field(call.work(), long_id(field_id) or "", _metadata(call.document()))
        return empty(204)

    def delete(self, call: Call, field_id: str) -> Response:
        """`DELETE /tooling/sobjects/CustomField/{id}` -> 204."""
        _demand(call)
        remove_field(call.work(), long_id(field_id) or "")
        return empty(204)


def _demand(call: Call) -> None:
    if not call.rights.customizes:
        message = (
            "You do not have the level of access necessary to perform the operation you requested. "
            "Please contact the owner of the record or your administrator if access is necessary."
        )
        raise ApiError(403, "INSUFFICIENT_ACCESS", message)


def _metadata(document: dict[str, Any]) -> dict[str, Any]:
    metadata = document.get("Metadata")
    if not isinstance(metadata, dict):
        raise ApiError(400, "REQUIRED_FIELD_MISSING", "Required fields are missing: [Metadata]", ("Metadata",))
    return metadata
