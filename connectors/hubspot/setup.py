"""What Mikomi creates in a portal: one property group, its own contact properties, and the key on tasks.

The key is unique where the portal lets a task's property be (tried, with two tasks of one key); else it is a plain one, and
tasks are sent in quarantine. Existing properties are checked and never changed. Names are for ever.
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from connectors.fields import OUTPUT_FIELDS, TASK_KEY, OutputField
from connectors.hubspot.api import HubSpotApi
from connectors.hubspot.permissions import WRITE_SCOPES
from connectors.hubspot.portal import PortalFacts
from connectors.hubspot.wording import Wording
from connectors.protocol import SetupResult, SetupStep
from core.errors import ConnectorError, Gone, Rejected

GROUP = "mikomi"
TASK_KEY_NAME = f"mikomi_{TASK_KEY.name}"
_TYPES = {
    "integer": ("number", "number"),
    "text": ("string", "text"),
    "long_text": ("string", "textarea"),
    "picklist": ("enumeration", "select"),
    "date": ("date", "date"),
    "datetime": ("datetime", "date"),
}
Language = Literal["ja", "en"]


@dataclass(frozen=True, slots=True)
class _Wanted:
    object_type: str
    name: str
    field: OutputField
    unique: bool = False

    @property
    def step(self) -> str:
        return f"{self.object_type}.{self.name}"


class Setup:
    """Plans and creates; idempotent."""

    def __init__(
        self, api: HubSpotApi, portal: PortalFacts, wording: Wording, *, minimal: bool, language: Language
    ) -> None:
        self._api = api
        self._portal = portal
        self._say = wording
        self._minimal = minimal
        self._language: Language = language

    def over(self, api: HubSpotApi, portal: PortalFacts) -> "Setup":
        """The same set-up over another credential."""
        return Setup(api, portal, self._say, minimal=self._minimal, language=self._language)

    def field_names(self) -> frozenset[str]:
        """Canonical names of the fields that this portal has, or will have."""
        return frozenset(f.name for f in OUTPUT_FIELDS.values() if f.minimal or not self._minimal)

    def wanted(self) -> list[_Wanted]:
        """Every property that is ours, in the order in which they are created."""
        names = self.field_names()
        contact = [_Wanted("contacts", f"mikomi_{n}", f) for n, f in OUTPUT_FIELDS.items() if n in names]
        return [*contact, _Wanted("tasks", TASK_KEY_NAME, TASK_KEY, unique=True)]

    def plan(self, *, fresh: bool = True) -> list[SetupStep]:
        """Every step with its state; changes nothing."""
        granted = self._api.scopes()
        steps = [self._lacking(scope) for scope in WRITE_SCOPES if granted is not None and scope not in granted]
        for object_type in ("contacts", "tasks"):
            done = self._has_group(object_type)
            steps.append(SetupStep(f"{object_type}.group", self._say("group", group=GROUP, object=object_type), done))
            existing = self._portal.properties(object_type, fresh=fresh)
            for wanted in (w for w in self.wanted() if w.object_type == object_type):
                found = existing.get(wanted.name)
                blocked = self.mismatch(wanted, found) if found else ""
                text = self._say("property", name=wanted.name, object=object_type, label=self._label(wanted.field))
                if wanted.unique and found is not None and not found.get("hasUniqueValue"):
                    text = self._say("key_plain", name=wanted.name)
                steps.append(SetupStep(wanted.step, text, done=found is not None and not blocked, blocked=blocked))
        return steps

    def writable(self) -> frozenset[str]:
        """Canonical names of our contact properties that the portal has and takes; described anew with every look at it."""
        existing = self._portal.properties("contacts")
        found = {w: existing[w.name] for w in self.wanted() if w.object_type == "contacts" and w.name in existing}
        return frozenset(
            w.field.name
            for w, shape in found.items()
            if not self.mismatch(w, shape) and not (shape.get("modificationMetadata") or {}).get("readOnlyValue")
        )

    def is_key_unique(self) -> bool | None:
        """Whether HubSpot keeps the key on tasks unique, as last described; None where tasks have no such property."""
        found = self._portal.properties("tasks").get(TASK_KEY_NAME)
        return None if found is None else bool(found.get("hasUniqueValue"))

    def apply(self) -> Iterator[SetupResult]:
        """Carry out what the plan shows as not done."""
        wanted = {w.step: w for w in self.wanted()}
        for step in self.plan():
            if step.done:
                yield SetupResult(step, "unchanged")
            elif step.blocked:
                yield SetupResult(step, "failed", step.blocked)
            elif step.name.endswith(".group"):
                yield self._create_group(step, step.name.removesuffix(".group"))
            else:
                yield self._create_property(step, wanted[step.name])
        for object_type in ("contacts", "tasks"):
            self._portal.properties(object_type, fresh=True)

    def _lacking(self, scope: str) -> SetupStep:
        """Only an administrator can grant it, in the app's settings."""
        hint = self._say("scopes_hint", scopes=scope)
        return SetupStep(f"scope {scope}", self._say("scopes_missing", scopes=scope), blocked=hint)

    def mismatch(self, wanted: _Wanted, found: Mapping[str, Any]) -> str:
        """Why an existing property cannot serve; empty if it can."""
        type_, _ = _TYPES[wanted.field.type]
        if found.get("type") != type_:
            return self._say("wrong_type", name=wanted.name, found=str(found.get("type")), needed=type_)
        has = {str(o.get("value")) for o in found.get("options") or ()}
        lacking = [o.value for o in wanted.field.options if o.value not in has]
        return self._say("lacking_options", name=wanted.name, options=", ".join(lacking)) if lacking else ""

    def _has_group(self, object_type: str) -> bool:
        try:
            self._api.get("/crm/v3/properties/{type}/groups/{name}", type=object_type, name=GROUP)
        except Gone:
            return False
        return True

    def _create_group(self, step: SetupStep, object_type: str) -> SetupResult:
        body = {"name": GROUP, "label": "Mikomi", "displayOrder": -1}
        return self._create(step, "/crm/v3/properties/{type}/groups", body, object_type)

    def _create_property(self, step: SetupStep, wanted: _Wanted) -> SetupResult:
        result = self._create(step, "/crm/v3/properties/{type}", self._definition(wanted), wanted.object_type)
        if not wanted.unique:
            return result
        if result.status == "failed":
            plain = replace(wanted, unique=False)
            result = self._create(step, "/crm/v3/properties/{type}", self._definition(plain), wanted.object_type)
        if result.status != "created":
            return result
        found = self._portal.property(wanted.object_type, wanted.name)
        if found is not None and not found.get("hasUniqueValue"):
            return SetupResult(step, "created", self._say("key_plain", name=wanted.name))
        if found is None or not self._is_kept_unique(wanted.name):
            return SetupResult(step, "failed", self._say("not_unique", name=wanted.name))
        return result

    def _create(self, step: SetupStep, path: str, body: Mapping[str, object], object_type: str) -> SetupResult:
        try:
            self._api.post(path, body, kind="write", effect="repeatable", type=object_type)
        except Rejected as error:
            if error.code in {"CONFLICT", "OBJECT_ALREADY_EXISTS"} or "ALREADY_EXISTS" in error.code:
                return SetupResult(step, "unchanged")
            return SetupResult(step, "failed", error.message)
        return SetupResult(step, "created")

    def _definition(self, wanted: _Wanted) -> dict[str, object]:
        type_, field_type = _TYPES[wanted.field.type]
        body: dict[str, object] = {
            "name": wanted.name,
            "label": self._label(wanted.field),
            "type": type_,
            "fieldType": field_type,
            "groupName": GROUP,
            "description": self._say("by_rep" if wanted.field.by_rep else "by_mikomi"),
            "hasUniqueValue": wanted.unique,
            "formField": False,
        }
        if wanted.field.options:
            body["options"] = [
                {
                    "value": o.value,
                    "label": o.ja if self._language == "ja" else o.en,
                    "displayOrder": n,
                    "hidden": False,
                }
                for n, o in enumerate(wanted.field.options)
            ]
        return body

    def _label(self, field: OutputField) -> str:
        label = field.ja if self._language == "ja" else field.en
        return label if label.startswith("Mikomi") else f"Mikomi {label}"

    def _is_kept_unique(self, name: str) -> bool:
        """Try it: two tasks with one key, of which HubSpot must refuse the second. Both go to the recycle bin."""
        key = f"mikomi-probe-{uuid.uuid4().hex[:16]}"
        made = []
        try:
            for _ in range(2):
                made += self._probe_task(name, key)
        finally:
            for identifier in made:
                self._archive_task(identifier)
        return len(made) == 1

    def _probe_task(self, name: str, key: str) -> list[str]:
        body = {
            "properties": {
                name: key,
                "hs_timestamp": "2000-01-01T00:00:00.000Z",
                "hs_task_subject": self._say("probe"),
                "hs_task_status": "COMPLETED",
            }
        }
        try:
            row = self._api.post("/crm/v3/objects/{type}", body, kind="write", effect="once", type="tasks")
        except Rejected:
            return []
        return [str(row["id"])]

    def _archive_task(self, identifier: str) -> None:
        body = {"inputs": [{"id": identifier}]}
        try:
            path = "/crm/v3/objects/{type}/batch/archive"
            self._api.post(path, body, kind="write", effect="repeatable", type="tasks")
        except ConnectorError as error:
            error.hint = error.hint or f"delete the task {identifier} by hand"
            raise
