"""Every input of a batch has its own end, whatever Salesforce answers: an org of the test's own making behind the writer (I11)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.protocol import FieldWrite, TaskWrite, Write, WriteResult
from connectors.salesforce.errors import row_error, translate
from connectors.salesforce.resources import Answer, Part, PartAnswer, SalesforceApi
from connectors.salesforce.schema import KEY_FIELD, OUR_FIELDS, Column, Layout, Shape
from connectors.salesforce.write import Writer
from core.errors import ConnectorError, OutcomeUnknown, QuotaExhausted, Rejected, Transient, Unexpected
from core.records import RecordRef
from tests.connectors.clocks import PatientClock

ANSWERS = (
    "honest",
    "shuffled",
    "fewer",
    "same ids",
    "strange rows",
    "no list",
    "refused",
    "lost",
    "busy",
    "html",
    "quota",
    "500",
)
Script = st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=6)
COLUMN = Column(KEY_FIELD, "string", True, True, True, True, True, True, 64, ())
TASK = Shape("Task", {KEY_FIELD: COLUMN}, True, True)
LEAD = Shape("Lead", {OUR_FIELDS["score"]: replace(COLUMN, name=OUR_FIELDS["score"])}, True, True)
PLAIN = Shape("Task", {KEY_FIELD: replace(COLUMN, unique_key=False)}, True, True)


def layout(*, unique: bool) -> Layout:
    shapes = {"Task": TASK if unique else PLAIN, "Lead": LEAD}
    return Layout(shapes, {"lead": {}}, {}, {}, {"Lead": ("score",)}, {"Lead": frozenset({"score"})}, None, {})


class NastyOrg:
    """Keeps rows truly, and answers as the script says.

    Attributes:
        made: task key or record id to how often it was carried out.
    """

    def __init__(self, script: Sequence[str], poison: frozenset[str], *, unique: bool) -> None:
        self._script = list(script)
        self._poison = poison
        self._unique = unique
        self.made: dict[str, int] = {}

    def query(self, queries: Sequence[str], **_: Any) -> list[Answer]:
        if "MasterRecordId" in queries[0] or KEY_FIELD not in queries[0]:
            return [Answer([], 0, None, 0) for _ in queries]
        rows = [{KEY_FIELD: k, "Id": self._id(k)} for k in self.made if f"'{k}'" in queries[0]]
        return [Answer(rows, len(rows), None, 0)]

    def send(self, _method: str, _path: str, document: Mapping[str, Any], **_: Any) -> Any:
        what = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        names = [str(row.get(KEY_FIELD) or row["id"]) for row in document["records"]]
        if what == "busy":
            raise Transient("busy")
        if what == "quota":
            raise QuotaExhausted("gone", resets_at=None)
        if what == "refused" or (len(names) == 1 and names[0] in self._poison):
            raise Rejected("refused", code="JSON_PARSER_ERROR")
        rows = [self._carry_out(name) for name in names]
        if what in {"lost", "500"}:
            raise OutcomeUnknown("cut")
        if what == "html":
            raise Unexpected("HTML")
        return self._garble(rows, what)

    def composite(self, parts: Sequence[Part], **_: Any) -> list[PartAnswer]:
        found = []
        for part in parts:
            try:
                found.append(PartAnswer(200, self.send(part.method, part.path, part.body or {}), 0))
            except Rejected as error:
                found.append(PartAnswer(400, [{"errorCode": error.code, "message": "refused"}], 0))
        return found

    def part_error(self, part: PartAnswer) -> ConnectorError:
        return row_error(part.body[0]["errorCode"], "") if part.status == 400 else translate(part.status, None, now=0)

    def _id(self, name: str) -> str:
        return f"00T{int(name.rpartition('-')[2]):012d}"

    def _carry_out(self, name: str) -> dict[str, Any]:
        task = name.startswith("mk1-")
        if name in self._poison:
            return {"success": False, "errors": [{"statusCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "no"}]}
        if not (task and self._unique and name in self.made):
            self.made[name] = self.made.get(name, 0) + 1
        return {"success": True, "id": self._id(name) if task else name, "errors": []}

    @staticmethod
    def _garble(rows: list[dict[str, Any]], what: str) -> Any:
        match what:
            case "shuffled":
                return rows[::-1]
            case "fewer":
                return rows[:-1]
            case "same ids":
                return [{**row, "id": "00T000000000999"} for row in rows]
            case "strange rows":
                return [None, {"success": "yes"}, {"success": False}, {"success": False, "errors": "?"}, 5][: len(rows)]
            case "no list":
                return {"hasErrors": False}
        return rows


def send(org: NastyOrg, writes: Sequence[Write], *, unique: bool) -> tuple[list[WriteResult], ConnectorError | None]:
    writer = Writer(cast("SalesforceApi", org), layout(unique=unique), "salesforce", PatientClock())
    results: list[WriteResult] = []
    try:
        for result in writer.write(writes):
            results.append(result)  # noqa: PERF402 - what came before a fault must be kept
    except ConnectorError as error:
        return results, error
    return results, None


def refs(count: int) -> list[RecordRef]:
    return [RecordRef("salesforce", "lead", f"00Q{n:012d}") for n in range(count)]


def check(org: NastyOrg, writes: Sequence[Write], results: Sequence[WriteResult], error: ConnectorError | None) -> None:
    assert [r.write for r in results] == list(writes[: len(results)])
    assert error is not None or len(results) == len(writes)
    for result in results:
        name = name_of(result.write)
        assert (result.error is None) is (result.status == "ok")
        if result.status == "ok":
            assert org.made[name] >= 1
        if result.status in {"rejected", "retryable"}:
            assert name not in org.made
    for write in writes[len(results) :]:
        assert name_of(write) not in org.made


def name_of(write: Write) -> str:
    return write.key if isinstance(write, TaskWrite) else write.ref.id


@given(script=Script, count=st.integers(1, 9), poisoned=st.sets(st.integers(0, 8)))
def test_every_field_row_ends_as_it_really_did(script: list[str], count: int, poisoned: set[int]) -> None:
    org = NastyOrg(script, frozenset(f"00Q{n:012d}" for n in poisoned), unique=True)
    writes = [FieldWrite(ref, {"score": 5}) for ref in refs(count)]
    results, error = send(org, writes, unique=True)
    check(org, writes, results, error)


@given(
    script=Script,
    count=st.integers(1, 9),
    poisoned=st.sets(st.integers(0, 8)),
    unique=st.booleans(),
)
def test_every_task_ends_as_it_really_did(script: list[str], count: int, poisoned: set[int], unique: bool) -> None:
    org = NastyOrg(script, frozenset(f"mk1-{n}" for n in poisoned), unique=unique)
    writes = [
        TaskWrite(f"mk1-{n}", ref, "005000000000001", "架電", "本文", 20_000) for n, ref in enumerate(refs(count))
    ]
    results, error = send(org, writes, unique=unique)
    check(org, writes, results, error)
    assert max(org.made.values(), default=0) <= 1


@pytest.mark.parametrize("unique", [True, False])
def test_made_and_refused_tasks_in_another_order_are_told_apart_by_their_keys(unique: bool) -> None:
    """Rows of tasks carry ids alone: where one was refused, the keys say whose answer was whose."""
    org = NastyOrg(["shuffled"], frozenset({"mk1-0"}), unique=unique)
    writes = [TaskWrite(f"mk1-{n}", ref, "005000000000001", "架電", "本文", 20_000) for n, ref in enumerate(refs(3))]
    results, error = send(org, writes, unique=unique)
    assert error is None
    assert [result.status for result in results] == ["unknown", "ok", "ok"]
    assert [result.crm_id for result in results[1:]] == ["00T000000000001", "00T000000000002"]
    honest = NastyOrg(["honest"], frozenset({"mk1-0"}), unique=unique)
    results, error = send(honest, writes, unique=unique)
    assert [result.status for result in results] == ["rejected", "ok", "ok"]
