"""Several requests in one call: composite, batch, tree."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sandbox.salesforce.call import Call, flag
from sandbox.salesforce.catalog import SObject
from sandbox.salesforce.errors import ApiError, RowError, malformed_json
from sandbox.salesforce.many import MOST_ROWS
from sandbox.salesforce.org import Work
from sandbox.salesforce.quota import Quota
from sandbox.salesforce.rows import create_row
from sandbox.salesforce.store import Undo
from sandbox.server import Request, Response, reply

_MOST_STEPS = 25
_MOST_HEAVY = 5
_HEAVY = re.compile(r"/services/data/v[\d.]+/(query|queryAll|composite/sobjects)\b", re.IGNORECASE)
_REFERENCE = re.compile(r"@\{([A-Za-z0-9_]+)((?:\.[A-Za-z0-9_]+|\[\d+\])*)\}")
_STEP = re.compile(r"\.([A-Za-z0-9_]+)|\[(\d+)\]")
_METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE"})
_HALTED = "The transaction was rolled back since another operation in the same transaction failed."


@dataclass(slots=True)
class _Answers:
    """What the subrequests so far have answered, by reference id."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    parsed: dict[str, Any] = field(default_factory=dict)

    def resolve(self, value: Any) -> Any:
        """`@{ref.path}` in every text of a body or URL; raises ApiError where there is no such value."""
        if isinstance(value, str):
            if (whole := _REFERENCE.fullmatch(value)) is not None:
                return self._look_up(whole.group(1), whole.group(2))
            return _REFERENCE.sub(lambda found: str(self._look_up(found.group(1), found.group(2))), value)
        if isinstance(value, dict):
            return {key: self.resolve(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.resolve(inner) for inner in value]
        return value

    def _look_up(self, reference: str, path: str) -> Any:
        if reference not in self.parsed:
            if reference not in self.bodies:
                message = f"Invalid reference specified. No value for {reference}{path} found in response."
                raise ApiError(400, "PROCESSING_HALTED", message)
            self.parsed[reference] = json.loads(self.bodies[reference] or b"null")
        value = self.parsed[reference]
        for name, index in _STEP.findall(path):
            try:
                value = value[int(index)] if index else value[name]
            except (KeyError, IndexError, TypeError):
                message = f"Invalid reference specified. No value for {reference}{path} found in {reference}."
                raise ApiError(400, "PROCESSING_HALTED", message) from None
        return value


Answered = list[tuple[dict[str, Any], Response]]


def composite(call: Call) -> Response:
    """`POST /composite`: always 200, an entry per subrequest; one API call in all."""
    document = call.document()
    steps = _read_steps(document.get("compositeRequest"))
    if not flag(document.get("allOrNone", False)):
        return _composed(_run(call, steps, halt=False))
    answered: Answered = []
    failed = False
    with call.org.store.write():
        answered = _run(call, steps, halt=True)
        failed = any(response.status >= 400 for _, response in answered)
        if failed:
            raise Undo
    if failed:
        call.org.access.forget()
        halted = ApiError(400, "PROCESSING_HALTED", _HALTED).response()
        answered = [(step, response if response.status >= 400 else halted) for step, response in answered]
    return _composed(answered)


def _run(call: Call, steps: list[dict[str, Any]], *, halt: bool) -> Answered:
    answers = _Answers()
    answered: Answered = []
    failed = False
    for step in steps:
        if failed and halt:
            answered.append((step, ApiError(400, "PROCESSING_HALTED", _HALTED).response()))
            continue
        try:
            url, body = answers.resolve(step["url"]), answers.resolve(step.get("body"))
            response = call.again(call, _subrequest(call, step["method"], url, body, step.get("httpHeaders")))
        except ApiError as error:
            response = error.response()
        if response.status < 400:
            answers.bodies[step["referenceId"]] = response.body
        failed = failed or response.status >= 400
        answered.append((step, response))
    return answered


def _composed(answered: Answered) -> Response:
    """Subrequests have answered in JSON already: their bodies are put in as they are."""
    entries = []
    for step, response in answered:
        headers = {"Location": response.headers["Location"]} if "Location" in response.headers else {}
        rest = {"httpHeaders": headers, "httpStatusCode": response.status, "referenceId": step["referenceId"]}
        entries.append(
            b'{"body":' + (response.body or b"null") + b"," + json.dumps(rest, separators=(",", ":")).encode()[1:]
        )
    return Response(200, b'{"compositeResponse":[' + b",".join(entries) + b"]}")


def _read_steps(steps: Any) -> list[dict[str, Any]]:
    if not isinstance(steps, list) or not steps:
        raise malformed_json("compositeRequest must be an array of subrequests")
    seen = set()
    for step in steps:
        names = ("method", "url", "referenceId")
        if not isinstance(step, dict) or not all(isinstance(step.get(name), str) for name in names):
            raise malformed_json(f"a subrequest needs {', '.join(names)}")
        reference = step["referenceId"]
        if not re.fullmatch(r"[A-Za-z0-9_]+", reference):
            message = (
                f"Provided referenceId ({reference}) must start with a letter and contain only letters, numbers and _"
            )
            raise ApiError(400, "INVALID_INPUT", message)
        if reference in seen:
            raise ApiError(400, "INVALID_INPUT", f"Duplicate ReferenceId provided: {reference}")
        seen.add(reference)
    if len(steps) > _MOST_STEPS:
        raise ApiError(400, "LIMIT_EXCEEDED", f"Maximum number of subrequests is {_MOST_STEPS}")
    heavy = sum(1 for step in steps if _HEAVY.match(step["url"]))
    if heavy > _MOST_HEAVY:
        message = f"Maximum number of query and sObject Collections subrequests is {_MOST_HEAVY}"
        raise ApiError(400, "LIMIT_EXCEEDED", message)
    return steps


def _subrequest(call: Call, method: str, url: Any, body: Any, headers: Any) -> Request:
    if method.upper() not in _METHODS:
        raise ApiError(405, "METHOD_NOT_ALLOWED", f"HTTP Method '{method}' not allowed.")
    try:
        parts = urlsplit(str(url))
    except ValueError:
        raise ApiError(400, "INVALID_INPUT", f"Invalid URL: {url}") from None
    if not parts.path.startswith("/services/data/"):
        raise ApiError(400, "INVALID_INPUT", f"Invalid URL: {url}")
    inherited = {key: value for key, value in call.request.headers.items() if key == "authorization"}
    given = headers if isinstance(headers, dict) else {}
    return Request(
        method=method.upper(),
        target=str(url),
        path=unquote(parts.path),
        raw_path=parts.path,
        query=parse_qs(parts.query, keep_blank_values=True),
        headers=inherited | {str(key).lower(): str(value) for key, value in given.items()},
        body=b"" if body is None else json.dumps(body).encode(),
        base_url=call.request.base_url,
    )


def batch(call: Call, quota: Quota) -> Response:
    """`POST /composite/batch`: each subrequest is an API call of its own."""
    document = call.document()
    requests = document.get("batchRequests")
    if not isinstance(requests, list) or not requests:
        raise malformed_json("batchRequests must be an array of subrequests")
    if not all(
        isinstance(one, dict) and all(isinstance(one.get(k), str) for k in ("method", "url")) for one in requests
    ):
        raise malformed_json("a subrequest needs method and url")
    if len(requests) > _MOST_STEPS:
        raise ApiError(400, "LIMIT_EXCEEDED", f"Maximum number of subrequests is {_MOST_STEPS}")
    quota.spend(len(requests) - 1)  # the call itself was counted at the door
    halt = flag(document.get("haltOnError", False))
    results: list[bytes] = []
    failed = False
    for one in requests:
        if failed and halt:
            response = ApiError(412, "BATCH_PROCESSING_HALTED", "Batch processing halted").response()
        else:
            url = "/services/data/" + one["url"].removeprefix("/services/data/").lstrip("/")
            try:
                response = call.again(call, _subrequest(call, one["method"], url, one.get("richInput"), None))
            except ApiError as error:
                response = error.response()
        failed = failed or response.status >= 400
        results.append(b'{"statusCode":%d,"result":%s}' % (response.status, response.body or b"null"))
    flags = b"true" if failed else b"false"
    return Response(200, b'{"hasErrors":' + flags + b',"results":[' + b",".join(results) + b"]}")


def tree(call: Call, sobject: str) -> Response:
    """`POST /composite/tree/X`: up to 200 nested records, all or none."""
    kind = call.sobject(sobject)
    records = call.document().get("records")
    if not isinstance(records, list) or not records:
        raise malformed_json("records must be an array of sObjects")
    references = list(_references(records))
    if len(references) > MOST_ROWS:
        raise ApiError(400, "INVALID_INPUT", f"Maximum number of records is {MOST_ROWS}")
    if len(set(references)) != len(references):
        raise ApiError(400, "INVALID_INPUT", "Duplicate ReferenceId provided")
    made: list[dict[str, Any]] = []
    wrong: list[dict[str, Any]] = []
    with call.org.store.write():
        for record in records:
            _plant(call.work(), kind, record, {}, made, wrong)
        if wrong:
            raise Undo
    if wrong:
        call.org.access.forget()
        return reply(400, {"hasErrors": True, "results": wrong})
    return reply(201, {"hasErrors": False, "results": made})


def _references(records: list[Any]) -> Iterator[str]:
    for record in records:
        attributes = record.get("attributes") if isinstance(record, dict) else None
        if not isinstance(attributes, dict) or not isinstance(attributes.get("referenceId"), str):
            raise ApiError(400, "INVALID_INPUT", "Include a reference ID for each record in the request.")
        yield attributes["referenceId"]
        for value in record.values():
            if isinstance(value, dict) and isinstance(value.get("records"), list):
                yield from _references(value["records"])


def _plant(
    work: Work, kind: SObject, record: dict[str, Any], parent: dict[str, str], made: list[Any], wrong: list[Any]
) -> None:
    nested = {name: value for name, value in record.items() if isinstance(value, dict) and "records" in value}
    body = {name: value for name, value in record.items() if name not in nested}
    reference = record["attributes"]["referenceId"]
    try:
        record_id = create_row(work, kind, {**body, **parent})
    except RowError as error:
        wrong.append({"referenceId": reference, "errors": [error.row()]})
        return
    made.append({"referenceId": reference, "id": record_id})
    for name, value in nested.items():
        child = next((one for one in kind.children if one.relationship.lower() == name.lower()), None)
        if child is None:
            raise ApiError(400, "INVALID_FIELD", f"No such relation '{name}' on entity '{kind.name}'")
        for one in value["records"]:
            _plant(work, work.org.schema.get(child.sobject), one, {child.field: record_id}, made, wrong)
