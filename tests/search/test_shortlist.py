"""Shortlists: what they hold, what search finds among them, in any company; runs that have them.

Dimension letters: B sentences, L tokens of a shortlist.
"""

import io
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from s2s import pipeline
from s2s.data.ibm_model1 import Lexicon
from s2s.errors import RunError, UsageError
from s2s.inference.load import load_ensemble
from s2s.nn.inference_model import inference_model
from s2s.nn.model import Seq2Seq
from s2s.nn.step import Step
from s2s.pipeline.output_names import describe
from s2s.pipeline.scoring import score_pairs
from s2s.pipeline.shortlist import covered, learn_shortlist
from s2s.recipe.search import BeamSearch, ExhaustiveSearch, GreedySearch, SampleSearch, Search
from s2s.run.directory import Run
from s2s.run.shortlist import NAME, read_lexicon
from s2s.search.bucketing import bucket
from s2s.search.constraints.automaton import Spelling
from s2s.search.constraints.negative import NegativeConstraints
from s2s.search.constraints.positive import PositiveConstraints, Term
from s2s.search.ensemble import Ensemble, ensemble
from s2s.search.loop import search
from s2s.search.shortlist import Shortlist, Shortlisted, shortlisted, whole
from s2s.special import BOS, EOS, PAD
from s2s_cli.main import run as command_line
from tests.search.test_ensemble import SEARCHES, VOCABULARY, folder, network, sentences
from tests.search.toys import AnyScorer, spec_of

__all__ = ["folder"]

LIMIT: dict[str, Any] = {"max_ratio": 1.0, "max_offset": 4}
EXHAUSTIVE = ExhaustiveSearch(kind="exhaustive", nodes=60, max_ratio=1.0, max_offset=2)
EVERY: list[Search] = [
    *SEARCHES,
    SampleSearch(kind="sample", samples=2, no_repeat_ngram=2, repetition_penalty=1.2, **LIMIT),
    EXHAUSTIVE,
]
NAMES = ["greedy", "beam", "sample", "constrained", "exhaustive"]
every_search = pytest.mark.parametrize("settings", EVERY, ids=NAMES)
BEST, FREQUENT = 2, 9


def random_lexicon(seed: int = 3, kept: int = 5) -> Lexicon:
    generator = np.random.default_rng(seed)
    probs = generator.dirichlet(np.ones(kept + 1), VOCABULARY)[:, :kept].astype(np.float32)
    probs[:4] = 0.0
    tokens = generator.integers(4, VOCABULARY, (VOCABULARY, kept))
    return Lexicon(generator.permutation(VOCABULARY), tokens, -np.sort(-probs, axis=1))


LEXICON = random_lexicon()


def padded(source: list[int]) -> torch.Tensor:
    row = torch.full((bucket(len(source) + 1),), PAD)
    row[: len(source) + 1] = torch.tensor([*source, EOS])
    return row.unsqueeze(0)


def by_hand(source: list[int], best: int, frequent: int, extra: set[int]) -> list[int]:
    """The tokens of a shortlist as a set of rules, ranked by a sort."""
    ranked = [int(token) for token in LEXICON.by_frequency_W]
    common = sorted([token for token in ranked if token >= 4][:frequent])
    weight = dict.fromkeys(ranked, 0.0)
    for token in source:
        pairs = zip(LEXICON.tokens_VM[token], LEXICON.probs_VM[token], strict=True)
        for other, prob in pairs:
            weight[int(other)] += round(float(prob) * 2**20)
    rest = [token for token in ranked if token >= 4 and token not in common]
    rest.sort(key=lambda token: (token not in extra, -weight[token]))
    count = best * bucket(len(source) + 1)
    return [PAD, 1, BOS, EOS, *common, *sorted(rest[:count])]


@pytest.mark.parametrize(("best", "frequent"), [(1, 0), (2, 9), (3, 40)])
def test_a_shortlist_holds_what_the_rules_say(best: int, frequent: int) -> None:
    shortlist = Shortlist(LEXICON, best, frequent)
    for source in sentences(30):
        extra = {4, 5, source[0]}
        for asked in (set(), extra):
            (found,) = shortlist.choose(padded(source), [list(asked)]).tolist()
            assert found == by_hand(source, best, frequent, asked)
            assert asked <= set(found)


