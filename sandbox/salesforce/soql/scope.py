"""One FROM of a query: the tables that its field paths reach, joined on the way."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox.salesforce.soql.errors import too_complicated, unknown_field, unknown_parent
from sandbox.salesforce.soql.literals import Calendar
from sandbox.salesforce.soql.nodes import Path
from sandbox.salesforce.soql.types import FieldInfo, SchemaView, SObjectInfo, SoqlError

MAX_LEVELS = 5
MAX_PARENTS = 55
# SQLite joins 64 tables at most; a polymorphic relationship joins one for each sObject it may point at.
_MAX_JOINS = 60
# The columns of the vendor's pseudo-object "Name", which stands for the target of a polymorphic relationship.
_NAME_FIELDS = frozenset(
    {"id", "name", "firstname", "lastname", "email", "phone", "title", "username", "alias", "isactive", "profileid",
     "userroleid", "recordtypeid"}
)  # fmt: skip


def quote(identifier: str) -> str:
    """A schema name as an SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def quote_text(value: str) -> str:
    """A schema name as an SQL string. User text is bound, never quoted."""
    return "'" + value.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class Column:
    """A value in SQL and what it is: ``info`` gives its type, ``entity`` the sObject it was found on."""

    sql: str
    info: FieldInfo
    entity: str


@dataclass(slots=True)
class Compilation:
    """What all parts of one query share. Values of the query are bound by name, so SQL pieces can move freely."""

    text: str
    schema: SchemaView
    visible: Callable[[str, str], bool]
    row_filter: Callable[[str], str | None]
    include_deleted: bool
    calendar: Calendar
    user_id: str | None
    child_depth: int
    values: dict[str, object] = field(default_factory=dict)
    needs_functions: bool = False
    aliases: int = 0
    _relationships: dict[str, dict[str, FieldInfo]] = field(default_factory=dict)

    def bind(self, value: object) -> str:
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f":{name}"

    def bind_zone(self) -> str:
        """The organisation's zone, under one name: grouped expressions are recognised by their SQL."""
        self.values["zone"] = self.calendar.zone
        return ":zone"

    def new_alias(self) -> str:
        self.aliases += 1
        return f"t{self.aliases}"

    def find_relationship(self, sobject: SObjectInfo, name: str) -> FieldInfo | None:
        known = self._relationships.get(sobject.name)
        if known is None:
            known = {info.relationship_name.lower(): info for info in sobject.fields.values() if info.relationship_name}
            self._relationships[sobject.name] = known
        return known.get(name.lower())

    def write_table(self, sobject: SObjectInfo) -> str:
        """The table, without the rows that the caller may not see."""
        hidden = self.row_filter(sobject.name)
        table = quote(sobject.name)
        return f"(SELECT * FROM {table} WHERE {hidden})" if hidden else table

    def write_life(self, sobject: SObjectInfo, alias: str) -> list[str]:
        """The conditions that leave out deleted rows, and archived ones of activities."""
        if self.include_deleted:
            return []
        conditions = [f'{alias}."IsDeleted" = 0'] if "isdeleted" in sobject.fields else []
        if sobject.name in {"Task", "Event"} and "isarchived" in sobject.fields:
            conditions.append(f'{alias}."IsArchived" = 0')
        return conditions


@dataclass(frozen=True, slots=True)
class Parent:
    """The end of a relationship: its possible sObjects with their SQL aliases."""

    name: str
    targets: tuple[tuple[SObjectInfo, str], ...]

    @property
    def is_polymorphic(self) -> bool:
        return len(self.targets) > 1


