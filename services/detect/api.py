"""What one may ask of detect: its rules, what was wrong with files, and detections."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request

from services.detect.ruleset import InForce, Ruleset
from services.detect.store import detection, page_of_detections, riskiest
from shared.auth import Principal, Role, allow
from shared.contracts.detect import Level
from shared.problems import ProblemError

__all__ = ["READERS", "in_force", "router"]

router = APIRouter()
READERS = (
    Role.SECURITY_RESPONSE, Role.SERVICE_TEAM, Role.DETECTION_ENGINEER, Role.AUDITOR,
    Role.SUBJECT_MATTER_EXPERT,
)  # fmt: skip
Reader = Annotated[Principal, allow(*READERS)]
RuleReader = Annotated[Principal, allow(*READERS, Role.OPERATOR)]


def in_force(request: Request) -> InForce:
    """Return the rules in force; 503 while they are being loaded."""
    ruleset: Ruleset = request.state.ruleset
    if ruleset.current is None:
        raise ProblemError(
            503, "rules_loading", "Rules are being loaded.", headers={"Retry-After": "2"}
        )
    return ruleset.current


@router.get("/v1/rules", tags=["rules"], summary="The rules in force")
async def list_rules(
    request: Request,
    _: RuleReader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str, Query(description="rule id to go on after")] = "",
) -> dict[str, Any]:
    report = in_force(request).report
    rules = sorted((r for r in report.loaded if r.id > after), key=lambda r: r.id)
    return {
        "loaded": len(report.rules),
        "correlations": len(report.correlations),
        "filters": len(report.filters),
        "rejected": len(report.errors),
        "skipped": len(report.skipped),
        "inert": len(in_force(request).unrouted),
        "seconds": round(in_force(request).loaded_in_seconds, 3),
        "items": [
            {
                "id": rule.id,
                "title": rule.title,
                "level": rule.level,
                "status": rule.status,
                "version": rule.version,
                "tags": list(rule.tags),
                "author": rule.author,
            }
            for rule in rules[:limit]
        ],
        "next_after": rules[limit - 1].id if len(rules) > limit else None,
    }


@router.get("/v1/rules/errors", tags=["rules"], summary="Rules that could not be loaded, and why")
async def list_errors(request: Request, _: RuleReader) -> dict[str, Any]:
    report = in_force(request).report
    return {
        "items": [{"file": str(e.path), "line": e.line, "reason": e.reason} for e in report.errors],
        "skipped": [
            {"file": str(s.path), "line": s.line, "reason": s.reason} for s in report.skipped
        ],
        "warnings": [
            {"file": str(w.path), "line": w.line, "reason": w.reason} for w in report.warnings
        ],
    }


@router.get("/v1/detections", tags=["detections"], summary="Detections, newest first")
async def list_detections(
    request: Request,
    _: Reader,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
    rule: str | None = None,
    level: Level | None = None,
    order: Annotated[
        Literal["newest", "risk"], Query(description="risk: one page only")
    ] = "newest",
) -> dict[str, Any]:
    if order == "risk":
        items = await riskiest(request.state.engine, limit=limit, rule=rule, level=level)
        return {"items": items, "next_cursor": None}
    rows = await page_of_detections(
        request.state.engine, limit=limit + 1, before=_read(cursor), rule=rule, level=level
    )
    following = _cursor(*rows[limit - 1][:2]) if len(rows) > limit else None
    return {"items": [body for _, _, body in rows[:limit]], "next_cursor": following}


@router.get("/v1/detections/{detection_id}", tags=["detections"], summary="One detection")
async def get_detection(request: Request, detection_id: UUID, _: Reader) -> dict[str, Any]:
    found = await detection(request.state.engine, detection_id)
    if found is None:
        raise ProblemError(404, "not_found", "There is no such detection.")
    return found


def _cursor(at: datetime, identity: UUID) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{identity}".encode()).decode()


def _read(cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    try:
        at, _, identity = base64.urlsafe_b64decode(cursor).decode().partition("|")
        return datetime.fromisoformat(at), UUID(identity)
    except (ValueError, binascii.Error, UnicodeDecodeError) as error:
        raise ProblemError(422, "malformed", "The cursor is not one of ours.") from error
