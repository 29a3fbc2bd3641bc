"""The SQL stands in 0001_ledger.sql."""

from settlement.migrate import run_file

revision = "0001_ledger"
down_revision = None


def upgrade() -> None:
    run_file(__file__)


def downgrade() -> None:
    raise NotImplementedError("books are not unwritten; restore a backup")