class Scope:
    """Resolves the field paths of one FROM and collects the joins they need."""

    def __init__(self, shared: Compilation, sobject: SObjectInfo, alias: str | None) -> None:
        self.shared = shared
        self.sobject = sobject
        self.sql_alias = shared.new_alias()
        self._query_alias = alias.lower() if alias else None
        self._joins: list[str] = []
        self._parents: dict[tuple[str, ...], Parent] = {(): Parent("", ((sobject, self.sql_alias),))}

    def write_from(self) -> str:
        """FROM with all joins found so far: call it after the last path is resolved."""
        table = self.shared.write_table(self.sobject)
        return " ".join([f"FROM {table} AS {self.sql_alias}", *self._joins])

    def strip_prefix(self, path: Path) -> tuple[str, ...]:
        """The path without a leading alias or sObject name."""
        first = path.parts[0].lower()
        if len(path.parts) > 1 and (
            first == self._query_alias
            or (
                first == self.sobject.name.lower()
                and self.shared.find_relationship(self.sobject, path.parts[0]) is None
            )
        ):
            return path.parts[1:]
        return path.parts

    def find_column(self, path: Path) -> Column:
        """The column of a path; raises the vendor's errors for what is unknown or hidden."""
        *steps, name = self.strip_prefix(path)
        return self.find_field(self.find_parent(tuple(steps), path.pos), name, path.pos)

    def find_parent(self, steps: tuple[str, ...], pos: int) -> Parent:
        if len(steps) > MAX_LEVELS:
            raise SoqlError(
                "INVALID_FIELD",
                f"The relationship path '{'.'.join(steps)}' exceeds the maximum of {MAX_LEVELS} levels.",
            )
        key = tuple(step.lower() for step in steps)
        found = self._parents.get(key)
        if found is None:
            found = self._join(self.find_parent(steps[:-1], pos), steps[-1], pos)
            self._parents[key] = found
        return found

    def _join(self, parent: Parent, name: str, pos: int) -> Parent:
        shared = self.shared
        if parent.is_polymorphic:
            raise unknown_parent(shared.text, pos, name)
        owner, owner_alias = parent.targets[0]
        foreign_key = shared.find_relationship(owner, name)
        if foreign_key is None or not shared.visible(owner.name, foreign_key.name):
            raise unknown_parent(shared.text, pos, name)
        sobjects = [found for target in foreign_key.reference_to if (found := shared.schema.sobject(target))]
        if not sobjects:
            raise unknown_parent(shared.text, pos, name)
        targets = tuple((sobject, shared.new_alias()) for sobject in sobjects)
        for sobject, alias in targets:
            table = shared.write_table(sobject)
            self._joins.append(
                f'LEFT JOIN {table} AS {alias} ON {alias}."Id" = {owner_alias}.{quote(foreign_key.name)}'
            )
        if len(self._joins) > _MAX_JOINS or len(self._parents) > MAX_PARENTS:
            raise too_complicated()
        return Parent(foreign_key.relationship_name or name, targets)

    def find_field(self, parent: Parent, name: str, pos: int) -> Column:
        if parent.is_polymorphic:
            return self._find_name_field(parent, name, pos)
        sobject, alias = parent.targets[0]
        info = sobject.fields.get(name.lower())
        if info is None or not self.shared.visible(sobject.name, info.name):
            raise unknown_field(self.shared.text, pos, name, sobject.name)
        return Column(f"{alias}.{quote(info.name)}", info, sobject.name)

    def _find_name_field(self, parent: Parent, name: str, pos: int) -> Column:
        """A column of the pseudo-object Name: the value of whichever target the row points at."""
        wanted = name.lower()
        if wanted == "type":
            cases = "".join(
                f'WHEN {alias}."Id" IS NOT NULL THEN {quote_text(sobject.name)} ' for sobject, alias in parent.targets
            )
            return Column(f"(CASE {cases}END)", FieldInfo("Type", "picklist"), "Name")
        found = [
            (info, f"{alias}.{quote(info.name)}")
            for sobject, alias in parent.targets
            if wanted in _NAME_FIELDS
            and (info := sobject.fields.get(wanted)) is not None
            and self.shared.visible(sobject.name, info.name)
        ]
        if not found:
            raise unknown_field(self.shared.text, pos, name, "Name")
        columns = [sql for _, sql in found]
        sql = columns[0] if len(columns) == 1 else f"coalesce({', '.join(columns)})"
        return Column(sql, found[0][0], "Name")
