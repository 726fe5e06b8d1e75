"""The regime table (§4.2): every row ships, says what it is, and a wrong one is refused."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.notify.obligations.regime_file import (
    RegimesError,
    load_regimes,
    parse_regimes,
    shipped_regimes,
)
from shared.yaml_lines import LineError

pytestmark = pytest.mark.unit

# The rows of §4.2 by the ids that they ship under; nis2_cloud is a classifier.
ROWS = {
    "gdpr_33_1", "gdpr_33_2", "gdpr_34", "eu_omnibus", "nis2_23", "nis2_23_trust", "dora_19",
    "dora_30", "cra_14_vulnerability", "cra_14_incident", "hipaa_404", "hipaa_406", "hipaa_408_500",
    "hipaa_408", "hipaa_410", "sec_8k_105", "nydfs_500_17", "us_bank_36h", "us_bank_provider",
    "circia", "sec_reg_sp", "sec_reg_sp_provider", "ftc_safeguards", "fedramp", "dfars_7012",
    "us_state_ca", "us_state_fl", "us_state_co", "us_state_ny", "us_state_tx", "us_state_other",
    "pci", "ca_pipeda", "qc_law25", "uk_gdpr", "uk_nis", "uk_csrb", "ch_isg_74b", "in_certin",
    "in_dpdp", "sg_pdpa", "sg_pdpa_intermediary", "sg_csa", "sg_mas", "au_ndb",
    "au_soci_significant", "au_soci_relevant", "au_ransom", "au_cps234", "jp_appi", "kr_pipa",
    "cn_incident_cii", "cn_incident_state", "cn_incident_other", "cn_pipl_57", "tw_csma", "hk_pci",
    "br_lgpd", "br_lgpd_small", "tr_72h", "th_72h", "id_72h", "vn_72h", "ph_72h", "my_72h",
    "sa_72h", "contract_sla", "insurer",
}  # fmt: skip


def test_every_row_ships() -> None:
    assert {row.id for row in shipped_regimes().rows} == ROWS


def test_what_is_unverified_pending_or_only_generally_known_is_disabled() -> None:
    for row in shipped_regimes().rows:
        assert row.source, row.id
        if row.status != "in_force" or row.basis == "general_knowledge":
            assert not row.enabled, row.id


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("{id: x}", "has no duty"),
        ("{id: x, duty: nobody}", "'nobody' is none of operator, tenant, clause"),
        ("{OK, clock: awake, phases: [{id: p, rule: {elapsed_hours: 1}, recipients: [r]}]}",
         "clock 'awake' is none of"),
        ("{OK, clock: aware, phases: []}", "has no phases"),
        ("{OK, clock: aware, phases: [{id: p, recipients: [r]}]}", "x/p has no rule"),
        ("{OK, clock: aware, phases: [{id: p, rule: {weeks: 1}, recipients: [r]}]}",
         "unknown key 'weeks'"),
        ("{OK, clock: aware, phases: [{id: p, recipients: [r],"
         " rule: {business_days: {days: 1, tz: Mars/Base, calendar: de}}}]}",
         "no time zone 'Mars/Base'"),
        ("{OK, clock: aware, phases: [{id: p, recipients: [r],"
         " rule: {business_days: {days: 1, tz: UTC, calendar: mars}}}]}",
         "no calendar 'mars'"),
        ("{OK, clock: aware, phases: [{id: p, rule: {elapsed_hours: 1}, recipients: [r],"
         " after: q}]}", "no phase 'q' stands before it"),
        ("{OK, clock: aware, trigger: {when: {persona_data: true}}, phases: []}",
         "no fact is called 'persona_data'"),
        ("{OK, clock: aware, trigger: {when: {persons: 3}}, phases: []}",
         "persons must be a table"),
        ("{OK, clock: aware, phases: [{id: p, rule: {earliest_of: [{elapsed_hours: 1}]},"
         " recipients: [r]}]}", "needs two members"),
        ("{OK, enabled: true, status: proposed, clock: aware, phases: []}", "cannot be enabled"),
        ("{OK, in_force: {from: yesterday}, clock: aware, phases: []}", "is not YYYY-MM-DD"),
    ],
)  # fmt: skip
def test_a_regime_that_is_not_understood_is_refused_with_its_line(row: str, why: str) -> None:
    ok = "id: x, version: '1', title: t, duty: operator, basis: own, source: s"
    if "status:" not in row:
        ok += ", status: in_force"
    text = f"regimes:\n  - {row.replace('OK', ok)}\n"
    with pytest.raises(LineError, match=re.escape(why)) as refused:
        parse_regimes(text)
    assert refused.value.line == 2


VERSIONS = """
regimes:
  - {id: x, version: "1", title: old, enabled: true, status: in_force, duty: operator,
     in_force: {to: "2026-06-30"}, clock: aware, basis: own, source: s,
     phases: [{id: p, rule: {elapsed_hours: 96}, recipients: [r]}]}
  - {id: x, version: "2", title: new, enabled: true, status: in_force, duty: operator,
     in_force: {from: "2026-07-01"}, clock: aware, basis: own, source: s,
     phases: [{id: p, rule: {elapsed_hours: 72}, recipients: [r]}]}
"""


def test_the_version_in_force_at_the_clock_counts_and_two_at_a_time_are_refused() -> None:
    rows = parse_regimes(VERSIONS).rows
    last_second = datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC)
    assert [row.version for row in rows if row.covers(last_second)] == ["1"]
    assert [row.version for row in rows if row.covers(datetime(2026, 7, 1, tzinfo=UTC))] == ["2"]
    with pytest.raises(LineError, match="in force twice at a time"):
        parse_regimes(VERSIONS.replace("2026-07-01", "2026-06-30"))


def test_an_operators_own_file_replaces_a_row_and_switches_are_checked(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yml"
    mine.write_text(VERSIONS.replace("id: x", "id: insurer"))
    found = load_regimes([mine], {"uk_gdpr": True})
    assert [row.version for row in found.rows if row.id == "insurer"] == ["1", "2"]
    assert next(row for row in found.rows if row.id == "uk_gdpr").enabled
    for files, switches, why in (
        ([], {"gdpr": True}, "there is no regime gdpr"),
        ([], {"eu_omnibus": True}, "proposed, not in force"),
        ([tmp_path / "none.yml"], {}, "cannot be read"),
    ):
        with pytest.raises(RegimesError, match=why):
            load_regimes(files, switches)
    mine.write_text("regimes:\n  - {id: x}\n")
    with pytest.raises(RegimesError, match=r"mine\.yml:2: "):
        load_regimes([mine], {})