def test_more_tokens_than_fit_are_refused() -> None:
    shortlist = Shortlist(LEXICON, 1, FREQUENT)
    rare = [int(token) for token in LEXICON.by_frequency_W[FREQUENT + 4 :]]
    asked = [token for token in rare if token >= 4][:17]
    with pytest.raises(UsageError, match="room for 16 tokens of a sentence's own, found 17"):
        shortlist.choose(padded([4, 5]), [asked])


# ------------------------------------------------------------------------------ what is found


class Masked:
    """A model whose logits are -inf off its sentence's shortlist: what search has to find.

    It computes all logits, and knows the shortlist of one sentence.
    """

    def __init__(self, model: AnyScorer, tokens: list[int]) -> None:
        self.model = model
        self.is_out = torch.ones(model.vocabulary, dtype=torch.bool)
        self.is_out[tokens] = False
        self.vocabulary = model.vocabulary

    def encode(self, source: torch.Tensor, lengths: torch.Tensor) -> Any:
        return self.model.encode(source, lengths)

    def start(self, memory: Any) -> Any:
        return self.model.start(memory)

    def step(self, memory: Any, state: Any, tokens: torch.Tensor) -> Step[Any]:
        step = self.model.step(memory, state, tokens)
        return step._replace(logits=step.logits.masked_fill(self.is_out, -torch.inf))


def with_shortlists(models: list[Seq2Seq], best: int = BEST) -> Shortlisted:
    ready = [inference_model(model, "fp32") for model in models]
    scorer = shortlisted(ready, LEXICON, best, FREQUENT, "cpu")
    assert isinstance(scorer, Shortlisted)
    return scorer


@pytest.mark.parametrize("settings", [*SEARCHES[:2], EXHAUSTIVE], ids=["greedy", "beam", "all"])
@pytest.mark.parametrize("stacked", [False, True])
def test_it_is_the_model_with_all_other_tokens_out(settings: Search, stacked: bool) -> None:
    model = network(5, stacked)
    scorer = with_shortlists([model])
    changed = 0
    for source in sentences(5):
        masked = Masked(model, scorer.shortlist.choose(padded(source))[0].tolist())
        ((expected,),) = search(masked, [source], settings, "cpu")
        ((found,),) = search(scorer, [source], settings, "cpu")
        assert (found.tokens, found.finished, found.proven) == (
            expected.tokens,
            expected.finished,
            expected.proven,
        )
        assert found.log_prob == pytest.approx(expected.log_prob, rel=1e-5, abs=1e-5)
        ((free,),) = search(model, [source], settings, "cpu")
        changed += free.tokens != found.tokens
    assert changed > 0


