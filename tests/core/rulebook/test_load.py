"""Every mistake in a rule file is found, named with its place, and all of them at once."""

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core import yamltext
from core.errors import InvalidRulebook
from core.rulebook import (
    ActivityRule,
    AttributeRule,
    Drain,
    check_timezone,
    freshness,
    load_rulebook,
    scoring_digest,
    template_text,
    templates,
    text_digest,
)

HEAD = "name: test\ntimezone: Asia/Tokyo\nrules:\n"
BANDS = "bands: {A: {total: 80}, B: {total: 50}, C: {total: 20}}\n"
GOOD = "  - {id: views, dimension: engagement, points: 5, on: page_view, label: {ja: 閲覧}}\n"


def rule(body: str) -> str:
    return f"  - {{id: r, dimension: fit, label: {{ja: 規則}}, {body}}}\n"


def problems(text: str) -> str:
    with pytest.raises(InvalidRulebook) as caught:
        load_rulebook(text, source="rules.yaml")
    assert caught.value.place.startswith("rules.yaml:")
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize("name", templates())
def test_templates_load_and_speak_both_languages(name: str) -> None:
    book = load_rulebook(template_text(name))
    assert book.name == name
    for each in book.rules:
        assert each.label.ja
        assert each.label.en
        assert each.caution is not None
        assert each.caution.ja
        assert each.caution.en
        assert freshness(each) in ("realtime", "on_update", "daily")


def test_article_is_the_articles_table() -> None:
    book = load_rulebook(template_text("article"))
    points = {each.id: int(each.points or 0) for each in book.rules}
    assert points == {
        "pricing-page": 15,
        "whitepaper": 10,
        "mail-open": 5,
        "webinar": 20,
        "decision-maker": 30,
        "company-size": 20,
        "target-industry": 15,
        "quiet": -10,
    }
    quiet = book.rule("quiet")
    assert quiet is not None
    assert quiet.inactive.for_ == 30  # type: ignore[union-attr]
    assert quiet.inactive.repeat is False  # type: ignore[union-attr]
    cautions = {each.id: each.caution.ja for each in book.rules if each.caution}
    assert cautions["mail-open"] == "低関心でも開封するため、過大評価に注意"
    assert book.bands.A.total == 80


def test_the_advised_rulebook_punishes_silence_once() -> None:
    book = load_rulebook(template_text("b2b-japan-standard"))
    fading = [each for each in book.rules if isinstance(each, ActivityRule) and each.decay is not None]
    assert fading
    assert not [each for each in book.rules if hasattr(each, "inactive")]
    opened = book.rule("mail-open")
    assert isinstance(opened, ActivityRule)
    assert opened.points == 0


def test_the_rule_of_the_design_loads() -> None:
    book = load_rulebook(
        HEAD
        + """\
  - {id: decision-maker, dimension: fit, points: 30, when: {field: title_rank, at_least: general_manager},
     label: {ja: 決裁権のある役職(部長以上), en: Decision-maker title}, caution: {ja: 実務担当者経由のケースも, en: …}}
  - {id: pricing-page, dimension: engagement, points: 15, on: page_view, where: {url: {contains: /pricing}},
     decay: {half_life: 45d}, at_least: {count: 2, within: 14d}, limit: {count: 1, per: day}, cap: 45, label: {ja: 料金}}
  - {id: quiet, dimension: engagement, points: -10, inactive: {for: 30d, repeat: true}, floor: -30,
     unless: [open_deal, recontact_on_ahead], label: {ja: 無活動}}
  - {id: buying-group, dimension: relationship, points: 15, account: {people_active: {at_least: 3, within: 90d}}, label: {ja: 複数}}
  - {id: past-deal, dimension: relationship, points: 25, deal: {won: {at_least: 1, within: 1095d}}, label: {ja: 受注}}
bands: {A: {total: 80, engagement: 20}, B: {total: 50}, C: {total: 20}, D: {}}
surge: {window: 10d, points: 30}
handover: {name: sales, band: A, recent: 14d, rearm_below: 70, initial: {drain: 5}}
dimensions: {fit: {cap: 65}, engagement: {cap: 100}, relationship: {cap: 60}}
"""
    )
    assert book.handover.initial == Drain(drain=5)
    assert [type(each).__name__ for each in book.rules] == [
        "AttributeRule",
        "ActivityRule",
        "InactiveRule",
        "AccountRule",
        "DealRule",
    ]


