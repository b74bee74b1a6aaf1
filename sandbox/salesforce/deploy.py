"""A metadata deploy: a zip in mdapi format, read safely and really applied, all or nothing."""

import base64
import io
import zipfile
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from sandbox.salesforce.errors import RowError
from sandbox.salesforce.org import Work
from sandbox.salesforce.parts import Part, as_document, put_part
from sandbox.salesforce.soap import child_text, children, local_name, parse_xml, text_of
from sandbox.salesforce.store import Undo
from sandbox.salesforce.values import to_text

_MOST_BYTES = 39 * 1024 * 1024
_ORDER = {"CustomField": 0, "PermissionSet": 1}


@dataclass(frozen=True, slots=True)
class _Failure:
    kind: str
    file: str
    name: str
    problem: str


@dataclass(slots=True)
class Deployment:
    """How a deploy went. It is over when its first status is asked for."""

    deploy_id: str
    moment: int
    check_only: bool
    made: list[tuple[str, str, str, bool]] = field(default_factory=list)  # kind, file, name, created
    failures: list[_Failure] = field(default_factory=list)
    total: int = 0

    @property
    def status(self) -> str:
        return "Failed" if self.failures else "Succeeded"

    def to_xml(self) -> str:
        """The result element of checkDeployStatus."""
        when = escape(to_text(self.moment).replace("+0000", "Z"))
        done = "".join(
            f"<componentSuccesses><changed>true</changed><componentType>{kind}</componentType>"
            f"<created>{str(created).lower()}</created><deleted>false</deleted><fileName>{escape(file)}</fileName>"
            f"<fullName>{escape(name)}</fullName><success>true</success></componentSuccesses>"
            for kind, file, name, created in self.made
        )
        wrong = "".join(
            f"<componentFailures><changed>false</changed><componentType>{one.kind}</componentType>"
            f"<created>false</created><deleted>false</deleted><fileName>{escape(one.file)}</fileName>"
            f"<fullName>{escape(one.name)}</fullName><problem>{escape(one.problem)}</problem>"
            "<problemType>Error</problemType><success>false</success></componentFailures>"
            for one in self.failures
        )
        return (
            f"<result><checkOnly>{str(self.check_only).lower()}</checkOnly><completedDate>{when}</completedDate>"
            f"<createdDate>{when}</createdDate><details>{wrong}{done}<runTestResult><numFailures>0</numFailures>"
            "<numTestsRun>0</numTestsRun><totalTime>0.0</totalTime></runTestResult></details><done>true</done>"
            f"<id>{self.deploy_id}</id><ignoreWarnings>false</ignoreWarnings>"
            f"<numberComponentErrors>{len(self.failures)}</numberComponentErrors>"
            f"<numberComponentsDeployed>{0 if self.failures else len(self.made)}</numberComponentsDeployed>"
            f"<numberComponentsTotal>{self.total}</numberComponentsTotal><numberTestErrors>0</numberTestErrors>"
            "<numberTestsCompleted>0</numberTestsCompleted><numberTestsTotal>0</numberTestsTotal>"
            "<rollbackOnError>true</rollbackOnError><stateDetail></stateDetail>"
            f"<status>{self.status}</status><success>{str(not self.failures).lower()}</success></result>"
        )


def run_deploy(work: Work, deploy_id: str, body: Any) -> Deployment:
    """Apply the zip of a `deploy` call; what is wrong stands in the Deployment."""
    check_only = str(text_of(body, "checkOnly")).lower() == "true"  # some clients send "True" and "None"
    deployment = Deployment(deploy_id, work.now, check_only)
    try:
        parts = _read_zip(child_text(body, "ZipFile") or "")
    except (ValueError, zipfile.BadZipFile) as error:
        deployment.failures.append(_Failure("", "package.xml", "package.xml", str(error)))
        return deployment
    deployment.total = len(parts)
    fields_before = {sobject.name: sobject.fields for sobject in work.org.schema.all()}
    with work.store.write():
        for file, part in sorted(parts, key=lambda one: _ORDER.get(one[1].kind, 2)):
            try:
                created = put_part(work, part, may_exist=True)
                deployment.made.append((part.kind, file, part.full_name, created))
            except RowError as error:
                deployment.failures.append(_Failure(part.kind, file, part.full_name, error.message))
        if deployment.failures or check_only:
            raise Undo
    if deployment.failures or check_only:
        for name, fields in fields_before.items():
            work.org.schema.restore(name, fields)
        work.org.access.forget()
    return deployment


def _read_zip(text: str) -> list[tuple[str, Part]]:
    """(file, part) of everything in the archive that the package names; raises ValueError, BadZipFile."""
    try:
        raw = base64.b64decode(text)
    except Base64Error as error:
        raise ValueError(f"ZipFile is not base64: {error}") from None
    parts: list[tuple[str, Part]] = []
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
            raise ValueError("Maximum size of request reached. Maximum size of request is 52428800 bytes.")
        if "package.xml" not in archive.namelist():
            raise ValueError("No package.xml found")
        parse_xml(archive.read("package.xml"))
        for file in sorted(archive.namelist()):
            if file.endswith("/") or file == "package.xml":
                continue
            parts += [(file, part) for part in _read_file(file, archive.read(file))]
    return parts


def _read_file(file: str, content: bytes) -> list[Part]:
    folder, _, name = file.rpartition("/")
    stem, _, extension = name.rpartition(".")
    root = parse_xml(content)
    if extension == "object" and folder == "objects":
        named = [(child_text(element, "fullName") or "", element) for element in children(root, "fields")]
        return [Part("CustomField", f"{stem}.{field_name}", as_document(element)) for field_name, element in named]
    if extension == "permissionset" and folder == "permissionsets":
        return [Part("PermissionSet", stem, as_document(root))]
    return [Part(local_name(root), stem, {})]
