"""How far a rule is to be trusted, by the verdicts on the incidents it helped to open (R04a)."""

import math
from dataclasses import dataclass

__all__ = ["Precision"]

_Z = 1.96  # 95 %


@dataclass(frozen=True, slots=True)
class Precision:
    """Verdicts on a rule: real incidents and false positives."""

    real: int
    false: int

    @property
    def share(self) -> float | None:
        """Return the share of real ones, None without any verdict."""
        return self.real / (self.real + self.false) if self.real + self.false else None

    @property
    def lower_bound(self) -> float:
        """Return the lower bound of Wilson's 95 % score interval; 0.5 without any verdict.

        Few verdicts say little: one out of one is 0.21, ninety out of a hundred 0.83.
        """
        total = self.real + self.false
        if not total:
            return 0.5
        share = self.real / total
        centre = share + _Z**2 / (2 * total)
        margin = _Z * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
        return max(0.0, (centre - margin) / (1 + _Z**2 / total))

    def rank(self, impact: int) -> float:
        """Return what orders rules: *impact* (0 to 100) weighed by trust."""
        return round(impact * self.lower_bound, 2)
