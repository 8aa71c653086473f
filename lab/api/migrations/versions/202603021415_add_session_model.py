"""Add the model a session uses, nullable, so that the release before this one keeps working

Revision: 202603021415_add_session_model
Previous: 202601151030_create_sessions
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "202603021415_add_session_model"
down_revision = "202601151030_create_sessions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("model", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("sessions", "model")
