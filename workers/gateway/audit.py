"""The audit: who did what."""

import uuid
from datetime import UTC, datetime
from typing import Any

from workers.gateway.database.tables import AuditRow


def noted(tenant: str, who: str, action: str, capture_id: str | None, **detail: Any) -> AuditRow:
    return AuditRow(
        id=uuid.uuid4().hex,
        at=datetime.now(UTC),
        tenant=tenant,
        who=who,
        action=action,
        capture_id=capture_id,
        detail=detail,
    )
