"""The control API `/__sandbox__/`: what people and administrators of the org do, and what tests want to see.

- `POST records`: one order or a list; `{"action": "create|update|delete|undelete|hard_delete|convert|merge", "sobject", "id",
  "fields", "as"}`, as a person in the user interface: the org's rules run, field-level security and quota do not apply.
  `as` is a username or user id; without it the first sales rep, else the administrator. `convert` and `merge` take
  what `lifecycle` says.
- `POST touch {"sobject", "count", "after", "at"}`: stamp that many rows (by Id, after one) with one moment, by default now.
- `POST permissions`: `{"user", "field": "Lead.Title", "read", "edit"}`, `{"user", "object", "rights": [...]}`,
  `{"user", "flag": "ViewAllData", "value"}`, `{"user", "active"}`, `{"visible_share"}`; and all of a user's rights at once
  (custom fields apart): `{"user", "only": {"flags": [], "objects": {"Lead": ["read"]}, "read": {"Lead": ["Title"]}, "edit": {}}}`.
- `POST row_faults {"sobject", "code", "message", "record_id", "fields", "times"}`: the next rows written fail so (a row
  lock, a validation rule, a duplicate rule); `DELETE row_faults`.
- `POST tokens {"expire_now": true}`: every access token ends; `{"ttl_requests", "ttl_seconds"}`: of those issued from now on (null: no
  such end); `{"rotate"}`: refresh tokens are spent with their first use, a second one revokes the family.
- `POST quota {"used", "limit"}`, `POST key {"public_key"}`, `POST query {"soql"}` (every row and field, the bin included),
  `GET credentials`, `GET state`.
"""

from dataclasses import replace
from typing import Any

from sandbox.salesforce.access import CRM_OBJECTS, FULL_RIGHTS, Rights
from sandbox.salesforce.errors import ApiError
from sandbox.salesforce.ids import long_id
from sandbox.salesforce.lifecycle import convert_lead, merge_records
from sandbox.salesforce.org import Org, RowFault, Work
from sandbox.salesforce.quota import Quota
from sandbox.salesforce.rows import create_row, delete_row, purge_row, undelete_row, update_row
from sandbox.salesforce.seed import ADMIN, INTEGRATION, NATIVE_SYNC
from sandbox.salesforce.soql import SoqlError, run_query
from sandbox.salesforce.tokens import Tokens
from sandbox.server import Request, Response, reply

_RIGHTS = ("create", "read", "edit", "delete", "view_all")


