"""An unmodified simple-salesforce against the emulator: only its transport is told where the host is."""

import io
import ssl
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from simple_salesforce.api import Salesforce as Client
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceRefusedRequest,
    SalesforceResourceNotFound,
)

from sandbox.clock import Clock
from sandbox.salesforce import Salesforce
from sandbox.server import Server
from tests.sandbox.salesforce.rig import ADMIN, INTEGRATION, Rig

HOST = "https://practice.my.salesforce.com"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:zeep", "ignore::DeprecationWarning:isodate")


class ToLocalhost(requests.adapters.HTTPAdapter):
    """Sends what is meant for the vendor to the emulator, under the host name that the client used."""

    def __init__(self, base: str) -> None:
        self.base = urlsplit(base)
        super().__init__()

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        parts = urlsplit(str(request.url))
        request.headers.setdefault("Host", parts.netloc)
        request.url = urlunsplit((self.base.scheme, self.base.netloc, parts.path, parts.query, ""))
        more["timeout"] = more.get("timeout") or 20
        return super().send(request, *args, **more)


def make_session(rig: Rig) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    for host in ("https://login.salesforce.com", "https://practice.salesforce.com", HOST):
        session.mount(host, ToLocalhost(rig.url))
    return session


@pytest.fixture
def admin(rig: Rig) -> Iterator[Any]:
    session = make_session(rig)
    yield Client(session_id=rig.admin, instance_url=HOST, session=session, version="62.0")
    session.close()


def test_queries_page_to_the_end(rig: Rig, admin: Any) -> None:
    rig.org.load("Lead", ({"LastName": f"x{n}", "Company": "c"} for n in range(4100)))
    assert admin.query("SELECT Id FROM Lead")["totalSize"] == 4100
    names = [row["LastName"] for row in admin.query_all_iter("SELECT LastName FROM Lead ORDER BY Id")]
    assert names == [f"x{n}" for n in range(4100)]
    assert admin.query("SELECT COUNT() FROM Lead") == {"totalSize": 4100, "done": True, "records": []}
    assert admin.api_usage["api-usage"].used == 5


def test_rows(rig: Rig, admin: Any) -> None:
    rig.add_field("Lead.Key__c", type="Text", length=64, externalId=True, unique=True)
    made = admin.Lead.create({"LastName": "山田", "Company": "見込み商事", "Key__c": "k1"})
    assert made["success"] is True
    assert admin.Lead.update(made["id"], {"Title": "部長"}) == 204
    assert admin.Lead.get(made["id"])["Title"] == "部長"
    assert admin.Lead.get_by_custom_id("Key__c", "k1")["Id"] == made["id"]
    assert admin.Lead.upsert("Key__c/k1", {"Phone": "1"}) == 200
    assert admin.Lead.upsert("Key__c/k2", {"LastName": "x", "Company": "y"}) == 201
    assert {field["name"] for field in admin.Lead.describe()["fields"]} > {"Id", "Email", "Key__c"}
    now = rig.clock.now()
    listed = admin.Lead.updated(now - timedelta(hours=1), now + timedelta(hours=1))
    assert made["id"] in listed["ids"]
    assert admin.Lead.delete(made["id"]) == 204
    gone = admin.Lead.deleted(now - timedelta(hours=1), now + timedelta(hours=1))
    assert gone["deletedRecords"][0]["id"] == made["id"]
    assert admin.query("SELECT Id FROM Lead WHERE Key__c = 'k1'", include_deleted=True)["totalSize"] == 1


def test_collections_composite_and_limits_by_restful(rig: Rig, admin: Any) -> None:
    records = [{"attributes": {"type": "Lead"}, "LastName": str(n), "Company": "c"} for n in range(3)]
    results = admin.restful("composite/sobjects", method="POST", json={"allOrNone": False, "records": records})
    assert [result["success"] for result in results] == [True, True, True]
    step = {"method": "GET", "referenceId": "r", "url": "/services/data/v62.0/query?q=SELECT+COUNT()+FROM+Lead"}
    answer = admin.restful("composite", method="POST", json={"compositeRequest": [step]})
    assert answer["compositeResponse"][0]["body"]["totalSize"] == 3
    assert admin.limits()["DailyApiRequests"]["Max"] == 100_000


def first_error(error: Any) -> dict[str, Any]:
    return dict(error.content[0])