@pytest.mark.parametrize(
    ("text", "line", "field", "says"),
    [
        ("", 1, "", "empty"),
        ("- a", 1, "", "mapping"),
        ("name: [", 1, "", "YAML"),
        ("name: !!python/object/apply:os.system [true]", 1, "", "tag"),
        ("name: &a x\ntimezone: *a", 1, "", "anchors"),
        (HEAD + GOOD + BANDS + "---\nname: x\n", 6, "", "one document"),
        (HEAD + GOOD + BANDS + "name: again\n", 6, "name", "twice"),
        (HEAD + GOOD + BANDS + "surges: {window: 3d, points: 5}\n", 6, "surges", "did you mean 'surge'"),
        (HEAD.replace("Asia/Tokyo", "Asia/Tokio") + GOOD + BANDS, 2, "timezone", "time zone"),
        (HEAD + GOOD, 1, "bands", "missing"),
        ("name: test\ntimezone: Asia/Tokyo\nrules: []\n" + BANDS, 3, "rules", "at least one"),
        (HEAD + GOOD + GOOD + BANDS, 5, "rules[views].id", "used twice"),
        (HEAD + rule("points: 1") + BANDS, 4, "rules[r]", "one of when, bins, on"),
        (HEAD + rule("points: 1, on: pageview") + BANDS, 4, "rules[r].on", "did you mean 'page_view'"),
        (HEAD + rule("points: x, on: call") + BANDS, 4, "rules[r].points", "number of points"),
        (HEAD + rule("points: 0.0001, on: call") + BANDS, 4, "rules[r].points", "three decimals"),
        (
            HEAD + rule("points: 1, on: call, decay: {half_life: 45}") + BANDS,
            4,
            "rules[r].decay.half_life",
            "such as 45d",
        ),
        (HEAD + rule("points: 1, on: call, decay: {half_life: 3m}") + BANDS, 4, "rules[r].decay.half_life", "duration"),
        (
            HEAD + rule("points: 1, on: call, decay: {half_lief: 4d}") + BANDS,
            4,
            "rules[r].decay.half_lief",
            "half_life",
        ),
        (HEAD + rule("points: 1, on: call, decay: {}") + BANDS, 4, "rules[r].decay", "exactly one"),
        (
            HEAD + rule("points: 1, on: call, limit: {count: 1, per: year}") + BANDS,
            4,
            "rules[r].limit.per",
            "unknown value",
        ),
        (HEAD + rule("points: 1, on: call, capp: 5") + BANDS, 4, "rules[r].capp", "did you mean 'cap'"),
        (HEAD + rule("points: 1, on: call, cap: 0") + BANDS, 4, "rules[r].cap", "above 0"),
        (
            HEAD + rule("points: 1, when: {field: titel, equals: x}") + BANDS,
            4,
            "rules[r].when.field",
            "did you mean 'title'",
        ),
        (HEAD + rule("points: 1, when: {field: title}") + BANDS, 4, "rules[r].when", "say what is asked"),
        (
            HEAD + rule("points: 1, when: {field: title, at_least: 3}") + BANDS,
            4,
            "rules[r].when.at_least",
            "without order",
        ),
        (
            HEAD + rule("points: 1, when: {field: title_rank, equals: boss}") + BANDS,
            4,
            "rules[r].when.equals",
            "title rank",
        ),
        (HEAD + rule("points: 1, when: {field: employees, equals: many}") + BANDS, 4, "rules[r].when.equals", "number"),
        (HEAD + rule("points: 1, when: {field: title, in: []}") + BANDS, 4, "rules[r].when.in", "never match"),
        (HEAD + rule("points: 1, when: {any: []}") + BANDS, 4, "rules[r].when.any", "at least one"),
        (
            HEAD + rule("points: 1, when: {field: employees, at_least: 9, at_most: 3}") + BANDS,
            4,
            "rules[r].when",
            "never match",
        ),
        (
            HEAD + rule("points: 1, when: {field: title, exists: false, equals: x}") + BANDS,
            4,
            "rules[r].when",
            "never match",
        ),
        (HEAD + rule("points: 1, on: page_view, where: {ulr: {equals: x}}") + BANDS, 4, "rules[r].where.ulr", "'url'"),
        (HEAD + rule("points: 1, on: page_view, where: {}") + BANDS, 4, "rules[r].where", "empty condition"),
        (
            HEAD + rule("field: employees, bins: [{points: 1}, {below: 9, points: 2}]") + BANDS,
            4,
            "rules[r].bins[0]",
            "last",
        ),
        (
            HEAD + rule("field: employees, bins: [{below: 9, points: 1}, {below: 9, points: 2}]") + BANDS,
            4,
            "rules[r].bins[1].below",
            "upwards",
        ),
        (HEAD + rule("field: title, bins: [{below: 9, points: 1}]") + BANDS, 4, "rules[r].field", "bins need a number"),
        (HEAD + rule("points: 5, inactive: {for: 30d}") + BANDS, 4, "rules[r].points", "negative"),
        (HEAD + rule("points: -5, inactive: {for: 30d}, unless: [deal]") + BANDS, 4, "rules[r].unless[0]", "open_deal"),
        (HEAD + rule("points: 5, deal: {}") + BANDS, 4, "rules[r].deal", "exactly one"),
        (HEAD + GOOD + BANDS.replace("50", "90"), 5, "bands.B", "nobody can ever be B"),
        (HEAD + GOOD + BANDS.replace("80", "101"), 5, "bands.A.total", "never be reached"),
        (
            HEAD + GOOD + BANDS.replace("total: 80", "total: 40, fit: 5"),
            5,
            "bands.B.total",
            "higher total",
        ),
        (HEAD + GOOD + BANDS + "dimensions: {fit: {cap: 10}}\nhandover: {band: D}\n", 7, "handover.band", "at least D"),
        (HEAD + GOOD + BANDS + "handover: {rearm_below: 90}\n", 6, "handover.rearm_below", "lies above"),
        (HEAD + GOOD + BANDS + "handover: {initial: some}\n", 6, "handover.initial", "some"),
        (HEAD + GOOD + BANDS + "handover: {capacity: 5}\n", 6, "handover.capacity", "unknown key"),
    ],
)
def test_every_mistake_has_its_place(text: str, line: int, field: str, says: str) -> None:
    shown = problems(text)
    expected = f"rules.yaml:{line}: {field}: " if field else f"rules.yaml:{line}"
    assert any(each.startswith(expected) and says in each for each in shown.splitlines()), shown


