"""Which path leads to which handler, and what a caller needs for it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sandbox.hubspot import (
    account,
    association_api,
    batch,
    events,
    lists,
    marketing,
    marketing_events,
    oauth,
    objects,
    property_api,
)
from sandbox.hubspot.auth import Needed, scope_table
from sandbox.hubspot.object_types import resolve
from sandbox.hubspot.portal import Call, Portal
from sandbox.server import Request, Response, Router


@dataclass(frozen=True, slots=True)
class Route:
    """`needs`: ("objects", "read"), ("schemas", "write") or ("areas", name); `edition`: the lowest that has it."""

    handler: Callable[[Call], Response]
    needs: tuple[str, str]
    search: bool = False
    edition: str | None = None

    def __call__(self, *_: Any, **__: Any) -> Response:
        raise TypeError("a route is run by the app, with its call")

    def scopes(self, names: dict[str, str]) -> Needed:
        part, name = self.needs
        table = scope_table()[part]
        if part == "areas":
            needed: Needed = table[name]
            return needed
        return [group for key in ("type", "to") if key in names for group in table[resolve(names[key]).name][name]]


@dataclass(frozen=True, slots=True)
class OpenRoute:
    """A route that needs no token."""

    handler: Callable[[Portal, Request, dict[str, str]], Response]

    def __call__(self, *_: Any, **__: Any) -> Response:
        raise TypeError("a route is run by the app")


_DATED = re.compile(r"/crm/(objects|properties|associations|pipelines|lists|owners)/(?:2026-03|2026-09)(?=/)")


def canonical(path: str) -> str:
    """Dated paths answer like the version that they follow."""

    def undated(found: re.Match[str]) -> str:
        part = found[1]
        return f"/crm/v4/{part}" if part == "associations" else f"/crm/v3/{part}"

    return _DATED.sub(undated, path, count=1)


def build() -> Router:
    """Every route, the more specific first."""
    router = Router()
    _open(router)
    _objects(router)
    _associations(router)
    _properties(router)
    _account(router)
    _lists(router)
    _marketing(router)
    _events(router)
    return router


def _add(
    router: Router, methods: str, template: str, handler: Callable[[Call], Response], *needs: str, **more: Any
) -> None:
    router.add(methods, template, Route(handler, (needs[0], needs[1]), **more))


def _open(router: Router) -> None:
    for path in ("/oauth/{version}/token",):
        router.add("POST", path, OpenRoute(oauth.exchange))
    router.add("POST", "/oauth/{version}/token/introspect", OpenRoute(oauth.introspect))
    router.add("POST", "/oauth/{version}/token/revoke", OpenRoute(oauth.revoke))
    router.add("GET", "/oauth/v1/access-tokens/{token}", OpenRoute(oauth.read_access_token))
    router.add("GET", "/oauth/v1/refresh-tokens/{token}", OpenRoute(oauth.read_refresh_token))
    router.add("DELETE", "/oauth/v1/refresh-tokens/{token}", OpenRoute(oauth.delete_refresh_token))
    router.add("POST", "/oauth/v2/private-apps/get/access-token-info", OpenRoute(oauth.private_app_info))


def _objects(router: Router) -> None:
    add = partial(_add, router)
    one = "/crm/v3/objects/{type}"
    add("POST", f"{one}/search", objects.search_records, "objects", "read", search=True)
    add("POST", f"{one}/batch/read", batch.batch_read, "objects", "read")
    add("POST", f"{one}/batch/create", batch.batch_create, "objects", "write")
    add("POST", f"{one}/batch/update", batch.batch_update, "objects", "write")
    add("POST", f"{one}/batch/upsert", batch.batch_upsert, "objects", "write")
    add("POST", f"{one}/batch/archive", batch.batch_archive, "objects", "write")
    add("POST", f"{one}/merge", objects.merge_records, "objects", "write")
    router.add("POST", "/crm/v3/objects/contacts/gdpr-delete", _fixed(objects.gdpr_delete, "contacts"))
    router.add("POST", "/crm/v3/objects/0-1/gdpr-delete", _fixed(objects.gdpr_delete, "contacts"))
    add("GET", one, objects.list_records, "objects", "read")
    add("POST", one, objects.create_record, "objects", "write")
    add("GET", f"{one}/{{id}}", objects.read_record, "objects", "read")
    add("PATCH", f"{one}/{{id}}", objects.update_record, "objects", "write")
    add("DELETE", f"{one}/{{id}}", objects.delete_record, "objects", "write")


def _fixed(handler: Callable[[Call], Response], name: str) -> Route:
    """A route whose object type stands in the path as text."""

    def run(call: Call) -> Response:
        call.names["type"] = name
        return handler(call)

    return Route(run, ("areas", f"{name}.write"))


def _associations(router: Router) -> None:
    add = partial(_add, router)
    v4, v3 = "/crm/v4/associations/{type}/{to}", "/crm/v3/associations/{type}/{to}"
    add("POST", f"{v4}/batch/read", association_api.batch_read_v4, "objects", "read")
    add("POST", f"{v4}/batch/create", association_api.batch_create_v4, "objects", "write")
    add("POST", f"{v4}/batch/associate/default", association_api.batch_create_default, "objects", "write")
    add("POST", f"{v4}/batch/archive", association_api.batch_archive_v4, "objects", "write")
    add("POST", f"{v4}/batch/labels/archive", association_api.batch_archive_labels, "objects", "write")
    add("GET", f"{v4}/labels", association_api.list_labels, "objects", "read")
    add("POST", f"{v4}/labels", association_api.create_label, "objects", "write")
    add("POST", f"{v3}/batch/read", association_api.batch_read_v3, "objects", "read")
    add("POST", f"{v3}/batch/create", association_api.batch_create_v3, "objects", "write")
    add("POST", f"{v3}/batch/archive", association_api.batch_archive_v3, "objects", "write")
    add("GET", f"{v3}/types", association_api.list_types_v3, "objects", "read")
    for version in ("v4", "v3"):
        of_record = f"/crm/{version}/objects/{{type}}/{{id}}/associations"
        add("PUT", f"{of_record}/default/{{to}}/{{to_id}}", association_api.create_one_default, "objects", "write")
        add("PUT", f"{of_record}/{{to}}/{{to_id}}", association_api.create_one, "objects", "write")
        add("DELETE", f"{of_record}/{{to}}/{{to_id}}", association_api.delete_one, "objects", "write")
    add("GET", "/crm/v4/objects/{type}/{id}/associations/{to}", association_api.list_of_record, "objects", "read")
    add("GET", "/crm/v3/objects/{type}/{id}/associations/{to}", association_api.list_of_record_v3, "objects", "read")


def _properties(router: Router) -> None:
    add = partial(_add, router)
    root = "/crm/v3/properties/{type}"
    add("GET", f"{root}/groups", property_api.list_groups, "schemas", "read")
    add("POST", f"{root}/groups", property_api.create_group, "schemas", "write")
    add("GET", f"{root}/groups/{{name}}", property_api.read_group, "schemas", "read")
    add("PATCH", f"{root}/groups/{{name}}", property_api.update_group, "schemas", "write")
    add("DELETE", f"{root}/groups/{{name}}", property_api.archive_group, "schemas", "write")
    add("POST", f"{root}/batch/read", property_api.batch_read, "schemas", "read")
    add("POST", f"{root}/batch/create", property_api.batch_create, "schemas", "write")
    add("POST", f"{root}/batch/archive", property_api.batch_archive, "schemas", "write")
    add("GET", root, property_api.list_properties, "schemas", "read")
    add("POST", root, property_api.create_property, "schemas", "write")
    add("GET", f"{root}/{{name}}", property_api.read_property, "schemas", "read")
    add("PATCH", f"{root}/{{name}}", property_api.update_property, "schemas", "write")
    add("DELETE", f"{root}/{{name}}", property_api.archive_property, "schemas", "write")


def _account(router: Router) -> None:
    add = partial(_add, router)
    add("GET", "/account-info/v3/details", account.details, "areas", "account")
    add("GET", "/account-info/v3/api-usage/daily/private-apps", account.daily_usage, "areas", "account")
    add("GET", "/crm/v3/owners", account.list_owners, "areas", "owners.read")
    add("GET", "/crm/v3/owners/{id}", account.read_owner, "areas", "owners.read")
    pipelines = "/crm/v3/pipelines/{type}"
    add("GET", pipelines, account.list_pipelines, "areas", "pipelines.read")
    add("GET", f"{pipelines}/{{pipeline}}", account.read_pipeline, "areas", "pipelines.read")
    add("GET", f"{pipelines}/{{pipeline}}/stages", account.list_stages, "areas", "pipelines.read")
    add("GET", f"{pipelines}/{{pipeline}}/stages/{{stage}}", account.read_stage, "areas", "pipelines.read")


def _lists(router: Router) -> None:
    add = partial(_add, router)
    one = "/crm/v3/lists/{list}"
    add("POST", "/crm/v3/lists/search", lists.search_lists, "areas", "lists.read")
    add("GET", "/crm/v3/lists/object-type-id/{type}/name/{name}", lists.read_list_by_name, "areas", "lists.read")
    add("GET", "/crm/v3/lists/records/{type}/{id}/memberships", lists.lists_of_record, "areas", "lists.read")
    add("GET", "/crm/v3/lists", lists.read_lists, "areas", "lists.read")
    add("POST", "/crm/v3/lists", lists.create_list, "areas", "lists.write")
    add("GET", one, lists.read_list, "areas", "lists.read")
    add("DELETE", one, lists.delete_list, "areas", "lists.write")
    add("GET", f"{one}/memberships", lists.members, "areas", "lists.read")
    add("GET", f"{one}/memberships/join-order", lists.members_by_join, "areas", "lists.read")
    add("PUT", f"{one}/memberships/add", lists.add_members, "areas", "lists.write")
    add("PUT", f"{one}/memberships/remove", lists.remove_members, "areas", "lists.write")


def _marketing(router: Router) -> None:
    add = partial(_add, router)
    add("GET", "/marketing/v3/forms", marketing.list_forms, "areas", "forms.read")
    add("GET", "/marketing/v3/forms/{form}", marketing.read_form, "areas", "forms.read")
    submissions = "/form-integrations/v1/submissions/forms/{form}"
    add("GET", submissions, marketing.list_submissions, "areas", "forms.read")
    add("GET", "/email/public/v1/events", marketing.list_email_events, "areas", "content")
    add("GET", "/email/public/v1/campaigns/by-id", marketing.list_email_campaigns, "areas", "content")
    add("GET", "/email/public/v1/campaigns", marketing.list_email_campaigns, "areas", "content")
    root = "/marketing/v3/marketing-events"
    read, write = "marketing_events.read", "marketing_events.write"
    add("GET", root, marketing_events.list_events, "areas", read)
    add("POST", f"{root}/events", marketing_events.create_event, "areas", write)
    of_contact = f"{root}/participations/contacts/{{contact}}/breakdown"
    add("GET", of_contact, marketing_events.breakdown_of_contact, "areas", read)
    add("GET", f"{root}/participations/{{event}}/breakdown", marketing_events.breakdown_of_event, "areas", read)
    add("GET", f"{root}/participations/{{event}}", marketing_events.counters, "areas", read)
    add("POST", f"{root}/{{event}}/attendance/{{state}}/create", marketing_events.attend_by_id, "areas", write)
    add("POST", f"{root}/{{event}}/attendance/{{state}}/email-create", marketing_events.attend_by_email, "areas", write)
    add("GET", f"{root}/{{event}}", marketing_events.read_event, "areas", read)


def _events(router: Router) -> None:
    add = partial(_add, router, edition="Enterprise")
    add("GET", "/events/v3/events", events.list_events, "areas", "events.read")
    add("GET", "/events/v3/events/event-types", events.event_types, "areas", "events.read")
    definitions = "/events/v3/event-definitions"
    add("GET", definitions, events.list_definitions, "areas", "event_definitions")
    add("POST", definitions, events.create_definition, "areas", "event_definitions")
    add("GET", f"{definitions}/{{name}}", events.read_definition, "areas", "event_definitions")
    add("DELETE", f"{definitions}/{{name}}", events.delete_definition, "areas", "event_definitions")
    add("POST", "/events/v3/send", events.send, "areas", "events.send")
    add("POST", "/events/v3/send/batch", events.send_batch, "areas", "events.send")
