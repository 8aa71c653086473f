"""Index sessions by age, without blocking writers

Revision: 202603021420_index_created_at
Previous: 202603021415_add_session_model
"""

from __future__ import annotations

from alembic import op

revision = "202603021420_index_created_at"
down_revision = "202603021415_add_session_model"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_sessions_created_at", "sessions", ["created_at"], postgresql_concurrently=True, if_not_exists=True
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index("ix_sessions_created_at", "sessions", postgresql_concurrently=True, if_exists=True)