class Control:
    """Answers control calls. Raises ValueError, TypeError or KeyError for a wrong order: the server answers 400."""

    def __init__(self, org: Org, tokens: Tokens, quota: Quota) -> None:
        self._org = org
        self._tokens = tokens
        self._quota = quota

    def answer(self, request: Request, name: str) -> Response | None:
        match request.method, name:
            case "POST", "records":
                return self._records(request.json())
            case "POST", "touch":
                return self._touch(request.json())
            case "POST", "permissions":
                return self._permissions(request.json())
            case "POST", "quota":
                return self._set_quota(request.json())
            case "POST", "tokens":
                return self._set_tokens(request.json())
            case "POST", "key":
                self._tokens.register_key(request.json()["public_key"])
                return reply(200, {"registered": True})
            case "POST", "row_faults":
                return self._order_fault(request.json())
            case "DELETE", "row_faults":
                self._org.row_faults = []
                return reply(200, [])
            case "POST", "query":
                return self._query(request.json()["soql"])
            case "GET", "credentials":
                return reply(200, self._credentials(request))
            case "GET", "state":
                return reply(200, self._state())
        return None

    def administrator(self) -> str:
        return self._user_id(ADMIN)

    def _user_id(self, name: str) -> str:
        if (user_id := long_id(name)) is not None and user_id.startswith("005"):
            return user_id
        found = self._org.store.value('SELECT Id FROM "User" WHERE Username = ? COLLATE NOCASE', (name,))
        if found is None:
            raise KeyError(f"no user {name!r}")
        return str(found)

    def _person(self, name: str | None) -> Work:
        if name is not None:
            user_id = self._user_id(name)
        else:
            sql = 'SELECT Id FROM "User" WHERE IsActive = 1 AND Username NOT IN (?, ?, ?) ORDER BY Id LIMIT 1'
            user_id = self._org.store.value(sql, (ADMIN, INTEGRATION, NATIVE_SYNC)) or self.administrator()
        work = self._org.work(user_id, person=True)
        return replace(work, rights=Rights(user_id, active=True, time_zone=work.rights.time_zone, flags=FULL_RIGHTS))

    def _records(self, orders: Any) -> Response:
        """All orders or none; a refused one answers 400 with the vendor's code."""
        listed = orders if isinstance(orders, list) else [orders]
        try:
            with self._org.store.write():
                results = [self._carry_out(order) for order in listed]
        except ApiError as error:
            self._org.access.forget()
            return reply(400, {"error": f"{error.code}: {error.message}"})
        return reply(200, results if isinstance(orders, list) else results[0])

    def _carry_out(self, order: dict[str, Any]) -> dict[str, Any]:
        work = self._person(order.get("as"))
        record_id = long_id(order["id"]) or "" if "id" in order else ""
        if order["action"] == "convert":
            return {**convert_lead(work, order)}
        kind = self._org.schema.find(order["sobject"])
        if kind is None:
            raise ValueError(f"no object {order['sobject']!r}")
        match order["action"]:
            case "create":
                return {"id": create_row(work, kind, order["fields"])}
            case "update":
                update_row(work, kind, record_id, order["fields"])
            case "delete":
                delete_row(work, kind, record_id)
            case "undelete":
                return {"id": record_id, "rows": undelete_row(work, record_id)}
            case "hard_delete":
                purge_row(work, kind, record_id)
            case "merge":
                return merge_records(work, order)
            case action:
                raise ValueError(f"unknown action {action!r}")
        return {"id": record_id}

    def _touch(self, order: dict[str, Any]) -> Response:
        kind = self._org.schema.get(order["sobject"])
        moment = int(order.get("at", self._org.now())) // 1000 * 1000
        alive = "IsDeleted = 0 AND " if kind.has("IsDeleted") else ""
        sql = (
            f'UPDATE "{kind.name}" SET SystemModstamp = ?, LastModifiedDate = ? WHERE Id IN '
            f'(SELECT Id FROM "{kind.name}" WHERE {alive}Id > ? ORDER BY Id LIMIT ?)'
        )
        after = order.get("after", "")
        touched = self._org.store.execute(sql, (moment, moment, after, int(order["count"])))
        return reply(200, {"touched": touched, "at": moment})

    def _order_fault(self, order: dict[str, Any]) -> Response:
        fields = tuple(order.pop("fields", ()))
        fault = RowFault(**order, fields=fields)
        if self._org.schema.find(fault.sobject) is None:
            raise ValueError(f"no object {fault.sobject!r}")
        self._org.row_faults = [*self._org.row_faults, fault]
        return reply(
            200, [{"sobject": one.sobject, "code": one.code, "left": one.times} for one in self._org.row_faults]
        )

    def _set_quota(self, order: dict[str, Any]) -> Response:
        if "limit" in order:
            self._quota.limit = int(order["limit"])
        if "used" in order:
            self._quota.set_used(int(order["used"]))
        used, limit = self._quota.state()
        return reply(200, {"used": used, "limit": limit})

    def _set_tokens(self, order: dict[str, Any]) -> Response:
        tokens = self._tokens
        for name in ("ttl_requests", "ttl_seconds"):
            if name in order:
                setattr(tokens, name, None if order[name] is None else int(order[name]))
        if "rotate" in order:
            tokens.rotate = bool(order["rotate"])
        expired = tokens.expire_all() if order.get("expire") or order.get("expire_now") else 0
        lives = {"ttl_requests": tokens.ttl_requests, "ttl_seconds": tokens.ttl_seconds, "rotate": tokens.rotate}
        return reply(200, {"expired": expired, **lives})

    def _permissions(self, order: dict[str, Any]) -> Response:
        if "visible_share" in order:
            self._org.access.visible_share = float(order["visible_share"])
            return reply(200, {"visible_share": self._org.access.visible_share})
        user_id = self._user_id(order["user"])
        with self._org.store.write():
            if "active" in order:
                changes = {"IsActive": int(order["active"]), "SystemModstamp": self._org.now()}
                self._org.store.update("User", user_id, changes)
            elif "only" in order:
                self._limit(user_id, order["only"])
            elif "field" in order:
                self._set_field(user_id, order)
            elif "object" in order:
                self._set_object(user_id, order["object"], order["rights"])
            else:
                column = f"Permissions{order['flag']}"
                if not self._org.schema.get("PermissionSet").has(column):
                    raise ValueError(f"unknown flag {order['flag']!r}")
                self._org.store.update("PermissionSet", self._own_set(user_id), {column: int(order["value"])})
        self._org.access.forget()
        return reply(200, {"user": user_id})

    def _limit(self, user_id: str, only: dict[str, Any]) -> None:
        """Exactly these rights, and none besides, on standard objects and fields."""
        for name in CRM_OBJECTS:
            self._set_object(user_id, name, only["objects"].get(name, []))
        kind = self._org.schema.get("PermissionSet")
        flags = [one.name for one in kind.fields.values() if one.name.startswith("Permissions")]
        granted = {f"Permissions{name}" for name in only["flags"]}
        if not granted <= set(flags):
            raise ValueError(f"unknown flags {sorted(granted - set(flags))}")
        values = {name: int(name in granted) for name in flags}
        self._org.store.update("PermissionSet", self._own_set(user_id), values)
        for name in (*CRM_OBJECTS, "Task", "Event"):
            fields = self._org.schema.get(name).fields.values()
            reads, edits = set(only["read"].get(name, ())), set(only["edit"].get(name, ()))
            if unknown := (reads | edits) - {one.name for one in fields if one.has("p")}:
                raise ValueError(f"{name} has no such fields under field-level security: {sorted(unknown)}")
            for one in fields:
                if one.has("p") and not one.custom:
                    right = {"read": one.name in reads | edits, "edit": one.name in edits}
                    self._set_field(user_id, {"field": f"{name}.{one.name}", **right})

    def _own_set(self, user_id: str) -> str:
        """The permission set behind the user's profile."""
        sql = 'SELECT Id FROM "PermissionSet" WHERE ProfileId = (SELECT ProfileId FROM "User" WHERE Id = ?)'
        return str(self._org.store.value(sql, (user_id,)))

    def _set_field(self, user_id: str, order: dict[str, Any]) -> None:
        entity, _, name = order["field"].partition(".")
        kind = self._org.schema.find(entity)
        one = kind.field(name) if kind else None
        if kind is None or one is None:
            raise ValueError(f"no field {order['field']!r}")
        full = f"{kind.name}.{one.name}"
        store = self._org.store
        read, edit = bool(order.get("read", True)), bool(order.get("edit", order.get("read", True)))
        if not one.custom:
            store.execute('DELETE FROM "_field_denial" WHERE UserId = ? AND Field = ?', (user_id, full))
            denied = [0] * (not read) + [1] * (not edit)
            for kind_of_denial in denied:
                store.execute('INSERT INTO "_field_denial" VALUES (?, ?, ?)', (user_id, full, kind_of_denial))
            return
        sql = (
            'DELETE FROM "FieldPermissions" WHERE Field = ? COLLATE NOCASE AND (ParentId = ? OR ParentId IN '
            '(SELECT PermissionSetId FROM "PermissionSetAssignment" WHERE AssigneeId = ?))'
        )
        own = self._own_set(user_id)
        store.execute(sql, (full, own, user_id))
        if read:
            row = {"ParentId": own, "SobjectType": kind.name, "Field": full}
            self._person(ADMIN).add("FieldPermissions", row | {"PermissionsRead": 1, "PermissionsEdit": int(edit)})

    def _set_object(self, user_id: str, name: str, rights: list[str]) -> None:
        if name not in CRM_OBJECTS or not set(rights) <= set(_RIGHTS):
            raise ValueError(f"rights are some of {_RIGHTS}, for {', '.join(CRM_OBJECTS)}")
        own = self._own_set(user_id)
        sql = 'DELETE FROM "ObjectPermissions" WHERE SobjectType = ? AND ParentId = ?'
        self._org.store.execute(sql, (name, own))
        columns = ("Create", "Read", "Edit", "Delete", "ViewAllRecords")
        row: dict[str, Any] = {"ParentId": own, "SobjectType": name}
        row |= {f"Permissions{column}": int(verb in rights) for column, verb in zip(columns, _RIGHTS, strict=True)}
        self._person(ADMIN).add("ObjectPermissions", row)

    def _query(self, text: str) -> Response:
        with self._org.store.read() as slot:
            try:
                result = run_query(
                    text,
                    schema=self._org.schema,
                    connection=slot.connection,
                    now_ms=self._org.clock.now_ms(),
                    include_deleted=True,
                    visible=lambda *_: True,
                    row_filter=lambda _: None,
                    api_version="62.0",
                )
                records = result.records
            except SoqlError as error:
                raise ValueError(f"{error.code}: {error.message}") from None
        return reply(200, {"totalSize": result.total_size, "records": records})

    def _state(self) -> dict[str, Any]:
        rows = {}
        for kind in self._org.schema.all():
            deleted = "sum(IsDeleted)" if kind.has("IsDeleted") else "0"
            found = self._org.store.rows(f'SELECT count(*) AS n, {deleted} AS gone FROM "{kind.name}"')[0]
            rows[kind.name] = {"rows": found["n"] - (found["gone"] or 0), "deleted": found["gone"] or 0}
        used, limit = self._quota.state()
        return {"objects": rows, "quota": {"used": used, "limit": limit}, "now_ms": self._org.clock.now_ms()}

    def _credentials(self, request: Request) -> dict[str, Any]:
        options = self._org.options
        users = {name: self._user_id(name) for name in (ADMIN, INTEGRATION)}
        return {
            "instance_url": request.base_url,
            "token_url": f"{request.base_url}/services/oauth2/token",
            "organization_id": self._org.store.value('SELECT Id FROM "Organization"'),
            "client_id": options.client_id,
            "client_secret": options.client_secret,
            "username": INTEGRATION,
            "admin_username": ADMIN,
            "password": options.password,
            "user_ids": users,
            "private_key": self._tokens.private_key(),
            "audience": "https://login.salesforce.com",
            "access_token": self._tokens.issue(users[INTEGRATION], options.client_id),
            "admin_access_token": self._tokens.issue(users[ADMIN], options.client_id),
            "refresh_token": self._tokens.issue_refresh(users[INTEGRATION], options.client_id),
        }
