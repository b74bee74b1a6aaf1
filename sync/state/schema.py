"""The tables. The state database is the truth: what the CRMs last said, what we decided, what we owe.

One schema for SQLite (default) and PostgreSQL. Times are UTC milliseconds, days are days since 1970-01-01 local
(`core.records`). JSON columns hold small documents that no query filters on.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from core.records import FIELD_TYPES

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives AUTOINCREMENT (ids never reused) only to INTEGER primary keys.
Surrogate = BigInteger().with_variant(Integer, "sqlite")

# --- what the CRMs last said: the mirror -----------------------------------------------------------------------------

cursor = Table(
    "cursor",
    metadata,
    Column("system", String(64), primary_key=True),
    Column("stream", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

record = Table(
    "record",
    metadata,
    Column("system", String(64), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("person_id", BigInteger),
    Column("company_id", BigInteger),
    Column("buyer", String(32)),  # what the record says of its company, where it has no account
    Column("account_id", String(64)),
    Column("owner_id", String(64)),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),  # the CRM's stamp, which our own writes move as well
    Column("changed_at", BigInteger, nullable=False),  # its stamp when the fingerprint last changed
    Column("fingerprint", String(32), nullable=False),  # of all that scoring and identity read; echoes leave it alone
    Column("email", String(320)),
    Column("fields", JSON, nullable=False),
    Column("emails", JSON, nullable=False),
    Column("links", JSON, nullable=False),
    Column("absorbed", JSON, nullable=False),
    Column("consent", JSON, nullable=False),
    Column("answers", JSON, nullable=False),
    Column("written", JSON, nullable=False),
    Column("successor_kind", String(32)),
    Column("successor_id", String(64)),
    Column("deleted_at", BigInteger),
    Index(None, "person_id"),
    Index("ix_record_buyer", "buyer"),
    Index(
        "ix_record_deleted",  # gone, and what it said is still here
        "deleted_at",
        sqlite_where=text("deleted_at is not null and fingerprint <> ''"),
        postgresql_where=text("deleted_at is not null and fingerprint <> ''"),
    ),
    Index(None, "system", "account_id"),
    Index(
        "ix_record_successor",
        "successor_id",
        sqlite_where=text("successor_id is not null"),
        postgresql_where=text("successor_id is not null"),
    ),
)

record_email = Table(
    "record_email",
    metadata,
    Column("email", String(320), primary_key=True),
    Column("system", String(64), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("id", String(64), primary_key=True),
    Index(None, "system", "kind", "id"),
    sqlite_with_rowid=False,
)

record_link = Table(
    "record_link",
    metadata,
    Column("system", String(64), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("to_system", String(64), primary_key=True),
    Column("to_kind", String(32), primary_key=True),
    Column("to_id", String(64), primary_key=True),
    Index(None, "to_system", "to_kind", "to_id"),
    sqlite_with_rowid=False,
)

touched = Table(
    "touched",  # records and accounts whose stored facts changed since they were last resolved
    metadata,
    Column("system", String(64), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("id", String(64), primary_key=True),
    sqlite_with_rowid=False,
)

account = Table(
    "account",
    metadata,
    Column("system", String(64), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("company_id", BigInteger),
    Column("parent_id", String(64)),
    Column("owner_id", String(64)),
    Column("modified_at", BigInteger, nullable=False),
    Column("fingerprint", String(32), nullable=False),
    Column("fields", JSON, nullable=False),
    Column("deleted_at", BigInteger),
    Index(None, "company_id"),
)

source = Table(
    "source",  # (connection, CRM object) to a small code: 20,000,000 activities carry it
    metadata,
    Column("code", Integer, primary_key=True),
    Column("system", String(64), nullable=False),
    Column("object", String(64), nullable=False),
    UniqueConstraint("system", "object"),
)

activity = Table(
    "activity",  # clustered by person, so that one person's history is one range read
    metadata,
    Column("person_id", BigInteger, primary_key=True, autoincrement=False),  # 0: nobody we know yet
    Column("occurred_at", BigInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, nullable=False),  # core.records.ACTIVITY_KINDS
    Column("known_at", BigInteger, nullable=False),
    Column("day", Integer, nullable=False),
    Column("suspect", Boolean, nullable=False),
    Column("duplicate_of", BigInteger),
    Column("url", Text),
    Column("asset", Text),
    Column("campaign", Text),
    Column("channel", String(64)),
    Column("direction", String(16)),
    Column("duration", Integer),
    Column("source", Integer, ForeignKey("source.code"), nullable=False),
    Column("source_id", String(128), nullable=False),
    Column("who", String(400), nullable=False),  # "<kind>/<id>" of the record, or "email/<address>"
    Column("known_inexact", Boolean, nullable=False),
    Column("machine", Boolean, nullable=False),  # the CRM's own word; `suspect` adds our findings
    Index("ix_activity_source", "source", "source_id"),
    Index("ix_activity_nobody", "who", sqlite_where=text("person_id = 0"), postgresql_where=text("person_id = 0")),
    sqlite_with_rowid=False,
)

deal = Table(
    "deal",
    metadata,
    Column("deal_id", Surrogate, primary_key=True, autoincrement=True),
    Column("system", String(64), nullable=False),
    Column("id", String(64), nullable=False),
    Column("account_id", String(64)),
    Column("company_id", BigInteger),
    Column("name", Text),
    Column("stage", String(255), nullable=False),
    Column("is_closed", Boolean, nullable=False),
    Column("is_won", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    Column("modified_at", BigInteger, nullable=False),
    Column("amount", Float),
    Column("currency", String(8)),
    Column("loss_reason", Text),
    Column("owner_id", String(64)),
    Column("duplicate_of", BigInteger),  # the paired CRM's copy of the same deal
    Column("link_system", String(64)),
    Column("link_id", String(64)),
    Column("deleted_at", BigInteger),
    UniqueConstraint("system", "id"),
    Index(None, "company_id"),
    Index(
        "ix_deal_link",
        "link_id",
        sqlite_where=text("link_id is not null"),
        postgresql_where=text("link_id is not null"),
    ),
    sqlite_autoincrement=True,
)

deal_role = Table(
    "deal_role",
    metadata,
    Column("system", String(64), primary_key=True),
    Column("source_id", String(140), primary_key=True),
    Column("deal", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("id", String(64), nullable=False),
    Column("role", String(255)),
    Index(None, "system", "deal"),
    Index(None, "system", "kind", "id"),
)

change = Table(
    "change",
    metadata,
    Column("system", String(64), primary_key=True),
    Column("source_id", String(160), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("id", String(64), nullable=False),
    Column("field", String(64), nullable=False),
    Column("old", Text),
    Column("new", Text),
    Column("at", BigInteger, nullable=False),
    Column("by", String(64)),
    Index(None, "system", "kind", "id", "at"),
)

owner = Table(
    "owner",
    metadata,
    Column("system", String(64), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", String(320)),
    Column("active", Boolean, nullable=False),
    Column("is_queue", Boolean, nullable=False),
)

# --- what we decided: the ledger -------------------------------------------------------------------------------------

person = Table(
    "person",
    metadata,
    Column("person_id", Surrogate, primary_key=True, autoincrement=True),
    Column("company_id", BigInteger),
    Column("created_at", BigInteger, nullable=False),  # earliest creation among the records
    Column("first_known_at", BigInteger, nullable=False),  # earliest fact: trend needs seven days of it
    Column("opted_out", Boolean, nullable=False),
    Column("recontact_on", Integer),  # day
    *(Column(name, Float if kind == "number" else Text) for name, kind in FIELD_TYPES.items()),
    Column("dirty", Boolean, nullable=False),  # inputs changed since the last score
    Column("restated", Boolean, nullable=False),  # merged or split since the last score: the change is ours, not theirs
    Index("ix_person_company_id", "company_id"),
    Index("ix_person_dirty", "person_id", sqlite_where=text("dirty"), postgresql_where=text("dirty")),
    sqlite_autoincrement=True,
)

person_alias = Table(
    "person_alias",
    metadata,
    Column("old_id", BigInteger, primary_key=True, autoincrement=False),
    Column("person_id", BigInteger, nullable=False),
)

company = Table(
    "company",
    metadata,
    Column("company_id", Surrogate, primary_key=True, autoincrement=True),
    Column("key", String(400), nullable=False, unique=True),
    Column("name", Text),
    sqlite_autoincrement=True,
)

buyer = Table(
    "buyer",  # all records without an account that say the same of their company are one buyer
    metadata,
    Column("id", String(32), primary_key=True),  # digest of what they say
    Column("name", Text),
    Column("domain", Text),
    Column("number", Text),
    Column("company_id", BigInteger),
)

company_tie = Table(
    "company_tie",  # what ties an account or a buyer to others of its company
    metadata,
    Column("tie", String(255), primary_key=True),
    Column("system", String(64), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("id", String(64), primary_key=True),
    Index(None, "system", "kind", "id"),
    sqlite_with_rowid=False,
)

score = Table(
    "score",
    metadata,
    Column("person_id", BigInteger, primary_key=True, autoincrement=False),
    Column("as_of", BigInteger, nullable=False),
    Column("digest", String(16), nullable=False),
    Column("total", SmallInteger, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("fit", Integer, nullable=False),
    Column("engagement", Integer, nullable=False),
    Column("relationship", Integer, nullable=False),
    Column("withheld", Integer, nullable=False),
    Column("band", String(1), nullable=False),
    Column("trend", String(8), nullable=False),
    Column("last_human_at", BigInteger),
    Column("reason_key", String(32), nullable=False),  # digest of (rule, newest day) pairs
    Column("reasons", JSON, nullable=False),  # the top lines as structured values, worded when written
    Column("version", Integer, nullable=False),
    Index(None, "band", "priority"),
)

handover = Table(
    "handover",
    metadata,
    Column("person_id", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("system", String(64)),  # the record that got the task; none for a seeded episode
    Column("kind", String(32)),
    Column("id", String(64)),
    Column("at", BigInteger, nullable=False),
    Column("armed", Boolean, nullable=False),  # false until the score fell below rearm_below
    Column("seeded", Boolean, nullable=False),
)

unassigned = Table(
    "unassigned",  # people who should be offered and whom nobody can take
    metadata,
    Column("person_id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
)

# --- what we owe: the outbox -----------------------------------------------------------------------------------------

outbox = Table(
    "outbox",
    metadata,
    Column("outbox_id", Surrogate, primary_key=True, autoincrement=True),
    Column("effect", String(8), nullable=False),  # fields | task
    Column("system", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("id", String(64), nullable=False),
    Column("person_id", BigInteger, nullable=False),
    Column("key", String(64), unique=True),  # tasks: the key that lives in the CRM
    Column("state", String(10), nullable=False),  # new | unknown | done | dead | cancelled
    Column("version", Integer, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("digest", String(32), nullable=False),  # of the payload
    Column("attempts", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger),
    Column("hold_until", BigInteger),  # a request whose outcome is unknown may still commit until then
    Column("due_at", BigInteger, nullable=False),
    Column("done_at", BigInteger),
    Column("crm_id", String(64)),
    Column("code", String(64)),
    Column("message", Text),
    Index(None, "state", "system", "effect", "due_at"),
    Index(None, "person_id"),
    # one row of owed values per record
    Index(
        "uq_outbox_fields",
        "system",
        "kind",
        "id",
        unique=True,
        sqlite_where=text("effect = 'fields'"),
        postgresql_where=text("effect = 'fields'"),
    ),
    sqlite_autoincrement=True,
)

acknowledged = Table(
    "acknowledged",  # what the CRM last took from us, per record: the base of every delta and of echo suppression
    metadata,
    Column("system", String(64), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("values", JSON, nullable=False),
    Column("digest", String(32), nullable=False),
    Column("reason_key", String(32), nullable=False),
    Column("at", BigInteger, nullable=False),
)

shown = Table(
    "shown",  # records whose fields of ours read differently than the last time: held against what we wrote
    metadata,
    Column("system", String(64), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("fields", JSON, nullable=False),  # those whose reading changed; one that cannot be read never does
    sqlite_with_rowid=False,
)

contested = Table(
    "contested",  # fields of ours that somebody else changed, how often, and what to (a digest, never the value)
    metadata,
    Column("system", String(64), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("field", String(64), primary_key=True),
    Column("times", Integer, nullable=False),
    Column("theirs", String(32), nullable=False),
    Column("at", BigInteger, nullable=False),
)

# --- who may run, and with what ----------------------------------------------------------------------------------------

lease = Table(
    "lease",  # one holder at a time; the token only ever grows
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(200)),  # machine, boot, process; none: free
    Column("token", BigInteger, nullable=False),
    Column("beats", BigInteger, nullable=False),  # a sign of life: others watch whether it moves
)

credential = Table(
    "credential",  # tokens that a CRM gave us, encrypted
    metadata,
    Column("system", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("secret", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

pause = Table(
    "pause",  # connections (or `*`) that must not be called for now
    metadata,
    Column("system", String(64), primary_key=True),
    Column("cause", String(16), primary_key=True),  # admin | quota | errors | credential | guard
    Column("until", BigInteger),  # none: until a person resumes
    Column("reason", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

calls_made = Table(
    "calls_made",  # our own calls by hour, so that a share of the day outlives a process
    metadata,
    Column("system", String(64), primary_key=True),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),  # hours since 1970 UTC
    Column("calls", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
)

forgotten = Table(
    "forgotten",  # keyed hashes of addresses and records that must never be stored again
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("reason", String(16), nullable=False),  # request | privacy
)

audit = Table(
    "audit",  # append-only; each row carries the hash of the one before
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("run_id", String(32)),
    Column("actor", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("old", JSON),
    Column("new", JSON),
    Column("why", Text, nullable=False),
    Column("before", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index(None, "at"),
    Index(None, "subject"),
)

# --- the runs themselves ---------------------------------------------------------------------------------------------

run = Table(
    "run",
    metadata,
    Column("run_id", String(32), primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("outcome", String(16), nullable=False),  # running | ok | partial | failed
    Column("report", JSON, nullable=False),
)

setting = Table(
    "setting",  # facts the state keeps about itself: baselines, last daily pass, probes
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", JSON, nullable=False),
)