def test_errors_become_the_clients_exceptions(rig: Rig, admin: Any) -> None:
    with pytest.raises(SalesforceMalformedRequest) as malformed:
        admin.query("SELECT Nope FROM Lead")
    assert first_error(malformed.value)["errorCode"] == "INVALID_FIELD"
    with pytest.raises(SalesforceResourceNotFound):
        admin.Lead.get("00Q5i0000000zzzEAA")
    with pytest.raises(SalesforceMalformedRequest) as missing:
        admin.Lead.create({"LastName": "x"})
    assert first_error(missing.value)["fields"] == ["Company"]
    rig.control("quota", {"used": 100_000})
    with pytest.raises(SalesforceRefusedRequest):
        admin.query("SELECT Id FROM Lead")
    rig.control("quota", {"used": 0})
    rig.control("tokens", {"expire": True})
    with pytest.raises(SalesforceExpiredSession):
        admin.query("SELECT Id FROM Lead")


class TestLogins:
    def test_soap(self, rig: Rig) -> None:
        given = rig.control("credentials")
        session = make_session(rig)
        login = {"username": INTEGRATION, "password": given["password"], "security_token": "abc"}
        client = Client(**login, session=session, domain="practice.my")
        assert client.query("SELECT Id FROM User")["totalSize"] == 2
        with pytest.raises(SalesforceAuthenticationFailed, match="INVALID_LOGIN"):
            Client(**{**login, "password": "no"}, session=session, domain="practice.my")
        with pytest.raises(SalesforceAuthenticationFailed, match="INVALID_OPERATION"):
            Client(**login, session=session, domain="practice.my", version="65.0")

    def test_jwt_client_credentials_and_password_grant(self, rig: Rig) -> None:
        given = rig.control("credentials")
        session = make_session(rig)
        app = {"consumer_key": given["client_id"], "session": session}
        by_key = Client(username=INTEGRATION, privatekey=given["private_key"], domain="login", **app)
        by_secret = Client(consumer_secret=given["client_secret"], domain="practice.my", **app)
        by_password = Client(
            username=ADMIN,
            password=given["password"],
            consumer_secret=given["client_secret"],
            domain="practice.my",
            **app,
        )
        for client in (by_key, by_secret, by_password):
            assert client.query("SELECT Id FROM Organization")["totalSize"] == 1

    def test_an_expired_session_is_renewed_by_the_client(self, rig: Rig) -> None:
        given = rig.control("credentials")
        login = {"username": INTEGRATION, "password": given["password"], "security_token": ""}
        client = Client(**login, session=make_session(rig), domain="practice.my")
        rig.control("tokens", {"expire": True})
        assert client.query("SELECT Id FROM User")["totalSize"] == 2


NAMESPACE = 'xmlns="http://soap.sforce.com/2006/04/metadata"'
FIELD = (
    "<fields><fullName>{name}</fullName><label>{name}</label><type>{type}</type>"
    "<precision>5</precision><scale>0</scale></fields>"
)
GRANT = (
    "<fieldPermissions><editable>true</editable><field>Lead.{name}</field><readable>true</readable></fieldPermissions>"
)