def test_all_mistakes_are_listed_at_once() -> None:
    shown = problems(
        HEAD
        + "  - {id: a, dimension: fitt, points: 5, on: call, label: {ja: あ}}\n"
        + "  - {id: b, dimension: fit, points: x, on: call, label: {ja: あ}}\n"
        + "  - {id: c, dimension: fit, points: 5, when: {feild: title}, label: {}}\n"
        + BANDS
    )
    places = [each.split(": ")[1] for each in shown.splitlines()]
    assert places == ["rules[a].dimension", "rules[b].points", "rules[c].label", "rules[c].when.feild"]


@pytest.mark.parametrize(
    "pattern",
    ["(?=a)", "(?<!a)b", r"(a)\1", "(?P<n>a)", "(?i)a", "a++", r"\Aa", r"a\Z", "a{1000,}", "(", r"\p{Han}", "(?>a)"],
)
def test_patterns_that_engines_read_differently_are_refused(pattern: str) -> None:
    shown = problems(HEAD + rule(f"points: 1, on: page_view, where: {{url: {{matches: '{pattern}'}}}}") + BANDS)
    assert "rules[r].where.url.matches" in shown


@pytest.mark.parametrize("pattern", ["^https?://", r"\.pdf$", "(?:a|b)+c{2,3}", r"価格|料金", r"\\1", "[^/]+/[0-9]{4}"])
def test_plain_patterns_are_allowed(pattern: str) -> None:
    book = load_rulebook(HEAD + rule(f"points: 1, on: page_view, where: {{url: {{matches: '{pattern}'}}}}") + BANDS)
    assert isinstance(book.rules[0], ActivityRule)


