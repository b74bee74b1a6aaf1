"""Describe: what the objects and fields are, with the caller's rights in it."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from sandbox.salesforce.access import Rights
from sandbox.salesforce.call import Call
from sandbox.salesforce.catalog import Choice, Field, SObject
from sandbox.salesforce.rows import can_read
from sandbox.server import Response, reply

_SOAP_TYPES = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "address": "urn:address",
    "anyType": "xsd:anyType",
}

_UNUSED = {  # what no field of this org has
    "aiPredictionField": False,
    "autoNumber": False,
    "calculated": False,
    "calculatedFormula": None,
    "cascadeDelete": False,
    "controllerName": None,
    "defaultValueFormula": None,
    "dependentPicklist": False,
    "deprecatedAndHidden": False,
    "displayLocationInDecimal": False,
    "encrypted": False,
    "filteredLookupInfo": None,
    "formulaTreatNullNumberAsZero": False,
    "highScaleNumber": False,
    "htmlFormatted": False,
    "mask": None,
    "maskType": None,
    "referenceTargetField": None,
    "relationshipOrder": None,
    "restrictedDelete": False,
    "searchPrefilterable": False,
    "writeRequiresMasterRead": False,
}


def describe_global(call: Call) -> Response:
    """`GET /sobjects`."""
    rights = call.rights
    seen = [sobject for sobject in call.org.schema.all() if rights.may("read", sobject.name)]
    entries = [_entry(call, sobject, rights) for sobject in sorted(seen, key=lambda sobject: sobject.name)]
    return reply(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": entries})


def basic_information(call: Call, sobject: str) -> Response:
    """`GET /sobjects/X`."""
    kind = call.sobject(sobject)
    return reply(200, {"objectDescribe": _entry(call, kind, call.rights), "recentItems": []})


def describe(call: Call, sobject: str) -> Response:
    """`GET /sobjects/X/describe`."""
    kind, rights = call.sobject(sobject), call.rights
    document = _entry(call, kind, rights)
    document |= {
        "actionOverrides": [],
        "childRelationships": [
            {
                "cascadeDelete": child.cascade,
                "childSObject": child.sobject,
                "deprecatedAndHidden": False,
                "field": child.field,
                "junctionIdListNames": [],
                "junctionReferenceTo": [],
                "relationshipName": child.relationship,
                "restrictedDelete": False,
            }
            for child in kind.children
            if rights.may("read", child.sobject)
        ],
        "compactLayoutable": "t" in kind.properties,
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": [
            {
                "active": True,
                "available": True,
                "defaultRecordTypeMapping": True,
                "developerName": "Master",
                "master": True,
                "name": "Master",
                "recordTypeId": "012000000000000AAA",
                "urls": {"layout": f"{call.root}/sobjects/{kind.name}/describe/layouts/012000000000000AAA"},
            }
        ],
        "searchLayoutable": "h" in kind.properties,
        "sobjectDescribeOption": "FULL",
        "supportedScopes": [{"label": f"All {kind.label_plural.lower()}", "name": "everything"}],
    }
    head = reply(200, document).body
    return Response(200, head[:-1] + b',"fields":[' + b",".join(_fields(kind, rights)) + b"]}")


def _entry(call: Call, kind: SObject, rights: Rights) -> dict[str, Any]:
    path = f"{call.root}/sobjects/{kind.name}"
    return {
        "activateable": False,
        "associateEntityType": None,
        "associateParentEntity": None,
        "createable": kind.createable and rights.may("create", kind.name),
        "custom": False,
        "customSetting": False,
        "deepCloneable": False,
        "defaultImplementation": None,
        "deletable": kind.createable and rights.may("delete", kind.name),
        "deprecatedAndHidden": False,
        "extendedBy": None,
        "extendsInterfaces": None,
        "feedEnabled": "h" in kind.properties,
        "hasSubtypes": False,
        "implementedBy": None,
        "implementsInterfaces": None,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": kind.key_prefix,
        "label": kind.label,
        "labelPlural": kind.label_plural,
        "layoutable": "t" in kind.properties,
        "mergeable": "m" in kind.properties,
        "mruEnabled": "h" in kind.properties,
        "name": kind.name,
        "queryable": True,
        "replicateable": kind.replicateable,
        "retrieveable": True,
        "searchable": "h" in kind.properties,
        "triggerable": "x" in kind.properties,
        "undeletable": "x" in kind.properties,
        "updateable": kind.updateable and rights.may("edit", kind.name),
        "urls": {
            "rowTemplate": path + "/{ID}",
            "describe": path + "/describe",
            "sobject": path,
        },
    }


def _fields(kind: SObject, rights: Rights) -> Iterator[bytes]:
    """What the caller sees of the fields, each as JSON."""
    creates, updates = rights.may("create", kind.name), rights.may("edit", kind.name)
    people = kind.has("LastName")
    for one in kind.fields.values():
        if can_read(rights, kind, one):
            edits = rights.edits(kind.name, one.name, custom=one.custom)
            named = one.has("a") or (people and one.name == "Name")
            yield _field(one, named=named, createable=edits and creates, updateable=edits and updates)


@lru_cache(maxsize=8_192)  # clients ask for all of them all day
def _field(one: Field, *, named: bool, createable: bool, updateable: bool) -> bytes:
    text = one.length if one.sql_type == "TEXT" and one.type not in ("date", "address") else 0
    precision, scale = one.digits
    whole = one.type == "int"
    document = _UNUSED | {
        "aggregatable": one.has("f") and one.type not in ("boolean", "address"),
        "byteLength": text if one.type in ("id", "reference") else text * 3,
        "caseSensitive": one.case_sensitive,
        "compoundFieldName": one.compound,
        "createable": one.createable and createable,
        "custom": one.custom,
        "defaultValue": _default(one),
        "defaultedOnCreate": one.has("d"),
        "digits": precision if whole else 0,
        "externalId": one.external_id,
        "extraTypeInfo": "plaintextarea" if one.type == "textarea" else None,
        "filterable": one.has("f"),
        "groupable": one.has("g"),
        "idLookup": one.has("i") or one.external_id,
        "inlineHelpText": one.help,
        "label": one.label,
        "length": text,
        "name": one.name,
        "nameField": named,
        "namePointing": one.has("l"),
        "nillable": one.has("n"),
        "permissionable": one.has("p") or (one.custom and not one.required),
        "picklistValues": [_choice(choice) for choice in one.choices],
        "polymorphicForeignKey": one.has("l"),
        "precision": 0 if whole else precision,
        "queryByDistance": one.type == "address",
        "referenceTo": list(one.refers_to),
        "relationshipName": one.relationship,
        "restrictedPicklist": one.has("r"),
        "scale": scale,
        "soapType": _SOAP_TYPES.get(one.type, "xsd:string"),
        "sortable": one.has("s"),
        "type": one.type,
        "unique": one.unique,
        "updateable": one.updateable and updateable,
    }
    return reply(200, document).body


def _choice(choice: Choice) -> dict[str, Any]:
    return {
        "active": True,
        "defaultValue": choice.default,
        "label": choice.label,
        "validFor": None,
        "value": choice.value,
    }


def _default(one: Field) -> object:
    if one.type == "boolean":
        return bool(one.default)
    return one.default if one.custom else next((c.value for c in one.choices if c.default), None)
