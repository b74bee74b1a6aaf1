"""What Mikomi needs in the org: its fields, the key on tasks, and one permission set that lets the integration user use them.

Fields are made through the Tooling API, rights as ordinary rows. Existing things are checked, never changed or deleted.
The key is authored on Activity, from which Task inherits it (reference/salesforce.md §5.1).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from connectors.fields import OUTPUT_FIELDS, TASK_KEY, OutputField
from connectors.protocol import SetupResult, SetupStep
from connectors.salesforce.resources import SalesforceApi
from connectors.salesforce.schema import KEY_FIELD, OUR_FIELDS, PERSON_OBJECTS, Column, Shape
from connectors.salesforce.soql import quote, select
from connectors.salesforce.wording import Wording
from connectors.secrets import variable_name
from core.errors import Forbidden, Rejected

PERMISSION_SET = "Mikomi_Integration"
_DESCRIBED = {
    "integer": "double",
    "text": "string",
    "long_text": "textarea",
    "picklist": "picklist",
    "date": "date",
    "datetime": "datetime",
}
_METADATA = {
    "Number": "double",
    "Text": "string",
    "LongTextArea": "textarea",
    "Picklist": "picklist",
    "Date": "date",
    "DateTime": "datetime",
}
_TWICE = frozenset({"DUPLICATE_DEVELOPER_NAME", "DUPLICATE_VALUE", "DUPLICATE_DETECTED"})
RIGHTS_STEP = f"rights of permission set {PERMISSION_SET}"
SET_STEP = f"permission set {PERMISSION_SET}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One custom field: where it is authored, where its rights are given, and what it is."""

    author: str  # Lead, Contact or Activity
    seen_on: str  # Lead, Contact or Task
    api_name: str
    definition: OutputField

    @property
    def full_name(self) -> str:
        return f"{self.author}.{self.api_name}"

    @property
    def step(self) -> str:
        return f"field {self.full_name}"


@dataclass(slots=True)
class _State:
    """What is there now. Ids are None where the thing is missing."""

    fields: dict[str, str | None]  # full name to id of its CustomField row; None: seen by describe only
    blocked: dict[str, str]
    permission_set: str | None
    rights: frozenset[tuple[str, bool]]  # (Lead.Mikomi_Score__c, may edit)
    assigned: bool


def wanted_fields(which: Literal["all", "minimal"], objects: Sequence[str]) -> list[Wanted]:
    """Our fields on these person objects, and the key on tasks."""
    fields = [
        Wanted(sobject, sobject, OUR_FIELDS[name], definition)
        for sobject in objects
        for name, definition in OUTPUT_FIELDS.items()
        if which == "all" or definition.minimal
    ]
    return [*fields, Wanted("Activity", "Task", KEY_FIELD, TASK_KEY)]


