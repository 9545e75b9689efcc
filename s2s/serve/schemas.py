"""What requests and answers hold, field by field; OpenAPI shows these descriptions."""

from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    WithJsonSchema,
)

from s2s.recipe.faults import describe
from s2s.recipe.search import Search
from s2s.text.lines import one_line


def _search_schema() -> dict[str, Any]:
    """The fields of all kinds of search, as one object."""
    found: dict[str, Any] = {"kind": {"enum": [], "description": "The algorithm."}}
    for section in get_args(get_args(Search)[0]):
        properties = TypeAdapter(section).json_schema()["properties"]
        found["kind"]["enum"].append(properties.pop("kind")["const"])
        for name, schema in properties.items():
            found.setdefault(name, {key: schema[key] for key in schema if key != "default"})
    return {"type": "object", "properties": found, "additionalProperties": False}


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"expected Unicode text, found half of a surrogate pair (character {error.start + 1})"
        ) from None
    return text


def _one_line(text: str) -> str:
    if "\n" in text.removesuffix("\n"):
        raise ValueError("expected one line, found a line end; give a list of lines")
    return one_line(text)


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return [value]
    if value is not None and not isinstance(value, list):
        raise ValueError(f"expected a text or a list of texts, found {describe(value)}")
    return value


Text = Annotated[str, AfterValidator(_encodable)]
Line = Annotated[Text, AfterValidator(_one_line)]
Lines = Annotated[
    list[Line],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""One line, or a list of lines."""


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    model: Text | None = Field(None, description="Name of the model; by default the first one.")


class _Searching(_Request):
    search: Annotated[dict[str, Any], WithJsonSchema(_search_schema())] = Field(
        {},
        description="Fields of the recipe's search section that differ; the others are those the "
        "server was started with. A field of another kind chooses that kind.",
    )
    tag: Text | None = Field(None, description="Tag of lines that begin with none, as `<2en>`.")


class TranslateRequest(_Searching):
    """Lines to translate."""

    text: Lines = Field(description="A line, or a list of lines.")
    nbest: int = Field(1, ge=1, description="Outputs of a line, the best first.")
    attention: bool = Field(False, description="Whether to answer with attention weights too.")
    prefix: Lines | None = Field(
        None, description="What the output begins with: one text, or one for each line."
    )
    must: list[Line] = Field([], description="Terms that must appear in every output.")
    avoid: list[Line] = Field([], description="Terms that must not appear.")


class AttentionRequest(_Searching):
    """Lines whose attention to show."""

    text: Lines = Field(description="A line, or a list of lines.")
    prefix: Lines | None = Field(
        None, description="What the output begins with: one text, or one for each line."
    )


class AlternativesRequest(_Searching):
    """A line, and the beginning of its translation."""

    text: Line = Field(description="One line.")
    prefix: Line = Field(
        "",
        description="The beginning of the output. A space at its end says that its last word is "
        "complete.",
    )
    count: int = Field(10, ge=1, description="The most alternatives.")


class ScoreRequest(_Request):
    """Pairs of a source and a translation."""

    source: Lines = Field(description="A source, or a list of sources.")
    target: Lines = Field(description="Their translations, as many.")


class OutputAnswer(BaseModel):
    """An output of a line."""

    text: str
    log_prob: float = Field(description="Natural logarithm of its probability.")
    score: float = Field(description="What search ranks by.")
    length: int = Field(description="Tokens, the end of sentence included.")
    status: str = Field(description="finished, cut, proven or unproven.")
    unmet: list[str] | None = Field(
        None, description="Constraints that it does not meet; absent without constraints."
    )


class AttentionAnswer(BaseModel):
    """The attention of a line's best output."""

    source: list[str] = Field(description="Source tokens, and regions of images.")
    target: list[str] = Field(description="Predicted tokens.")
    weights: list[list[float]] = Field(description="A row for each predicted token; it sums to 1.")
    source_words: list[int] = Field(description="The word of each source token; -1 for none.")
    target_words: list[int] = Field(description="The word of each predicted token; -1 for none.")


class LineAnswer(BaseModel):
    """What became of a line."""

    text: str = Field(description="The best output.")
    outputs: list[OutputAnswer]
    attention: AttentionAnswer | None = None


class TranslateAnswer(BaseModel):
    """Translations, in the order of the lines."""

    model: str
    lines: list[LineAnswer]
    notes: list[str] = Field(description="Remarks, such as which outputs were cut.")


class AlternativeAnswer(BaseModel):
    """A way to go on."""

    next: str = Field(description="The next word; empty where the output ends.")
    prefix: str = Field(description="The beginning of that output up to and with the word.")
    text: str = Field(description="The best output that goes on so.")
    log_prob: float


class AlternativesAnswer(BaseModel):
    """Alternatives for the next word, probable ones first."""

    model: str
    alternatives: list[AlternativeAnswer]
    notes: list[str]


class ScoreAnswer(BaseModel):
    """The score of a pair."""

    log_prob: float = Field(description="Natural logarithm of the translation's probability.")
    length: int = Field(description="Its tokens, the end of sentence included; 0 if both blank.")


class ScoresAnswer(BaseModel):
    """Scores, in the order of the pairs."""

    model: str
    scores: list[ScoreAnswer]
    notes: list[str]


class ModelAnswer(BaseModel):
    """A model."""

    name: str
    task: str
    search: dict[str, Any] = Field(description="The search of requests that choose none.")
    tags: list[str] = Field(description="Tags that a line may begin with.")
    has_attention: bool
    has_image_features: bool = Field(description="Whether lines name images.")
    copies: bool = Field(description="Whether it copies source words; then no terms are possible.")
    checkpoint: str


class ModelsAnswer(BaseModel):
    """The models, the default first."""

    models: list[ModelAnswer]


class FaultAnswer(BaseModel):
    """What is wrong, in one line."""

    error: str
