"""The file of a sentencepiece model as a structure: pieces with scores and types, special pieces,
normalization.

It is a message of Protocol Buffers. The module that comes with sentencepiece needs a library of its
own version or newer, so the few fields that s2s reads or changes are described here; a library of
any version keeps the others as they are. Ids are places among the pieces.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from s2s.errors import DataError
from s2s.special import BOS, EOS, PAD, SPECIAL_PIECES, UNK

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Types of pieces."""

UNIGRAM, BPE = 1, 2
"""Types of models."""

OTHER_TYPES = {3: "word", 4: "character"}
"""Types of models that s2s does not read, with the kind of tokenizer that does the same."""

_FIELDS = {
    "SentencePiece": {"piece": (1, "STRING"), "score": (2, "FLOAT"), "type": (3, "INT32")},
    "TrainerSpec": {
        "model_type": (3, "INT32"),
        "vocab_size": (4, "INT32"),
        "unk_id": (40, "INT32"),
        "bos_id": (41, "INT32"),
        "eos_id": (42, "INT32"),
        "pad_id": (43, "INT32"),
        "unk_surface": (44, "STRING"),
        "unk_piece": (45, "STRING"),
        "bos_piece": (46, "STRING"),
        "eos_piece": (47, "STRING"),
        "pad_piece": (48, "STRING"),
    },
    "NormalizerSpec": {
        "name": (1, "STRING"),
        "precompiled_charsmap": (2, "BYTES"),
        "add_dummy_prefix": (3, "BOOL"),
        "remove_extra_whitespaces": (4, "BOOL"),
        "escape_whitespaces": (5, "BOOL"),
        "normalization_rule_tsv": (6, "STRING"),
    },
}
_PARTS = {"pieces": (1, "SentencePiece"), "trainer_spec": (2, "TrainerSpec")}
_PARTS["normalizer_spec"] = (3, "NormalizerSpec")

SPECIAL = ("pad", "unk", "bos", "eos")
"""Names of the special pieces, by the ids of s2s."""

_FIRST_NAMES = {"pad": "<pad>", "unk": "<unk>", "bos": "<s>", "eos": "</s>"}
"""Their spelling where a model does not say it."""


@dataclass(frozen=True)
class Piece:
    """A piece of a model."""

    text: str
    score: float
    type: int = NORMAL


def read_model(content: bytes) -> Any:
    """The message of a model. Raises ValueError for anything else."""
    from google.protobuf.message import DecodeError

    model = _model_class()()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise ValueError("not a message of a sentencepiece model") from error
    if not model.pieces or not model.HasField("trainer_spec"):
        raise ValueError("no pieces in it")
    return model


def pieces_of(model: Any) -> list[Piece]:
    """The pieces, by id."""
    return [Piece(one.piece, one.score, one.type or NORMAL) for one in model.pieces]


def with_pieces(model: Any, pieces: list[Piece]) -> bytes:
    """The file of a model that has these pieces, and all else as it is."""
    changed = type(model)()
    changed.CopyFrom(model)
    del changed.pieces[:]
    for piece in pieces:
        changed.pieces.add(piece=piece.text, score=piece.score, type=piece.type)
    changed.trainer_spec.vocab_size = len(pieces)
    return bytes(changed.SerializeToString(deterministic=True))


def without_normalization(model: Any) -> bytes:
    """The file of a model that reads normalized text, `▁` for a space, as it is."""
    changed = type(model)()
    changed.CopyFrom(model)
    changed.normalizer_spec.Clear()
    changed.normalizer_spec.name = "identity"
    changed.normalizer_spec.add_dummy_prefix = False
    changed.normalizer_spec.remove_extra_whitespaces = False
    changed.normalizer_spec.escape_whitespaces = False
    return bytes(changed.SerializeToString(deterministic=True))


def with_special_ids(content: bytes, place: str) -> bytes:
    """A model with the special pieces of s2s as its first ones, in their order; the others follow
    in their own. Segmentations depend on scores alone, so texts get the same pieces.

    Raises DataError, naming `place`, for a file that is no model of subwords.
    """
    try:
        model = read_model(content)
    except ValueError as error:
        raise DataError(f"{place}: expected a sentencepiece model, found another file") from error
    spec = model.trainer_spec
    kind = spec.model_type or UNIGRAM
    if kind not in (UNIGRAM, BPE):
        other = OTHER_TYPES.get(kind)
        advice = f"; use tokenizer.kind: {other}" if other else ""
        raise DataError(f"{place}: expected a unigram or BPE model, found type {other}{advice}")
    pieces = pieces_of(model)
    special = {getattr(spec, f"{name}_piece") or _FIRST_NAMES[name]: name for name in SPECIAL}
    allowed = {"unk": (UNKNOWN,)}
    kept, found = [], set()
    for piece in pieces:
        name = special.get(piece.text)
        if piece.type == UNKNOWN:
            name = "unk"
        if name is not None and piece.type in allowed.get(name, (CONTROL, UNUSED)):
            found.add(name)
        else:
            kept.append(piece)
    if "unk" not in found:
        raise DataError(f"{place}: no piece for unknown characters, so this is no whole model")
    taken = {piece.text for piece in kept}
    for text in SPECIAL_PIECES:
        if text in taken:
            raise DataError(
                f"{place}: its piece {text!r} is an ordinary one, and s2s needs that spelling for "
                "a special piece; train the model without it"
            )
    first = [Piece(text, 0.0, CONTROL) for text in SPECIAL_PIECES]
    first[UNK] = Piece(SPECIAL_PIECES[UNK], 0.0, UNKNOWN)
    for name, id_ in zip(SPECIAL, (PAD, UNK, BOS, EOS), strict=True):
        setattr(spec, f"{name}_id", id_)
        setattr(spec, f"{name}_piece", SPECIAL_PIECES[id_])
    spec.ClearField("unk_surface")
    return with_pieces(model, [*first, *kept])


@cache
def _model_class() -> Any:
    """The class of the message, from the description above."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="s2s/model.proto", package="s2s_model")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            message.field.add(
                name=field,
                number=number,
                type=getattr(kinds, f"TYPE_{kind}"),
                label=kinds.LABEL_OPTIONAL,
            )
    whole = file.message_type.add(name="ModelProto")
    # sentencepiece lets others add fields, which are kept as unknown ones.
    for field, (number, kind) in _PARTS.items():
        label = kinds.LABEL_REPEATED if field == "pieces" else kinds.LABEL_OPTIONAL
        whole.field.add(
            name=field,
            number=number,
            type=kinds.TYPE_MESSAGE,
            type_name=f".s2s_model.{kind}",
            label=label,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("s2s_model.ModelProto"))
