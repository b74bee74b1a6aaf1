"""The Metadata API's SOAP door: deploy and its status, and the calls for CustomField and PermissionSet."""

from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

from sandbox.salesforce.access import Rights
from sandbox.salesforce.deploy import Deployment, run_deploy
from sandbox.salesforce.errors import ApiError, RowError
from sandbox.salesforce.org import Org
from sandbox.salesforce.parts import Part, as_document, delete_part, put_part, read_part, to_xml
from sandbox.salesforce.quota import Quota
from sandbox.salesforce.soap import XSI, child_text, children, fault, local_name, read_envelope, session_of, xml_reply
from sandbox.salesforce.tokens import Tokens
from sandbox.server import Request, Response

_NAMESPACE = "http://soap.sforce.com/2006/04/metadata"
_MOST_PARTS = 10


class Metadata:
    """Answers `POST /services/Soap/m/NN.0/…`."""

    def __init__(self, org: Org, tokens: Tokens, quota: Quota) -> None:
        self._org = org
        self._tokens = tokens
        self._quota = quota
        self._deployments: dict[str, Deployment] = {}

    def answer(self, request: Request, **_names: str) -> Response:
        session = self._tokens.find(session_of(request.body) or "")
        if session is None:
            message = "Invalid Session ID found in SessionHeader: Illegal Session"
            return fault("sf:INVALID_SESSION_ID", "INVALID_SESSION_ID", message)
        body = read_envelope(request.body)
        if body is None:
            return fault("soapenv:Client", "INVALID_REQUEST", "no SOAP call")
        try:
            self._quota.spend()
            rights = self._org.access.of(session.user_id)
            self._demand(rights)
            return self._dispatch(body, session.user_id)
        except ApiError as error:
            return fault(f"sf:{error.code}", error.code, error.message)

    def _demand(self, rights: Rights) -> None:
        if not rights.customizes:
            message = "use of the Metadata API requires a user with the ModifyAllData or ModifyMetadata permissions"
            raise RowError("INSUFFICIENT_ACCESS", message)

    def _dispatch(self, body: Any, user_id: str) -> Response:
        match local_name(body):
            case "deploy":
                return self._deploy(body, user_id)
            case "checkDeployStatus":
                return self._check_deploy(body)
            case "createMetadata":
                return self._save(body, user_id, "createMetadata", may_exist=False)
            case "upsertMetadata":
                return self._save(body, user_id, "upsertMetadata", may_exist=True)
            case "updateMetadata":
                return self._save(body, user_id, "updateMetadata", may_exist=True, must_exist=True)
            case "deleteMetadata":
                return self._delete(body, user_id)
            case "readMetadata":
                return self._read(body)
            case name:
                return fault("sf:INVALID_OPERATION", "INVALID_OPERATION", f"{name} is not served here")

    def _deploy(self, body: Any, user_id: str) -> Response:
        deployment = run_deploy(self._org.work(user_id), self._org.ids.next("0Af"), body)
        self._deployments[deployment.deploy_id] = deployment
        result = f"<done>false</done><id>{deployment.deploy_id}</id><state>Queued</state>"
        return _answer("deploy", f"<result>{result}</result>")

    def _check_deploy(self, body: Any) -> Response:
        deployment = self._deployments.get(child_text(body, "asyncProcessId") or "")
        if deployment is None:
            message = "no deploy of that id"
            return fault("sf:INVALID_ID_FIELD", "INVALID_ID_FIELD", message)
        return _answer("checkDeployStatus", deployment.to_xml())

    def _save(self, body: Any, user_id: str, call: str, *, may_exist: bool, must_exist: bool = False) -> Response:
        def step(element: Any) -> tuple[str, bool | None]:
            part = Part(_type_of(element), child_text(element, "fullName") or "", as_document(element))
            made = put_part(self._org.work(user_id), part, may_exist=may_exist, must_exist=must_exist)
            return part.full_name, made

        return self._each(children(body, "metadata"), call, step)

    def _delete(self, body: Any, user_id: str) -> Response:
        kind = child_text(body, "type") or ""

        def step(element: Any) -> tuple[str, bool | None]:
            name = (element.text or "").strip()
            delete_part(self._org.work(user_id), kind, name)
            return name, None

        return self._each(children(body, "fullNames"), "deleteMetadata", step)

    def _each(self, elements: list[Any], call: str, step: Callable[[Any], tuple[str, bool | None]]) -> Response:
        if len(elements) > _MOST_PARTS:
            message = f"The maximum number of records in one call is {_MOST_PARTS}"
            raise RowError("LIMIT_EXCEEDED", message)
        results = []
        for element in elements:
            name = child_text(element, "fullName") or (element.text or "").strip()
            try:
                name, made = step(element)
                flag = f"<created>{str(made).lower()}</created>" if call == "upsertMetadata" else ""
                inner = f"{flag}<fullName>{escape(name)}</fullName><success>true</success>"
            except ApiError as error:
                wrong = f"<message>{escape(error.message)}</message><statusCode>{error.code}</statusCode>"
                inner = f"<errors>{wrong}</errors><fullName>{escape(name)}</fullName><success>false</success>"
            results.append(f"<result>{inner}</result>")
        return _answer(call, "".join(results))

    def _read(self, body: Any) -> Response:
        kind = child_text(body, "type") or ""
        records = []
        for element in children(body, "fullNames"):
            document = read_part(self._org, kind, (element.text or "").strip())
            inner = to_xml(document) if document is not None else ""
            nothing = "" if document is not None else ' xsi:nil="true"'
            records.append(f'<records xsi:type="{escape(kind)}"{nothing}>{inner}</records>')
        return _answer("readMetadata", f"<result>{''.join(records)}</result>")


def _type_of(element: Any) -> str:
    return str(element.get(f"{{{XSI}}}type", "")).split(":")[-1]


def _answer(call: str, inner: str) -> Response:
    return xml_reply(
        f'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns="{_NAMESPACE}" '
        f'xmlns:xsi="{XSI}"><soapenv:Body><{call}Response>{inner}</{call}Response></soapenv:Body></soapenv:Envelope>'
    )