class Setup:
    """Plans and carries out the set-up.

    Args:
        api: as the integration user.
        admin: as an administrator; the same as `api` where no administrator's token was given.
        shapes: what the integration user sees.
    """

    def __init__(
        self,
        api: SalesforceApi,
        admin: SalesforceApi,
        shapes: Mapping[str, Shape],
        *,
        which: Literal["all", "minimal"],
        say: Wording,
    ) -> None:
        self._api = api
        self._admin = admin
        self._shapes = shapes
        self._say = say
        self._variable = variable_name(api.name, "setup_access_token")
        self._wanted = wanted_fields(which, [s for s in PERSON_OBJECTS.values() if s in shapes])
        self._identity: dict[str, Any] = {}

    def plan(self) -> list[SetupStep]:
        """See `Connector.plan_setup`. No call is made where the describes show that all is as it should be."""
        return self._steps(self._look())

    def apply(self) -> Iterator[SetupResult]:
        """See `Connector.apply_setup`."""
        state = self._look()
        fields = {wanted.step: wanted for wanted in self._wanted}
        for step in self._steps(state):
            if step.done:
                yield SetupResult(step, "unchanged")
            elif step.blocked:
                yield SetupResult(step, "failed", step.blocked)
            elif step.name in fields:
                yield self._carry_out(step, lambda f=fields[step.name]: self._create_field(f, state))
            elif step.name == SET_STEP:
                yield self._carry_out(step, lambda: self._create_set(state))
            elif step.name == RIGHTS_STEP:
                yield self._carry_out(step, lambda: self._grant(state))
            else:
                yield self._carry_out(step, lambda: self._assign(state))

    # --- looking -------------------------------------------------------------------------------------------------------

    def _all_usable(self) -> bool:
        """Every field is there with its type, and the integration user can do with it what it must."""
        columns = [self._column(wanted) for wanted in self._wanted]
        return all(
            column is not None
            and column.type == _DESCRIBED[wanted.definition.type]
            and (wanted.definition.by_rep or column.updateable)
            for wanted, column in zip(self._wanted, columns, strict=True)
        )

    def _column(self, wanted: Wanted) -> Column | None:
        shape = self._shapes.get(wanted.seen_on)
        return shape.columns.get(wanted.api_name) if shape is not None else None

    def _check_same_org(self) -> dict[str, Any]:
        mine = self._api.identity()
        if self._admin is not self._api and self._admin.identity().get("organization_id") != mine.get(
            "organization_id"
        ):
            raise Forbidden(
                "the set-up token belongs to another org",
                system=self._api.name,
                hint="take a token of an administrator of this org",
            )
        return mine

    def _look(self) -> _State:
        if self._all_usable():
            return _State({w.full_name: None for w in self._wanted}, {}, None, frozenset(), assigned=True)
        self._identity = self._check_same_org()
        fields: dict[str, str | None] = {}
        blocked: dict[str, str] = {}
        try:
            fields.update(self._authored())
            may_author = True
        except Forbidden:
            may_author = False
        for wanted in self._wanted:
            column = self._column(wanted)
            if column is not None:
                fields.setdefault(wanted.full_name, None)
                found: str | None = column.type
            elif fields.get(wanted.full_name) is not None:
                found = self._authored_type(fields[wanted.full_name] or "")
            else:
                found = None
                if not may_author:
                    blocked[wanted.full_name] = self._say("not_admin", variable=self._variable)
            if found is not None and found != _DESCRIBED[wanted.definition.type]:
                needed = _DESCRIBED[wanted.definition.type]
                blocked[wanted.full_name] = self._say("wrong_type", found=found, needed=needed)
        permission_set, rights, assigned = self._look_at_rights()
        return _State(fields, blocked, permission_set, rights, assigned)

    def _authored(self) -> dict[str, str]:
        body = self._admin.get(
            "tooling/query",
            endpoint="setup: fields",
            params={"q": "SELECT Id, DeveloperName, TableEnumOrId FROM CustomField WHERE DeveloperName LIKE 'Mikomi%'"},
        )
        rows = body.get("records", []) if isinstance(body, dict) else []
        return {f"{row['TableEnumOrId']}.{row['DeveloperName']}__c": str(row["Id"]) for row in rows}

    def _authored_type(self, field_id: str) -> str | None:
        body = self._admin.get(f"tooling/sobjects/CustomField/{field_id}", endpoint="setup: field")
        metadata = body.get("Metadata") if isinstance(body, dict) else None
        kind = metadata.get("type") if isinstance(metadata, dict) else None
        return _METADATA.get(str(kind), str(kind)) if kind else None

    def _look_at_rights(self) -> tuple[str | None, frozenset[tuple[str, bool]], bool]:
        name = quote(PERMISSION_SET)
        user = quote(str(self._identity.get("user_id", "")))
        answers = self._admin.query(
            [
                select(("Id",), "PermissionSet", f"Name = {name}"),
                select(("Field", "PermissionsEdit", "PermissionsRead"), "FieldPermissions", f"Parent.Name = {name}"),
                select(("Id",), "PermissionSetAssignment", f"PermissionSet.Name = {name} AND AssigneeId = {user}"),
            ],
            endpoint="setup: rights",
        )
        for answer in answers:
            if answer.error is not None:
                return None, frozenset(), False  # not visible without an administrator's token
        sets, rights, assignments = (answer.rows for answer in answers)
        given = frozenset((row["Field"], bool(row["PermissionsEdit"])) for row in rights if row["PermissionsRead"])
        return (sets[0]["Id"] if sets else None), given, bool(assignments)

    def _lacking(self, state: _State) -> list[Wanted]:
        """Fields that the integration user cannot use as it must: seen, and written unless the rep writes them."""
        lacking = []
        for wanted in self._wanted:
            right = f"{wanted.seen_on}.{wanted.api_name}"
            enough = {(right, True)} if not wanted.definition.by_rep else {(right, True), (right, False)}
            column = self._column(wanted)
            usable = column is not None and (wanted.definition.by_rep or column.updateable)
            if not usable and not enough & state.rights:
                lacking.append(wanted)
        return lacking

    def _steps(self, state: _State) -> list[SetupStep]:
        steps = []
        for wanted in self._wanted:
            definition = wanted.definition
            label = definition.ja if self._say.japanese else definition.en
            steps.append(
                SetupStep(
                    wanted.step,
                    f"{label} ({definition.type}{f', {definition.length}' if definition.length else ''})",
                    done=wanted.full_name in state.fields and wanted.full_name not in state.blocked,
                    blocked=state.blocked.get(wanted.full_name, ""),
                )
            )
        works = not self._lacking(state)
        set_done = state.permission_set is not None or (works and state.assigned)
        steps.append(SetupStep(SET_STEP, self._say("set_step"), done=set_done))
        steps.append(SetupStep(RIGHTS_STEP, self._say("rights_step", count=len(self._wanted)), done=works))
        user = self._say("assign_step", user=self._identity.get("preferred_username") or self._say("the_user"))
        steps.append(SetupStep(f"assignment of {PERMISSION_SET}", user, done=works and state.assigned))
        return steps

    # --- doing ---------------------------------------------------------------------------------------------------------

    def _carry_out(self, step: SetupStep, act: Any) -> SetupResult:
        try:
            status: Literal["created", "unchanged"] = act()
        except Rejected as error:
            return SetupResult(step, "failed", error.message)
        except Forbidden as error:
            return SetupResult(step, "failed", f"{error.message}; {error.hint}")
        return SetupResult(step, status)

    def _create_field(self, wanted: Wanted, state: _State) -> str:
        """The key is made unique where the org lets it be, else plain: tasks are sent in quarantine then."""
        try:
            return self._author(wanted, self._metadata(wanted), state)
        except Rejected:
            if wanted.definition is not TASK_KEY:
                raise
        plain = {
            name: value for name, value in self._metadata(wanted).items() if name not in {"unique", "caseSensitive"}
        }
        return self._author(wanted, plain, state)

    def _author(self, wanted: Wanted, metadata: dict[str, Any], state: _State) -> Literal["created", "unchanged"]:
        document = {"FullName": wanted.full_name, "Metadata": metadata}
        try:
            answer = self._admin.send(
                "POST",
                "tooling/sobjects/CustomField",
                document,
                endpoint="setup: create field",
                kind="other",
                effect="repeatable",
            )
        except Rejected as error:
            if error.code not in _TWICE:
                raise
            state.fields[wanted.full_name] = None
            return "unchanged"
        state.fields[wanted.full_name] = str(answer.get("id")) if isinstance(answer, dict) else None
        return "created"

    def _metadata(self, wanted: Wanted) -> dict[str, Any]:
        definition = wanted.definition
        japanese = self._say.japanese
        metadata: dict[str, Any] = {
            "label": definition.ja if japanese else definition.en,
            "description": self._say(_note(definition)),
        }
        match definition.type:
            case "integer":
                metadata |= {"type": "Number", "precision": 9, "scale": 0}
            case "text":
                metadata |= {"type": "Text", "length": definition.length}
            case "long_text":
                metadata |= {"type": "LongTextArea", "length": definition.length, "visibleLines": 6}
            case "date":
                metadata |= {"type": "Date"}
            case "datetime":
                metadata |= {"type": "DateTime"}
            case "picklist":
                values = [
                    {"valueName": o.value, "label": o.ja if japanese else o.en, "default": False}
                    for o in definition.options
                ]
                definition_block = {"sorted": False, "value": values}
                metadata |= {
                    "type": "Picklist",
                    "valueSet": {"restricted": True, "valueSetDefinition": definition_block},
                }
        if definition is TASK_KEY:
            metadata |= {"externalId": True, "unique": True, "caseSensitive": True}
        return metadata

    def _create_set(self, state: _State) -> str:
        document = {
            "Name": PERMISSION_SET,
            "Label": "Mikomi Integration",
            "Description": "Rights of the integration user on Mikomi's fields. Made by mikomi setup.",
        }
        try:
            answer = self._admin.send(
                "POST",
                "sobjects/PermissionSet",
                document,
                endpoint="setup: permission set",
                kind="other",
                effect="once",
            )
        except Rejected as error:
            if error.code not in _TWICE:
                raise
            state.permission_set = self._look_at_rights()[0]
            return "unchanged"
        state.permission_set = str(answer["id"])
        return "created"

    def _grant(self, state: _State) -> str:
        """All missing rights in one call of up to 200 rows."""
        if state.permission_set is None:
            raise Rejected(f"the permission set {PERMISSION_SET} is missing", code="NOT_FOUND")
        wanted = [w for w in self._lacking(state) if w.full_name in state.fields]
        missing = [w.full_name for w in self._lacking(state) if w.full_name not in state.fields]
        rows = [
            {
                "attributes": {"type": "FieldPermissions"},
                "ParentId": state.permission_set,
                "SobjectType": w.seen_on,
                "Field": f"{w.seen_on}.{w.api_name}",
                "PermissionsRead": True,
                "PermissionsEdit": not w.definition.by_rep,
            }
            for w in wanted
        ]
        answers = self._admin.send(
            "POST",
            "composite/sobjects",
            {"allOrNone": False, "records": rows},
            endpoint="setup: rights",
            kind="other",
            effect="repeatable",
        )
        failures = []
        for row, answer in zip(rows, answers if isinstance(answers, list) else [], strict=True):
            code = (answer.get("errors") or [{}])[0].get("statusCode", "") if not answer.get("success") else ""
            if code and code not in _TWICE:
                failures.append(f"{row['Field']}: {code}")
        if failures or missing:
            raise Rejected("; ".join([*failures, *(f"{name} does not exist" for name in missing)]), code="PARTIAL")
        return "created" if rows else "unchanged"

    def _assign(self, state: _State) -> str:
        if state.permission_set is None:
            raise Rejected(f"the permission set {PERMISSION_SET} is missing", code="NOT_FOUND")
        if state.assigned:
            return "unchanged"
        document = {"PermissionSetId": state.permission_set, "AssigneeId": self._identity["user_id"]}
        try:
            self._admin.send(
                "POST",
                "sobjects/PermissionSetAssignment",
                document,
                endpoint="setup: assignment",
                kind="other",
                effect="repeatable",
            )
        except Rejected as error:
            if error.code not in _TWICE:
                raise
            return "unchanged"
        return "created"


def _note(definition: OutputField) -> str:
    if definition is TASK_KEY:
        return "note_key"
    return "note_by_rep" if definition.by_rep else "note_ours"
