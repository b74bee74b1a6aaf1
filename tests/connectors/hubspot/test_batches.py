"""Every input of a batch has its own end, whatever HubSpot answers: a portal of the test's own making behind the writers (I11)."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from connectors.fields import OUTPUT_FIELDS
from connectors.hubspot.api import HubSpotApi
from connectors.hubspot.tasks import TaskWriter, write_all
from connectors.hubspot.writing import FieldWriter
from connectors.protocol import FieldWrite, TaskWrite, Write, WriteResult
from core.errors import ConnectorError, Gone, OutcomeUnknown, QuotaExhausted, Rejected, Transient, Unexpected
from core.records import RecordRef

Script = st.lists(
    st.sampled_from(
        ["honest", "shuffled", "fewer", "double", "silent", "strange", "refused", "lost", "busy", "html", "quota"]
    ),
    min_size=1,
    max_size=6,
)
STRANGE = (
    {"results": "many"},
    {"results": [None, 5, {"id": None}], "errors": {"a": 1}},
    {"errors": [7]},
    {"status": "?"},
)


class NastyPortal:
    """Keeps rows truly, and answers as the script says. What it made is what counts in the end.

    Attributes:
        made: key or contact id to how often it was carried out.
    """

    def __init__(self, script: Sequence[str], poison: frozenset[str], *, unique: bool) -> None:
        self._script = list(script)
        self._poison = poison
        self._unique = unique
        self.made: dict[str, int] = {}

    def get(self, _path: str, **names: Any) -> dict[str, Any]:
        raise Gone("deleted", code="OBJECT_NOT_FOUND")

    def post(self, path: str, body: Mapping[str, Any], **_: Any) -> Any:
        rows = body["inputs"]
        if path.endswith("batch/read"):
            found = [row["id"] for row in rows if row["id"] in self.made]
            return {"results": [{"id": str(9_000 + n), "properties": {"mikomi_key": k}} for n, k in enumerate(found)]}
        what = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        names = [str(row.get("objectWriteTraceId") or row["id"]) for row in rows]
        if what == "busy":
            raise Transient("busy")
        if what == "quota":
            raise QuotaExhausted("gone", resets_at=None)
        if what == "refused" and len(rows) > 1:
            raise Rejected("HubSpot answered 400", code="VALIDATION_ERROR")
        if len(rows) == 1 and names[0] in self._poison:
            raise Rejected("HubSpot answered 400", code="VALIDATION_ERROR")
        answer = self._carry_out(names)
        if what == "lost":
            raise OutcomeUnknown("cut")
        if what == "html":
            raise Unexpected("HTML")
        return self._garble(answer, what)

    def _carry_out(self, names: Sequence[str]) -> dict[str, Any]:
        results, errors = [], []
        for name in names:
            if name in self._poison or (self._unique and name.startswith("mk1-") and name in self.made):
                context = {"objectWriteTraceId": [name], "ids": [name]}
                errors.append({"category": "VALIDATION_ERROR", "context": context})
                continue
            self.made[name] = self.made.get(name, 0) + 1
            results.append(
                {"id": str(1_000 + len(self.made)) if name.startswith("mk1-") else name, "objectWriteTraceId": name}
            )
        return {"results": results, "errors": errors}

    @staticmethod
    def _garble(answer: dict[str, Any], what: str) -> Any:
        match what:
            case "shuffled":
                return {"results": answer["results"][::-1], "errors": answer["errors"][::-1]}
            case "fewer":
                return {"results": answer["results"][1:], "errors": answer["errors"][1:]}
            case "double":
                return {"results": answer["results"] * 2, "errors": answer["errors"] * 2}
            case "silent":
                return {}
            case "strange":
                errors = [{"status": "error"}, {"context": None}, {"context": {"ids": None, "objectWriteTraceId": "x"}}]
                return {"results": answer["results"][:1], "errors": errors}
        return answer


def send(
    portal: NastyPortal, writes: Sequence[Write], *, unique: bool
) -> tuple[list[WriteResult], ConnectorError | None]:
    api = cast("HubSpotApi", portal)
    fields = FieldWriter(api, "hubspot", frozenset(OUTPUT_FIELDS))
    tasks = TaskWriter(api, "hubspot", lambda: unique, lambda day: day * 86_400_000)
    results: list[WriteResult] = []
    try:
        for result in write_all(fields, tasks, writes):
            results.append(result)  # noqa: PERF402 - what came before a fault must be kept
    except ConnectorError as error:
        return results, error
    return results, None


def refs(count: int) -> list[RecordRef]:
    return [RecordRef("hubspot", "contact", str(100 + n)) for n in range(count)]


@given(script=Script, count=st.integers(1, 9), poisoned=st.sets(st.integers(0, 8)))
def test_every_field_row_ends_as_it_really_did(script: list[str], count: int, poisoned: set[int]) -> None:
    portal = NastyPortal(script, frozenset(str(100 + n) for n in poisoned), unique=True)
    writes = [FieldWrite(ref, {"score": 5}) for ref in refs(count)]
    results, error = send(portal, writes, unique=True)
    assert [r.write for r in results] == writes[: len(results)]
    assert error is not None or len(results) == count
    for result in results:
        name = result.write.ref.id
        assert result.status in {"ok", "rejected", "retryable", "unknown"}
        if result.status == "ok":
            assert portal.made[name] >= 1
        else:
            assert result.error is not None
        if result.status in {"rejected", "retryable"}:
            assert name not in portal.made
    for write in writes[len(results) :]:
        assert write.ref.id not in portal.made


@given(script=Script, count=st.integers(1, 9), poisoned=st.sets(st.integers(0, 8)), unique=st.booleans())
def test_every_task_ends_as_it_really_did(script: list[str], count: int, poisoned: set[int], unique: bool) -> None:
    portal = NastyPortal(script, frozenset(f"mk1-{n}" for n in poisoned), unique=unique)
    writes = [TaskWrite(f"mk1-{n}", ref, "7", "架電", "本文", 20_000) for n, ref in enumerate(refs(count))]
    results, error = send(portal, writes, unique=unique)
    assert [r.write for r in results] == writes[: len(results)]
    assert error is not None or len(results) == count
    for result in results:
        assert isinstance(result.write, TaskWrite)
        if result.status == "ok":
            assert portal.made[result.write.key] == 1
            assert result.crm_id is not None
        if result.status in {"rejected", "retryable"}:
            assert result.write.key not in portal.made
            assert result.error is not None
    for write in writes[len(results) :]:
        assert write.key not in portal.made
    assert max(portal.made.values(), default=0) <= 1


@given(strange=st.sampled_from(STRANGE), unique=st.booleans())
def test_an_answer_of_another_shape_says_nothing(strange: dict[str, Any], unique: bool) -> None:
    class Strange(NastyPortal):
        def post(self, path: str, body: Mapping[str, Any], **_: Any) -> Any:
            return {"results": []} if path.endswith("batch/read") else strange

    portal = Strange(["honest"], frozenset(), unique=unique)
    writes: list[Write] = [FieldWrite(ref, {"score": 5}) for ref in refs(2)]
    writes += [TaskWrite(f"mk1-{n}", ref, "7", "架電", "本文", 20_000) for n, ref in enumerate(refs(2))]
    results, error = send(portal, writes, unique=unique)
    assert error is None
    assert {r.status for r in results} == {"unknown"}
