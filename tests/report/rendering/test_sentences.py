import dataclasses

from ddpm_lightning.report.rendering.sentences import card_line, legend_sentences, overview, verdict_sentences
from ddpm_lightning.report.table import Verdict


def with_verdicts(table, *given):
    rows = [
        dataclasses.replace(row, verdicts=dict.fromkeys(table.metrics, one))
        for row, one in zip(table.rows, given, strict=True)
    ]
    return dataclasses.replace(table, rows=rows)


def three(make_table):
    return make_table({"schedule": ["cosine", "linear", "sigmoid"]}, metrics=["kid_lenet"])


def test_the_overview_counts_configurations_runs_and_seeds(make_table):
    assert overview(three(make_table)) == ("3 configurations from 9 runs, which differ in schedule; seeds 0, 1 and 2.")
    assert overview(make_table({}, seeds=(4,))) == "1 configuration from 1 run; seed 4."


def test_the_overview_mentions_missing_seeds(make_table):
    table = three(make_table)
    cut = dataclasses.replace(table.rows[0], runs=table.rows[0].runs[:2])
    sentence = overview(dataclasses.replace(table, rows=[cut, *table.rows[1:]]))
    assert "from 8 runs" in sentence
    assert sentence.endswith("seeds 0, 1 and 2 (some configurations lack some of them).")


def test_the_best_configuration_is_named(make_table):
    table = with_verdicts(three(make_table), Verdict.BEST, Verdict.WORSE, Verdict.WORSE)
    assert verdict_sentences(table) == [
        "KID (lenet): schedule=cosine is significantly lower than every other configuration."
    ]


def test_ties_are_named(make_table):
    table = with_verdicts(three(make_table), Verdict.TIE, Verdict.TIE, Verdict.WORSE)
    assert verdict_sentences(table) == [
        "KID (lenet): no significant difference among the lowest: schedule=cosine; schedule=linear (ties). "
        "The others are significantly worse."
    ]
    assert any("not significantly different from the best mean" in sentence for sentence in legend_sentences(table))
    all_tie = with_verdicts(three(make_table), *[Verdict.TIE] * 3)
    assert verdict_sentences(all_tie) == ["KID (lenet): no significant differences: all 3 configurations tie."]
    two = make_table({"schedule": ["cosine", "linear"]}, metrics=["kid_lenet"])
    assert verdict_sentences(two) == ["KID (lenet): no significant differences: both configurations tie."]


def test_the_best_precision_is_the_highest(make_table):
    table = make_table({"schedule": ["cosine", "linear", "sigmoid"]}, metrics=["precision_lenet", "kid_lenet"])
    assert verdict_sentences(with_verdicts(table, Verdict.BEST, Verdict.WORSE, Verdict.WORSE)) == [
        "precision (lenet): schedule=cosine is significantly higher than every other configuration.",
        "KID (lenet): schedule=cosine is significantly lower than every other configuration.",
    ]
    ties = verdict_sentences(with_verdicts(table, Verdict.TIE, Verdict.TIE, Verdict.WORSE))
    assert ties[0].startswith(
        "precision (lenet): no significant difference among the highest: schedule=cosine; schedule=linear"
    )


def test_scores_where_higher_is_better_are_named(make_table):
    metrics = ["kid_lenet", "precision_lenet", "recall_lenet", "noise_mae"]
    table = make_table({"schedule": ["cosine", "linear"]}, metrics=metrics)
    assert legend_sentences(table)[0].startswith(
        "Higher is better for precision (lenet) and recall (lenet), lower for the others."
    )
    shares = make_table({"schedule": ["cosine", "linear"]}, metrics=["precision_lenet", "recall_lenet"])
    assert legend_sentences(shares)[0].startswith("Higher is better. ")
    assert legend_sentences(three(make_table))[0].startswith("Lower is better. ")


def test_incomparable_configurations_get_no_verdict(make_table):
    none = with_verdicts(three(make_table), *[Verdict.UNKNOWN] * 3)
    assert "cannot be compared" in verdict_sentences(none)[0]
    assert not any("significantly different" in sentence for sentence in legend_sentences(none))
    assert verdict_sentences(make_table({"schedule": ["cosine"]})) == []


def test_configurations_that_are_not_compared_are_named(make_table):
    some = with_verdicts(three(make_table), Verdict.TIE, Verdict.TIE, Verdict.UNKNOWN)
    assert verdict_sentences(some) == [
        "KID (lenet): no significant difference among the lowest: schedule=cosine; schedule=linear (ties). "
        "Not compared: schedule=sigmoid."
    ]


def test_a_card_line_has_all_settings_of_a_score(make_table):
    card = make_table({}).cards[0]
    line = card_line(card)
    for part in (
        "lenet",
        card.features_sha256[:12],
        "28x28",
        "1,000 generated",
        "test split of mnist",
        "ddim (steps 25",
    ):
        assert part in line
    assert "25 network evaluations per sample" in line and "guidance none;" in line and "labels" not in line
    other = card_line(
        dataclasses.replace(
            card,
            sampler={"name": "own", "steps": 1, "order": 3, "clip": False, "grid": {"name": "karras", "rho": 7.0}},
            guidance={"name": "classifier_free", "scale": 2.0},
            nfe=1,
            labels="as_in_data",
            weights="raw",
        )
    )
    assert "own (steps 1, order 3, clip no, grid karras (rho 7)), 1 network evaluation per sample" in other
    assert "guidance classifier_free (scale 2); raw weights" in other and "labels as in data" in other
