"""Collects every condition that a command does not meet, so that a refusal names them all."""

from collections.abc import Sequence
from dataclasses import replace

from services.cases.domain.commands import Command
from services.cases.domain.errors import CODES, NotAllowed, Unmet
from services.cases.domain.events import Event
from services.cases.domain.state import Incident
from services.cases.domain.values import Actor
from services.cases.domain.vocabulary import Role
from services.cases.domain.workflow import RULES, roles_for

__all__ = ["Check"]


class Check:
    """Begins with the role and the state; a decision adds its own conditions, then settles."""

    def __init__(self, incident: Incident, command: Command) -> None:
        rule = RULES[type(command)]
        roles = roles_for(incident, type(command))
        self.actor: Actor = command.actor
        self._role: list[Unmet] = []
        self._other: list[Unmet] = []
        if not command.actor.has(*roles):
            if rule.stands_in and command.actor.has(Role.DUTY_MANAGER):
                self.actor = replace(command.actor, acting_for=rule.stands_in.value)
            else:
                self._role.append(
                    Unmet("role_missing", f"{rule.verb} needs one of {', '.join(sorted(roles))}")
                )
        if incident.state not in rule.states:
            self.need(
                False,
                "wrong_state",
                f"{rule.verb} is for {', '.join(sorted(rule.states))}; it is {incident.state}",
            )

    def need(self, holds: bool, code: str, detail: str = "") -> None:
        """Note *code* as unmet unless the condition *holds*."""
        if not holds:
            self._other.append(Unmet(code, detail or CODES[code]))

    def need_role(self, holds: bool, detail: str) -> None:
        """Note the role as missing unless the condition *holds*."""
        if not (holds or self._role):
            self._role.append(Unmet("role_missing", detail))

    def verdict_by(self, incident: Incident, actor: Actor) -> None:
        """Note what is missing for *actor* to speak for the v-team: it is complete now (I3)."""
        for kind in incident.missing_kinds():
            self.need(False, "member_kind_missing", f"no member of kind {kind}")
        self.need(incident.is_member(actor.id), "not_in_v_team")

    def already_so(self) -> Sequence[Event]:
        """Return nothing, since nothing is left to happen; refuses only for want of a role."""
        self._other.clear()
        self.settle()
        return []

    def settle(self) -> None:
        """Raise NotAllowed with every unmet condition, if there is one."""
        if unmet := (*self._role, *self._other):
            raise NotAllowed(unmet)
