"""Which command is for whom, and in which states: the table that the API and the checks share."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.cases.evidence.domain import commands as c
from services.cases.evidence.domain.vocabulary import EvidenceRole as R
from services.cases.evidence.domain.vocabulary import EvidenceState as S

__all__ = ["RULES", "Rule"]


@dataclass(frozen=True, slots=True)
class Rule:
    """``frozen_too``: also for an item whose integrity check failed; ``to``: where it leads."""

    verb: str
    states: frozenset[S]
    roles: frozenset[R]
    frozen_too: bool = False
    to: S | None = None


_HERE = frozenset({S.COLLECTED, S.SEALED})
_KEPT = _HERE | {S.RELEASED}
_CUSTODY = frozenset({R.EVIDENCE_CUSTODIAN, R.SECURITY_RESPONSE})
_CUSTODIAN = frozenset({R.EVIDENCE_CUSTODIAN})
_READ = _CUSTODY | {R.AUDITOR}
_SYSTEM = frozenset({R.SYSTEM})
_LEGAL = frozenset({R.LEGAL})

RULES: Mapping[type[c.EvidenceCommand], Rule] = {
    c.RegisterEvidence: Rule("register", frozenset({S.UNKNOWN}), _CUSTODY, to=S.REGISTERED),
    c.CollectEvidence: Rule(
        "collect", frozenset({S.REGISTERED}), _CUSTODY | _SYSTEM, to=S.COLLECTED
    ),
    c.SealEvidence: Rule("seal", frozenset({S.COLLECTED}), _CUSTODY, to=S.SEALED),
    c.TransferCustody: Rule("transfer-custody", _HERE, _CUSTODY),
    c.RecordAccess: Rule("record-access", _KEPT, _READ),
    c.AnalyseCopy: Rule("analyse-copy", _KEPT, _CUSTODY),
    c.VerifyIntegrity: Rule("verify-integrity", _KEPT, _CUSTODY | _SYSTEM, frozen_too=True),
    # A hold binds an item from its announcement on, and binds a frozen one all the more.
    c.PlaceLegalHold: Rule("place-legal-hold", _KEPT | {S.REGISTERED}, _LEGAL, frozen_too=True),
    c.ReleaseLegalHold: Rule("release-legal-hold", _KEPT | {S.REGISTERED}, _LEGAL, frozen_too=True),
    c.SetRetention: Rule("set-retention", _KEPT, _CUSTODIAN, frozen_too=True),
    c.ReleaseEvidence: Rule("release", frozenset({S.SEALED}), _CUSTODIAN, to=S.RELEASED),
    c.RequestDisposal: Rule("request-disposal", _KEPT, _CUSTODIAN),
    c.DisposeEvidence: Rule("dispose", _KEPT, _CUSTODIAN, to=S.DISPOSED),
    # Only what an integrity check froze can be lost; else closing would wait for ever (I6).
    c.RequestLossAcceptance: Rule("request-loss-acceptance", _KEPT, _CUSTODIAN, frozen_too=True),
    c.AcceptLoss: Rule("accept-loss", _KEPT, _LEGAL, frozen_too=True),
}