def test_plain_words_are_what_they_look_like() -> None:
    """YAML 1.1 reads `on` as true, `NO` as false and 1_000 as a number; people do not."""
    book = load_rulebook(HEAD + rule("points: 1, when: {field: country, in: [NO, on, 'yes', 1_0]}") + BANDS)
    assert isinstance(book.rules[0], AttributeRule)
    assert book.rules[0].when is not None
    assert book.rules[0].when.in_ == ("NO", "on", "yes", "1_0")


def test_digests_follow_numbers_and_words_apart() -> None:
    book = load_rulebook(HEAD + GOOD + BANDS)
    words = load_rulebook(HEAD + GOOD.replace("閲覧", "ページ閲覧") + BANDS)
    numbers = load_rulebook(HEAD + GOOD.replace("5", "6") + BANDS)
    bands = load_rulebook(HEAD + GOOD + BANDS.replace("50", "51"))
    spelled = load_rulebook(HEAD + GOOD.replace("points: 5", "points: 5.0") + BANDS)
    assert scoring_digest(words) == scoring_digest(book) == scoring_digest(spelled)
    assert text_digest(words) != text_digest(book)
    assert len({scoring_digest(each) for each in (book, numbers, bands)}) == 3
    assert len(scoring_digest(book)) == 16


def test_the_settings_time_zone_holds() -> None:
    book = load_rulebook(HEAD + GOOD + BANDS)
    check_timezone(book, "Asia/Tokyo")
    with pytest.raises(InvalidRulebook, match=r"Asia/Tokyo.*Europe/Berlin"):
        check_timezone(book, "Europe/Berlin")


def test_a_rulebook_is_immutable() -> None:
    book = load_rulebook(HEAD + GOOD + BANDS)
    with pytest.raises(ValueError, match="frozen"):
        book.name = "other"  # type: ignore[misc]
    assert hash(book) == hash(load_rulebook(HEAD + GOOD + BANDS))


def test_unknown_templates_are_refused() -> None:
    with pytest.raises(KeyError):
        template_text("../errors")


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="abc:{}[]-,'\" \n#&*!|>?%@`\t0", max_size=60))
def test_any_text_is_a_rulebook_or_an_error_with_a_place(text: str) -> None:
    problems(text)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_cut_of_a_template_is_an_error_with_a_place(data: st.DataObject) -> None:
    text = template_text("b2b-japan-standard")
    lines = text.splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    try:
        load_rulebook("".join(lines[:at]), source="rules.yaml")
    except InvalidRulebook as error:
        assert error.place.startswith("rules.yaml:")  # noqa: PT017


LINES = [line for name in sorted(templates()) for line in template_text(name).splitlines(keepends=True)]
CUTS = st.builds(
    lambda first, length, left: "".join(LINES[first : first + length])[left:],
    st.integers(0, len(LINES) - 1),
    st.integers(1, 20),
    st.integers(0, 30),
)


@settings(max_examples=300, deadline=None)
@example(">#")
@example("a: |2-# b")
@example("{a?}")
@example('{a: "x\n  # y", b?: c}')
@example("{'\n#',a?}")
@example('a: "\n #"\t\nb: 1')
@example('["\n#"\t,a]')
@given(st.one_of(CUTS, st.text(alphabet="abc:{}[]-,'\" \n#&*!|>?%@`\t0~", max_size=40)))
def test_both_parsers_read_the_same(text: str) -> None:
    """libyaml's is only faster: whatever is taken, PyYAML's own takes, with the same values on the same lines."""
    read = yamltext.read_source(text)
    slow = yamltext._read(text, yaml.SafeLoader)
    assert (read.value, read.lines, read.problems) == (slow.value, slow.lines, slow.problems)


@pytest.mark.skipif(yamltext.FAST is yaml.SafeLoader, reason="PyYAML was built without libyaml")
@pytest.mark.parametrize("name", sorted(templates()))
def test_the_templates_are_read_the_fast_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "SafeLoader", None)  # the strict way would fail
    assert yamltext.read_source(template_text(name)).problems == []


def test_a_lone_surrogate_is_a_mistake_and_no_crash() -> None:
    assert yamltext.read_source("name: \ud800").problems
