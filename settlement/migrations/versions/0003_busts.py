"""The SQL stands in 0003_busts.sql."""

from settlement.migrate import run_file

revision = "0003_busts"
down_revision = "0002_register"


def upgrade() -> None:
    run_file(__file__)


def downgrade() -> None:
    raise NotImplementedError("books are not unwritten; restore a backup")
