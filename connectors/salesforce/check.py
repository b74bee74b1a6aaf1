"""The doctor's questions to a Salesforce org: can it work, and which signals are there. Reads only."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from connectors.mapping import Usage
from connectors.protocol import Diagnosis, Finding, Level, Signal
from connectors.salesforce.facts import Translator
from connectors.salesforce.permissions import ACTIVITIES, FIELDS_EDITED, FIELDS_READ, PARENTS, USER_PERMISSIONS
from connectors.salesforce.read import flatten
from connectors.salesforce.resources import Answer, SalesforceApi
from connectors.salesforce.schema import (
    ACTIVITY_OBJECTS,
    KEY_FIELD,
    KIND_OBJECTS,
    OBJECTS,
    PERSON_OBJECTS,
    Layout,
    Shape,
    WrittenMapping,
    lay_out,
)
from connectors.salesforce.settings import SalesforceSettings
from connectors.salesforce.setup import Wanted, wanted_fields
from connectors.salesforce.soql import select, stamp
from connectors.salesforce.streams import FIXED, columns_of, lacking_columns, stamp_of
from connectors.salesforce.wording import Wording
from connectors.values import LocalDays
from core.errors import ConnectorError, Forbidden, InvalidMapping
from core.records import ACTIVITY_KINDS, DAY_MS, REQUIRED_FIELDS, ActivityRow

SETUP_HINT = "mikomi setup --apply"
SIGNAL_DAYS = 90
COUNTED = ("Lead", "Contact", "Account", "Opportunity")
HIDDEN_SHARE = 0.02
HIDDEN_ROWS = 5
"""Record counts lag a little behind: fewer missing rows than this say nothing."""


class Doctor:
    """One examination of one org."""

    def __init__(
        self,
        name: str,
        settings: SalesforceSettings,
        mapping: WrittenMapping,
        usage: Usage,
        api: SalesforceApi,
        days: LocalDays,
        say: Wording,
    ) -> None:
        self._name = name
        self._settings = settings
        self._mapping = mapping
        self._usage = usage
        self._api = api
        self._days = days
        self._say = say

    def examine(self, see: Callable[[], Mapping[str, Shape]]) -> Diagnosis:
        """See `Connector.check`. A credential that fails is a finding, not an exception."""
        findings: list[Finding] = []
        try:
            findings += self._connection()
            findings += self._quota()
            findings += self._edition()
            shapes = see()
            findings += self._objects(shapes)
            layout = lay_out(self._name, self._mapping, shapes, shapes.get("Account"), self._usage)
            findings += layout.findings or [Finding("ok", "mapping", self._say("mapped"))]
            findings += self._hidden_fields(shapes)
            findings += self._own_fields(layout)
            findings += self._tasks(layout)
            findings += self._hidden_rows(shapes)
            return Diagnosis(tuple(findings), tuple(self._signals(layout)))
        except (ConnectorError, InvalidMapping) as error:
            findings.append(self._failure(error))
            return Diagnosis(tuple(findings))

    def _failure(self, error: ConnectorError | InvalidMapping) -> Finding:
        subject = "mapping" if isinstance(error, InvalidMapping) else "connection"
        return Finding("error", subject, str(error), error.hint or self._say("later"))

    # --- connection ----------------------------------------------------------------------------------------------------

    def _connection(self) -> Iterator[Finding]:
        say, wanted = self._say, self._settings.api_version
        who = self._api.identity()
        user, org = who.get("preferred_username", "?"), who.get("organization_id", "?")
        yield Finding("ok", "connection", say("signed_in", user=user, org=org))
        versions = self._api.versions()
        newest = versions[-1] if versions else "?"
        if wanted in versions:
            yield Finding("ok", "API version", say("version", version=wanted, newest=newest))
        else:
            hint = say("version_hint", newest=newest)
            yield Finding("error", "API version", say("version_gone", version=wanted), hint)

    def _quota(self) -> Iterator[Finding]:
        say, share = self._say, self._settings.quota_stop_at_percent
        try:
            limits = self._api.limits().get("DailyApiRequests") or {}
        except Forbidden as error:
            if error.message.startswith("API_DISABLED_FOR_ORG"):
                raise
            hint = say("grant_user", name=USER_PERMISSIONS["ViewSetup"])
            yield Finding("warning", "daily API calls", say("quota_unknown"), hint)
            return
        most, left = limits.get("Max"), limits.get("Remaining")
        if not isinstance(most, int) or not isinstance(left, int):
            yield Finding("info", "daily API calls", say("quota_unknown"))
        elif share is not None and most - left >= most * share / 100:
            message = say("quota_high", left=f"{left:,}", most=f"{most:,}", share=f"{share:g}")
            yield Finding("warning", "daily API calls", message, say("quota_hint"))
        else:
            yield Finding("ok", "daily API calls", say("quota", left=f"{left:,}", most=f"{most:,}"))

    def _edition(self) -> Iterator[Finding]:
        columns = ("OrganizationType", "IsSandbox", "TimeZoneSidKey")
        [answer] = self._api.query([select(columns, "Organization", tail="LIMIT 1")], endpoint="organization")
        if answer.error is not None or not answer.rows:
            yield Finding("info", "edition", self._say("edition_hidden"))
            return
        row = answer.rows[0]
        kind = self._say("sandbox_org" if row.get("IsSandbox") else "production")
        edition, zone = row.get("OrganizationType"), row.get("TimeZoneSidKey")
        yield Finding("ok", "edition", self._say("edition", edition=edition, kind=kind, zone=zone))

    # --- permissions ---------------------------------------------------------------------------------------------------

    def _objects(self, shapes: Mapping[str, Shape]) -> Iterator[Finding]:
        readable = []
        for name in OBJECTS:
            shape = shapes.get(name)
            level: Level = "error" if name in PERSON_OBJECTS.values() else "warning"
            hint = self._say("grant_read", name=PARENTS.get(name, name))
            if shape is None and name in ACTIVITIES:
                hint = self._say("grant_user", name=USER_PERMISSIONS["ActivitiesAccess"])
            if shape is None:
                yield Finding(level, f"read {name}", self._say("object_hidden"), hint)
            elif lacking := (*lacking_columns(shape), *(() if stamp_of(shape) else ("SystemModstamp",))):
                yield Finding(level, f"read {name}", self._say("columns_hidden", names=", ".join(lacking)), hint)
            else:
                readable.append(name)
        if readable:
            yield Finding("ok", "read access", ", ".join(readable))

    def _hidden_fields(self, shapes: Mapping[str, Shape]) -> Iterator[Finding]:
        """Fields under field-level security that the mapping in use reads, and this user does not see."""
        for name, fields in FIELDS_READ.items():
            shape = shapes.get(name)
            if shape is None:
                continue
            hidden = [field for field in fields if not shape.has(field) and field in self._read_of(name)]
            if hidden:
                message = self._say("columns_hidden", names=", ".join(f"{name}.{field}" for field in hidden))
                yield Finding("warning", f"fields of {name}", message, self._say("grant_field", name=name))

    def _read_of(self, name: str) -> set[str]:
        """Every field of an object that may be read for this use, as the mapping is written."""
        kind = {sobject: kind for kind, sobject in KIND_OBJECTS.items()}.get(name, "")
        sources = self._mapping.fields.get(kind, {})
        wanted = self._usage.fields | set(REQUIRED_FIELDS)
        found = {column for canonical in wanted for column in sources.get(canonical, ())} | set(FIXED.get(name, ()))
        if name in PERSON_OBJECTS.values():
            found |= {column for columns in self._mapping.consent.values() for column in columns}
        if name in self._mapping.tables and self._usage.any_of(self._mapping.tables[name].kinds):
            found |= set(self._mapping.tables[name].properties)
        return found | (set(FIELDS_EDITED["Task"]) if name == "Task" else set())

    def _own_fields(self, layout: Layout) -> Iterator[Finding]:
        say = self._say
        objects = [PERSON_OBJECTS[kind] for kind in layout.person_kinds]
        wanted = [w for w in wanted_fields(self._settings.fields, objects) if w.seen_on != "Task"]
        missing = [w for w in wanted if not layout.shapes[w.seen_on].has(w.api_name)]
        locked = [w for w in wanted if w not in missing and not w.definition.by_rep and not _writable(layout, w)]
        if missing:
            message = say("fields_missing", count=len(missing), total=len(wanted), names=self._some(missing))
            yield Finding("warning", "score fields", message, SETUP_HINT)
        if locked:
            yield Finding("error", "score fields", say("fields_locked", names=self._some(locked)), SETUP_HINT)
        if not missing and not locked:
            yield Finding("ok", "score fields", say("fields_ok", total=len(wanted)))
        for sobject in objects:
            if not layout.shapes[sobject].updateable:
                yield Finding("error", f"write {sobject}", say("no_edit"), say("grant_edit", name=sobject))

    def _some(self, fields: list[Wanted]) -> str:
        names = ", ".join(f"{w.seen_on}.{w.api_name}" for w in fields[:4])
        return self._say("and_more", names=names, count=len(fields) - 4) if len(fields) > 4 else names

    def _tasks(self, layout: Layout) -> Iterator[Finding]:
        task = layout.shapes.get("Task")
        if task is None or not task.createable:
            yield Finding("warning", "create tasks", self._say("no_tasks"), self._say("tasks_hint"))
        elif locked := [f for f in FIELDS_EDITED["Task"] if f in task.columns and not task.columns[f].createable]:
            message = self._say("fields_locked", names=", ".join(f"Task.{field}" for field in locked))
            yield Finding("warning", "create tasks", message, self._say("grant_field_edit", name="Task"))
        elif layout.plain_key:
            yield Finding("info", "create tasks", self._say("key_plain", key=KEY_FIELD))
        elif not layout.task_key:
            yield Finding("warning", "create tasks", self._say("no_key", key=KEY_FIELD), SETUP_HINT)
        else:
            yield Finding("ok", "create tasks", self._say("tasks_ok"))

    def _hidden_rows(self, shapes: Mapping[str, Shape]) -> Iterator[Finding]:
        """Sharing rules filter silently: what we count against what the org says it has."""
        names = [name for name in COUNTED if name in shapes]
        body = self._api.get("limits/recordCount", endpoint="record counts", params={"sObjects": ",".join(names)})
        counted = body.get("sObjects", []) if isinstance(body, dict) else []
        there = {item["name"]: int(item["count"]) for item in counted}
        texts = [select(("COUNT()",), name) for name in names]
        seen = []
        for name, answer in zip(names, self._api.query(texts, endpoint="visible rows", deleted=False), strict=True):
            total = there.get(name, 0)
            if answer.error is not None:
                yield Finding("warning", f"rows of {name}", answer.error.message, answer.error.hint)
            elif total - answer.total > max(HIDDEN_ROWS, total * HIDDEN_SHARE):
                message = self._say("rows_hidden", seen=f"{answer.total:,}", total=f"{total:,}")
                yield Finding("warning", f"rows of {name}", message, self._say("rows_hint", name=name))
            else:
                seen.append(f"{name} {answer.total:,}")
        if seen:
            yield Finding("ok", "visible rows", ", ".join(seen))

    # --- signals -------------------------------------------------------------------------------------------------------

    def _signals(self, layout: Layout) -> Iterator[Signal]:
        since = stamp(self._api.now() // 1000 * 1000 - SIGNAL_DAYS * DAY_MS)
        names = [name for name in ACTIVITY_OBJECTS if name in layout.shapes and name in layout.tables]
        texts = [
            select(columns_of(name, layout), name, f"CreatedDate >= {since}", "ORDER BY CreatedDate DESC")
            for name in names
        ]
        answers = self._api.query(texts, endpoint="signals", deleted=False) if texts else []
        origins: dict[str, tuple[str, int | None, str]] = {}
        for name, answer in zip(names, answers, strict=True):
            counts, note = self._count(layout, name, answer)
            for kind in layout.tables[name].kinds:
                rows = None if answer.error is not None else counts[kind]
                before = origins.get(kind)
                if before is not None:
                    rows = (before[1] or 0) + (rows or 0)
                origins[kind] = (f"{before[0]}, {name}" if before else name, rows, note)
        for kind in ACTIVITY_KINDS:
            if kind in origins:
                origin, rows, note = origins[kind]
                yield Signal(kind, origin, available=True, rows=rows, note=note)
            else:
                yield Signal(kind, "", available=False, note=self._say("no_such_signal"))

    def _count(self, layout: Layout, name: str, answer: Answer) -> tuple[Counter[str], str]:
        """Activities in the answer by kind; scaled up from the newest page where there are more rows."""
        counts: Counter[str] = Counter()
        if answer.error is not None:
            return counts, answer.error.message
        mapper = Translator(self._name, layout, self._days, lambda _: None, None).mapper(name)
        columns = columns_of(name, layout)
        for row in answer.rows:
            try:
                fact = mapper(flatten(row, columns))
            except (KeyError, ValueError, TypeError):
                continue  # reading reports it; here it is one row less
            if isinstance(fact, ActivityRow):
                counts.update(activity.kind for activity in fact.activities)
        if answer.total <= len(answer.rows) or not answer.rows:
            return counts, ""
        scale = answer.total / len(answer.rows)
        return Counter({kind: round(n * scale) for kind, n in counts.items()}), self._say(
            "estimated", rows=f"{len(answer.rows):,}"
        )


def _writable(layout: Layout, wanted: Wanted) -> bool:
    return layout.shapes[wanted.seen_on].columns[wanted.api_name].updateable
