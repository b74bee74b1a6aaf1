"""SOAP envelopes, read safely (no entities, no network) and written plainly."""

from typing import Any
from xml.sax.saxutils import escape

from lxml import etree  # lxml ships no types

from sandbox.server import Response

XSI = "http://www.w3.org/2001/XMLSchema-instance"
_ENVELOPE = "{http://schemas.xmlsoap.org/soap/envelope/}"


def parse_xml(text: bytes) -> Any:
    """The root element; raises ValueError for anything but well-formed XML without entities."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(text, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(str(error)) from None
    if root.getroottree().docinfo.doctype:
        raise ValueError("a document type declaration is not allowed")
    return root


def read_envelope(text: bytes) -> Any | None:
    """The first element inside the Body; None where the text is no SOAP call."""
    try:
        root = parse_xml(text)
    except ValueError:
        return None
    body = root.find(f"{_ENVELOPE}Body")
    return next((child for child in body if isinstance(child.tag, str)), None) if body is not None else None


def session_of(text: bytes) -> str | None:
    """The session id of the header, in whatever namespace the client put it."""
    try:
        root = parse_xml(text)
    except ValueError:
        return None
    header = root.find(f"{_ENVELOPE}Header")
    return text_of(header, "sessionId") if header is not None else None


def local_name(element: Any) -> str:
    return str(etree.QName(element).localname)


def children(element: Any, name: str) -> list[Any]:
    """The direct children of that local name."""
    return [child for child in element if isinstance(child.tag, str) and local_name(child) == name]


def child_text(element: Any, name: str) -> str | None:
    """The stripped text of the first direct child of that local name; None if there is none or it is empty."""
    found = children(element, name)
    return (found[0].text or "").strip() or None if found else None


def text_of(element: Any, name: str) -> str | None:
    """The stripped text of the first descendant of that local name."""
    for found in element.iter():
        if isinstance(found.tag, str) and local_name(found) == name:
            return (found.text or "").strip() or None
    return None


def xml_reply(text: str, status: int = 200) -> Response:
    body = ('<?xml version="1.0" encoding="UTF-8"?>' + text).encode()
    return Response(status, body, content_type="text/xml;charset=UTF-8")


def fault(code: str, exception: str, message: str) -> Response:
    """The vendor's SOAP fault: HTTP 500 with `sf:exceptionCode` in the detail."""
    text = escape(message)
    return xml_reply(
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        f'xmlns:sf="urn:fault.partner.soap.sforce.com" xmlns:xsi="{XSI}"><soapenv:Body><soapenv:Fault>'
        f"<faultcode>{escape(code)}</faultcode><faultstring>{escape(exception)}: {text}</faultstring>"
        '<detail><sf:LoginFault xsi:type="sf:LoginFault">'
        f"<sf:exceptionCode>{escape(exception)}</sf:exceptionCode><sf:exceptionMessage>{text}</sf:exceptionMessage>"
        "</sf:LoginFault></detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>",
        status=500,
    )
