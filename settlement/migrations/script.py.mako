"""The SQL stands in ${up_revision}.sql."""

from settlement.migrate import run_file

revision = "${up_revision}"
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    run_file(__file__)


def downgrade() -> None:
    raise NotImplementedError("books are not unwritten; restore a backup")
