"""The SQL stands in 0002_register.sql."""

from settlement.migrate import run_file

revision = "0002_register"
down_revision = "0001_ledger"


def upgrade() -> None:
    run_file(__file__)


def downgrade() -> None:
    raise NotImplementedError("books are not unwritten; restore a backup")