def zip_package(field_type: str = "Number", granted: str = "Score__c") -> io.BytesIO:
    files = {
        "package.xml": f"<Package {NAMESPACE}><types><members>*</members><name>CustomObject</name></types></Package>",
        "objects/Lead.object": f"<CustomObject {NAMESPACE}>{FIELD.format(name='Score__c', type=field_type)}</CustomObject>",
        "permissionsets/Scoring.permissionset": (
            f"<PermissionSet {NAMESPACE}>{GRANT.format(name=granted)}<label>Scoring</label></PermissionSet>"
        ),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    buffer.seek(0)
    return buffer


class TestMetadata:
    def deploy(self, client: Any, package: io.BytesIO, tmp_path: Any, **more: Any) -> dict[str, Any]:
        path = tmp_path / "package.zip"
        path.write_bytes(package.read())
        begun = client.deploy(str(path), sandbox=True, **more)
        status = client.checkDeployStatus(begun["asyncId"])
        return dict(status)

    def test_deploy_makes_fields_and_a_permission_set(self, rig: Rig, admin: Any, tmp_path: Any) -> None:
        status = self.deploy(admin, zip_package(), tmp_path)
        assert (status["state"], status["deployment_detail"]["deployed_count"]) == ("Succeeded", "2")
        set_id = rig.god("SELECT Id FROM PermissionSet WHERE Name = 'Scoring'")[0]["Id"]
        user = rig.god(f"SELECT Id FROM User WHERE Username = '{INTEGRATION}'")[0]["Id"]
        rig.make("PermissionSetAssignment", PermissionSetId=set_id, AssigneeId=user)
        lead = rig.make_lead()
        assert rig.call("PATCH", f"/sobjects/Lead/{lead}", json={"Score__c": 7}, token=rig.token).status_code == 204
        again = self.deploy(admin, zip_package(), tmp_path)
        assert again["state"] == "Succeeded"
        assert rig.god("SELECT Score__c FROM Lead")[0]["Score__c"] == 7

    @pytest.mark.parametrize("package", [zip_package("Numbr"), zip_package(granted="Nope__c")])
    def test_a_failed_deploy_leaves_nothing(self, rig: Rig, admin: Any, tmp_path: Any, package: io.BytesIO) -> None:
        status = self.deploy(admin, io.BytesIO(package.getvalue()), tmp_path)
        assert status["state"] == "Failed"
        assert status["deployment_detail"]["errors"]
        assert rig.god("SELECT Id FROM PermissionSet WHERE Name = 'Scoring'") == []
        found = rig.call("GET", "/tooling/query", params={"q": "SELECT Id FROM CustomField"}).json()
        assert found["totalSize"] == 0
        rig.add_field("Lead.Score__c", type="Text", length=9)

    def test_check_only(self, rig: Rig, admin: Any, tmp_path: Any) -> None:
        assert self.deploy(admin, zip_package(), tmp_path, checkOnly=True)["state"] == "Succeeded"
        found = rig.call("GET", "/tooling/query", params={"q": "SELECT Id FROM CustomField"}).json()
        assert found["totalSize"] == 0

    def test_zeep_creates_reads_and_deletes(self, rig: Rig, admin: Any) -> None:
        api = admin.mdapi
        api._client.transport.session.mount(HOST, ToLocalhost(rig.url))
        api._client.transport.session.trust_env = False
        field = api.CustomField(
            fullName="Lead.Score__c", label="Score", type=api.FieldType("Number"), precision=5, scale=1
        )
        api.CustomField.create([field])
        with pytest.raises(Exception, match="There is already a field named Score on Lead"):
            api.CustomField.create([field])
        read = api.CustomField.read("Lead.Score__c")
        assert (read.fullName, read.type, read.precision) == ("Lead.Score__c", "Number", 5)
        permissions = [{"editable": True, "field": "Lead.Score__c", "readable": True}]
        api.PermissionSet.upsert([api.PermissionSet(fullName="Scoring", label="S", fieldPermissions=permissions)])
        read = api.PermissionSet.read("Scoring")
        assert [one.field for one in read.fieldPermissions] == ["Lead.Score__c"]
        api.CustomField.delete(["Lead.Score__c"])
        assert rig.god("SELECT Id FROM FieldPermissions WHERE Field = 'Lead.Score__c'") == []

    def test_without_the_right(self, rig: Rig) -> None:
        body = (
            '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Header><SessionHeader>'
            f"<sessionId>{rig.token}</sessionId></SessionHeader></e:Header><e:Body><readMetadata>"
            "<type>CustomField</type><fullNames>Lead.A__c</fullNames></readMetadata></e:Body></e:Envelope>"
        )
        response = rig.session.post(f"{rig.url}/services/Soap/m/59.0/", data=body, timeout=20)
        assert response.status_code == 500
        assert "INSUFFICIENT_ACCESS: use of the Metadata API requires" in response.text

    def test_no_zip_bomb_and_no_entities(self, rig: Rig, admin: Any, tmp_path: Any) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("package.xml", "<Package/>")
            archive.writestr("objects/Lead.object", b" " * (40 * 1024 * 1024))
        buffer.seek(0)
        assert self.deploy(admin, buffer, tmp_path)["state"] == "Failed"


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "host.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_over_tls_not_even_the_transport_is_changed(tmp_path: Path) -> None:
    pem = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    org = Salesforce(Clock())
    org.load("Lead", ({"LastName": f"x{n}", "Company": "c"} for n in range(2100)))
    server = Server(org, tls=context).start()
    session = requests.Session()
    session.trust_env = False
    session.verify = str(pem)
    try:
        form = {"grant_type": "client_credentials", "client_id": org.options.client_id}
        secret = {"client_secret": org.options.client_secret}
        answer = session.post(f"{server.url}/services/oauth2/token", data=form | secret, timeout=20).json()
        assert answer["instance_url"] == server.url
        assert server.url.startswith("https://127.0.0.1:")
        client: Any = Client(session_id=answer["access_token"], instance_url=answer["instance_url"], session=session)
        assert len(list(client.query_all_iter("SELECT Id FROM Lead"))) == 2100
        assert client.Lead.describe()["name"] == "Lead"
    finally:
        session.close()
        server.stop()
        org.close()
