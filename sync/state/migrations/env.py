"""Alembic's entry: runs on the connection that `open_state` hands over, in one transaction."""

from alembic import context

from sync.state.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