def test_members_of_an_ensemble_share_the_shortlist() -> None:
    models = [network(5), network(6, stacked=True)]
    scorer = with_shortlists(models)
    for source in sentences(6):
        tokens = scorer.shortlist.choose(padded(source))[0].tolist()
        masked = Ensemble([Masked(model, tokens) for model in models])
        expected = search(masked, [source], SEARCHES[1], "cpu")[0][0]
        found = search(scorer, [source], SEARCHES[1], "cpu")[0][0]
        assert found.tokens == expected.tokens
        assert found.log_prob == pytest.approx(expected.log_prob, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_frequent_tokens_that_are_all_leave_the_model_itself(count: int) -> None:
    models = [network(seed) for seed in range(count)]
    scorer = shortlisted(models, LEXICON, 1, VOCABULARY - 4, "cpu")
    assert type(scorer) is type(ensemble(models))


@pytest.mark.parametrize("settings", [*SEARCHES[:2], EXHAUSTIVE], ids=["greedy", "beam", "all"])
def test_shortlists_of_all_tokens_find_what_the_model_finds(settings: Search) -> None:
    model, sources = network(5), sentences(12)
    scorer = with_shortlists([model], best=VOCABULARY)
    tokens_BL = scorer.shortlist.choose(padded(sources[0]))
    assert sorted(tokens_BL[0].tolist()) == list(range(VOCABULARY))
    plain = search(model, sources, settings, "cpu")
    for (found,), (expected,) in zip(search(scorer, sources, settings, "cpu"), plain, strict=True):
        assert found.tokens == expected.tokens
        assert found.log_prob == pytest.approx(expected.log_prob, rel=1e-5, abs=1e-5)


@pytest.mark.kernels
@every_search
@pytest.mark.parametrize("count", [1, 2])
def test_batched_is_one_by_one_to_the_last_bit(settings: Search, count: int) -> None:
    scorer = with_shortlists([network(5), network(6, stacked=True)][:count])
    sources = sentences(20 if settings is EXHAUSTIVE else 40)
    together = search(scorer, sources, settings, "cpu")
    expected = [[(h.tokens, h.log_prob, h.score, h.proven) for h in one] for one in together]
    for i in range(0, len(sources), 13):
        (alone,) = search(scorer, [sources[i]], settings, "cpu", places=[i])
        assert [(h.tokens, h.log_prob, h.score, h.proven) for h in alone] == expected[i]
    assert len({h.tokens for one in together for h in one}) > 4


def test_attention_comes_with_the_tokens_it_led_to() -> None:
    scorer, sources = with_shortlists([network(5)]), sentences(10)
    for source, (found,) in zip(
        sources, search(scorer, sources, SEARCHES[1], "cpu", want_attention=True), strict=True
    ):
        assert found.attention is not None
        assert found.attention.shape == (found.length, len(source) + 1)
        assert found.attention.sum(1) == pytest.approx(1.0, abs=1e-5)
        allowed = scorer.shortlist.choose(padded(source))[0].tolist()
        assert set(found.tokens) <= set(allowed)


@pytest.mark.parametrize("settings", [*EVERY[:3], EXHAUSTIVE], ids=[*NAMES[:3], "exhaustive"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_prefix_is_in_the_shortlist(settings: Search, count: int) -> None:
    scorer = with_shortlists([network(5), network(6, stacked=True)][:count])
    sources = sentences(9)
    lists = [scorer.shortlist.choose(padded(source))[0].tolist() for source in sources]
    new = [t for t in range(4, VOCABULARY) if all(t not in one for one in lists)]
    constraints = [spec_of(prefix=(new[0], sources[i][0], new[0])[: i % 4]) for i in range(9)]
    found = search(scorer, sources, settings, "cpu", constraints=constraints)
    free = search(scorer, sources, settings, "cpu")
    for i, constraint in enumerate(constraints):
        assert all(h.tokens[: i % 4] == constraint.tokens for h in found[i])
        if i % 4 == 0:
            assert found[i] == free[i]
        (alone,) = search(
            scorer, [sources[i]], settings, "cpu", places=[i], constraints=[constraint]
        )
        assert [replace(h, key=i) for h in alone] == found[i]


@pytest.mark.parametrize("settings", [*SEARCHES[:2], EXHAUSTIVE], ids=["greedy", "beam", "all"])
def test_terms_are_avoided_among_the_tokens_of_a_shortlist(settings: Search) -> None:
    """Tokens are words; banned are those that the outputs would have begun with."""
    scorer, sources = with_shortlists([network(5)]), sentences(8)
    surfaces = ["", "", "", "", *(f" w{chr(0x4E00 + token)}" for token in range(4, VOCABULARY))]
    free = [one[0].tokens for one in search(scorer, sources, settings, "cpu")]
    terms = {token: surfaces[token] for tokens in free for token in tokens[:1]}
    assert len(terms) > 1
    constraint = spec_of(avoid=NegativeConstraints(list(terms.values()), Spelling(surfaces)))
    found = search(scorer, sources, settings, "cpu", constraints=[constraint] * 8)
    for source, (one,), before in zip(sources, found, free, strict=True):
        assert not set(one.tokens) & terms.keys()
        assert (one.tokens == before) == (not set(before) & terms.keys())
        ((alone,),) = search(scorer, [source], settings, "cpu", constraints=[constraint])
        assert (alone.tokens, alone.log_prob) == (one.tokens, one.log_prob)


def test_terms_are_looked_for_among_the_tokens_of_a_shortlist() -> None:
    """Tokens are words; wanted are two that no shortlist would hold."""
    scorer, sources = with_shortlists([network(5)]), sentences(8)
    surfaces = ["", "", "", "", *(f" w{token}" for token in range(4, VOCABULARY))]
    lists = [scorer.shortlist.choose(padded(source))[0].tolist() for source in sources]
    first, second = [t for t in range(4, VOCABULARY) if all(t not in one for one in lists)][:2]
    terms = [Term(f"w{first} w{second}", (first, second)), Term(f"w{first}", (first,))]
    constraint = spec_of(must=PositiveConstraints(terms, Spelling(surfaces)))
    settings = BeamSearch(kind="beam", width=4)
    found = search(scorer, sources, settings, "cpu", constraints=[constraint] * 8)
    for source, (one,) in zip(sources, found, strict=True):
        spelled = [token for token in one.tokens if surfaces[token]]  # UNK spells nothing here
        assert (first, second) in pairwise(spelled)
        ((alone,),) = search(scorer, [source], settings, "cpu", constraints=[constraint])
        assert (alone.tokens, alone.log_prob) == (one.tokens, one.log_prob)


# ------------------------------------------------------------------------------ runs


def listed(*options: str) -> str:
    names = ("--run", "one", "--input", "in", "--output", "out", "--device", "cpu")
    assert command_line(["translate", *names, *options]) == 0
    return Path("out").read_text()


def test_a_run_learns_its_shortlist_and_translates_with_it(
    random_run: Callable[..., Run], folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = random_run("one")
    capfd.readouterr()
    assert command_line(["shortlist", "--run", "one"]) == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert f"{run.folder / NAME}: learned from 300 sentence pairs; " in err
    plain = listed()
    sizes = ("--shortlist", "1", "--shortlist-frequent", "2")
    narrow = listed(*sizes)
    assert narrow != plain
    assert len(narrow.splitlines()) == 3
    assert listed(*sizes, "--batch-size", "1") == narrow
    assert listed("--shortlist", "0") == plain
    assert listed("--shortlist", "1") == plain  # the frequent tokens are all there are
    search = replace(run.recipe.search, shortlist=1, shortlist_frequent=2)
    translator = load_ensemble([run, run], search=search, device="cpu")
    assert isinstance(translator.scorer, Shortlisted)
    assert translator(Path("in").read_text().splitlines()) == narrow.splitlines()


def test_scores_say_which_shortlist_they_are_with(
    random_run: Callable[..., Run], folder: Path
) -> None:
    run = random_run("one", "data.held_out=12")
    learn_shortlist(run)
    search = BeamSearch(kind="beam", width=2, shortlist=1, shortlist_frequent=2, max_ratio=0.2)
    assert describe(search) != describe(replace(search, shortlist_frequent=3))
    result = pipeline.evaluate(run=run, search=search, device="cpu")
    assert result.saved is not None
    assert "-shortlist1-shortlist-frequent2" in result.saved.name


def test_given_translations_are_scored_among_all_tokens(
    random_run: Callable[..., Run], folder: Path
) -> None:
    """Without a shortlist learned, too: none is needed."""
    run = random_run("one")
    expected, found = io.BytesIO(), io.BytesIO()
    files = {"source": Path("in"), "target": Path("in")}
    score_pairs(run=run, output=expected, device="cpu", **files)
    run.store_recipe(
        replace(run.recipe, search=replace(run.recipe.search, shortlist=1, shortlist_frequent=2))
    )
    score_pairs(run=run, output=found, device="cpu", **files)
    assert found.getvalue() == expected.getvalue() != b""
    model = network(5)
    scorer = with_shortlists([model])
    assert whole(scorer) is scorer.members[0].model
    assert whole(model) is model
    assert isinstance(whole(with_shortlists([model, network(6)])), Ensemble)


def test_coverage_grows_with_the_shortlist(random_run: Callable[..., Run], folder: Path) -> None:
    run = random_run("one")
    learn_shortlist(run)
    shares = [covered(run, best, frequent) for best, frequent in ((1, 0), (1, 9), (1, 999))]
    assert all(share is not None for share in shares)
    assert shares == sorted(set(shares), key=lambda share: share or 0.0)
    assert shares[-1] == 1.0
    (run.data_folder / "validation.arrow").unlink()
    assert covered(run, 1, 0) is None


def test_without_a_shortlist_the_error_says_how_to_make_one(
    random_run: Callable[..., Run], folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    random_run("one")
    capfd.readouterr()
    assert command_line(["translate", "--run", "one", "--input", "in", "--shortlist", "4"]) == 2
    assert capfd.readouterr() == (
        "",
        "s2s: error: runs/one: no shortlist here; 's2s shortlist --run runs/one' learns one\n",
    )
    options = ["--run", "one", "--input", "in", "--shortlist-frequent", "4"]
    assert command_line(["translate", *options]) == 2
    assert "--shortlist-frequent: has no effect without --shortlist" in capfd.readouterr().err


def test_a_lexicon_of_others_is_used(random_run: Callable[..., Run], folder: Path) -> None:
    run = random_run("one")
    Path("lex").write_text("z 9 0.5\nq 9 0.25\n")
    assert command_line(["shortlist", "--run", "one", "--lexicon", "lex"]) == 0
    translator = load_ensemble([run], device="cpu")
    ids = translator.source.encode(["9"])[0]
    found = read_lexicon(run, translator.source.size, translator.target.size)
    assert found.known == len(set(ids))
    assert translator.target.decode([found.tokens_VM[ids[-1], :2].tolist()]) == ["zq"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("cut", "not a shortlist of s2s, or damaged"),
        ("garbage", "not a shortlist of s2s, or damaged"),
        ("range", "not a shortlist of s2s, or damaged"),
        ("tokenizer", "learned with another tokenizer than this run has"),
        ("data", "learned from other data than this run has"),
    ],
)
def test_a_damaged_or_stale_shortlist_is_one_line(
    random_run: Callable[..., Run], folder: Path, damage: str, message: str
) -> None:
    run = random_run("one")
    path = learn_shortlist(run).path
    sizes = (load_ensemble([run]).source.size, load_ensemble([run]).target.size)
    assert read_lexicon(run, *sizes).known > 5
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:-20])
        case "garbage":
            path.write_bytes(b"\x80\x04no pickle is ever read")
        case "range":
            sizes = (sizes[0], sizes[1] - 1)
        case "tokenizer":
            other = run.tokenizer_folder / "target" / "vocabulary.json"
            other.write_text(other.read_text() + " ")
        case "data":
            (run.data_folder / "fingerprint").write_text("other")
    with pytest.raises(RunError, match=message) as error:
        read_lexicon(run, *sizes)
    assert str(error.value) == (
        f"{path}: {message}; 's2s shortlist --run {run.folder}' makes it again"
    )


def test_a_shortlist_stays_where_its_data_get_known_by_content(
    random_run: Callable[..., Run], folder: Path
) -> None:
    """`s2s prep` replaces the fingerprint of an earlier version and keeps it in a second line."""
    run = random_run("one")
    (run.data_folder / "fingerprint").write_text("by time")
    made = learn_shortlist(run)
    translator = load_ensemble([run])
    (run.data_folder / "fingerprint").write_text("content-1\nby time")
    found = read_lexicon(run, translator.source.size, translator.target.size)
    assert found.known == made.known


def test_a_run_whose_data_was_deleted_keeps_its_shortlist(
    random_run: Callable[..., Run], folder: Path
) -> None:
    run = random_run("one")
    made = learn_shortlist(run)
    translator = load_ensemble([run])
    for path in run.data_folder.iterdir():
        path.unlink()
    run.data_folder.rmdir()
    found = read_lexicon(run, translator.source.size, translator.target.size)
    assert found.known == made.known


def test_greedy_search_has_the_fields() -> None:
    plain = GreedySearch(kind="greedy")
    assert (plain.shortlist, plain.shortlist_frequent) == (0, 1020)
