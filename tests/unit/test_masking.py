"""Which rules a copy for staging needs before a row may leave, and what becomes SQL. Values: molecule/backup."""

from __future__ import annotations

import masking
import pytest
from masking import Column, Reference, Table

from ansible_collections.signalbox.platform.plugins.module_utils import _spec_model

PEOPLE = Table(
    "public",
    "people",
    (
        Column("id", "bigint", "int8", required=True, sequence="public.people_id_seq"),
        Column("key", "uuid", "uuid", required=True),
        Column("name", "character varying(50)", "varchar", comment="Personal: as they wrote it"),
        Column("born", "date", "date"),
        Column("shout", "text", "text", generated=True),
    ),
)
VISITS = Table(
    "shop",
    "visits",
    (Column("number", "integer", "int4", always=True), Column("person", "uuid", "uuid")),
    (Reference(("person",), "people", ("key",)),),
)
RULES = {
    "people": {"id": "keep", "key": "pseudonym", "name": "filler", "born": "noise"},
    "shop.visits": {"number": "keep", "person": "pseudonym"},
}


def people(**changes: str) -> dict[str, dict[str, str]]:
    return {**RULES, "people": {**RULES["people"], **changes}}


def visits(**changes: str) -> dict[str, dict[str, str]]:
    return {**RULES, "shop.visits": {**RULES["shop.visits"], **changes}}


def test_rules_for_everything_are_enough() -> None:
    assert masking.problems([PEOPLE, VISITS], RULES) == []


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({}, "people has no rule; write people: {id: keep, key: keep, name: ? (personal character varying(50)), born:"),
        ({**RULES, "persons": {}}, "there is no table persons"),
        ({**RULES, "people": {"id": "keep"}}, "people.name (character varying(50), marked personal) has no rule"),
        (people(name="keep"), "people.name is marked personal, and its rule is keep"),
        (people(shout="filler"), "people.shout is no column that can be written"),
        (people(id="clear"), "people.id may not be null"),
        (people(born="email"), "people.born is date, and email takes text, varchar, bpchar, citext"),
        (visits(number="pseudonym"), "number is always generated as an identity: keep it"),
        (visits(person="keep"), "shop.visits.person refers to people.key: their rules must be the same"),
        ({**RULES, "people": {}}, "refers to people.key, of which no rows come: its rule must be clear"),
    ],
)
def test_nothing_leaves_while_a_rule_is_missing_or_wrong(rules: masking.Rules, words: str) -> None:
    found = masking.problems([PEOPLE, VISITS], rules)
    assert any(words in problem for problem in found), found


@pytest.mark.parametrize("rules", [visits(person="clear"), {"people": {}, "shop.visits": {}}])
def test_a_reference_may_be_cleared_or_left_out(rules: masking.Rules) -> None:
    assert masking.problems([PEOPLE, VISITS], rules) == []


def test_a_mark_is_a_word() -> None:
    assert Column("a", "text", "text", comment="is PERSONAL").personal
    assert not Column("a", "text", "text", comment="impersonal").personal


def test_the_key_is_not_the_passphrase_and_another_passphrase_has_another() -> None:
    made = {masking.script([PEOPLE], RULES, passphrase) for passphrase in ("one passphrase", "other passphrase")}
    assert len(made) == 2
    assert not any("passphrase" in text for text in made)


def test_names_are_quoted() -> None:
    odd = Table("public", 'a"b', (Column("it's", "text", "text"),))
    text = masking.statement(odd, {"it's": "filler"})
    assert 'only "public"."a""b"' in text
    assert "'it''s', json_build_object" in text


def test_a_value_or_a_row_that_stays_is_told() -> None:
    columns = {
        "a": {"method": "filler", "values": 9, "unchanged": 0},
        "b": {"method": "noise", "values": 9, "unchanged": 1},
    }
    assert masking.untouched([{"table": "t", "missed": 0, "columns": columns}]) == [
        "t.b: noise left 1 of 9 values as is"
    ]
    assert masking.untouched([{"table": "t", "missed": 2, "columns": {}}]) == ["t: 2 rows could not be changed"]


def test_the_spec_knows_the_methods_that_there_are() -> None:
    assert masking.METHODS == _spec_model.MASKING


def test_what_is_no_method_never_becomes_sql() -> None:
    found = masking.problems([PEOPLE, VISITS], people(name="filler('x'); drop table people; --"))
    assert any("is no method; there are keep, clear" in problem for problem in found), found
