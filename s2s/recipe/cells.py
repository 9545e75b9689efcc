"""The recipe's recurrent cells: sections `cell` of the encoder and of the decoder."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from s2s.recipe.section import Section

RecurrentInit = Literal["orthogonal", "glorot", "identity"]
"""Initial recurrent matrices: orthogonal for each gate (Saxe et al. 2014), Glorot uniform, or the
identity (Le et al. 2015, for ReLU)."""


@dataclass(frozen=True, kw_only=True)
class LSTMCell(Section):
    """LSTM (Hochreiter & Schmidhuber 1997) with a forget gate (Gers et al. 2000)."""

    kind: Literal["lstm"]
    forget_bias: float = 1.0
    """Initial bias of the forget gate (Jozefowicz et al. 2015, section 2.2)."""
    recurrent_init: RecurrentInit = "orthogonal"
    """Initial recurrent matrices, a gate at a time."""


@dataclass(frozen=True, kw_only=True)
class GRUCell(Section):
    """Gated recurrent unit (Cho et al. 2014)."""

    kind: Literal["gru"]
    reset: Literal["after", "before"] = "after"
    """`before`: the reset gate multiplies the state, U (r * h), as in Cho et al. 2014; training
    loops over steps. `after`: it multiplies the product, r * (U h + b), as in cuDNN and PyTorch,
    which have kernels for it."""
    recurrent_init: RecurrentInit = "orthogonal"
    """Initial recurrent matrices, a gate at a time."""


@dataclass(frozen=True, kw_only=True)
class SimpleCell(Section):
    """The simple recurrent network, h' = f(W x + U h + b) with f tanh or ReLU (Elman 1990)."""

    kind: Literal["tanh", "relu"]
    recurrent_init: RecurrentInit = "orthogonal"
    """Initial recurrent matrix; for ReLU also the identity (Le et al. 2015)."""


@dataclass(frozen=True, kw_only=True)
class ElementwiseCell(Section):
    """Cells without a recurrent matrix: gates depend on the input alone, so that training is matrix
    products over the whole sequence. `sru`: Lei & Zhang 2017; `ssru`: Kim et al. 2019; `mingru` and
    `minlstm`: Feng et al. 2024."""

    kind: Literal["sru", "ssru", "mingru", "minlstm"]
    forget_bias: float = 1.0
    """Initial bias of the gate that keeps the state; of minlstm's input gate the negative."""


AnyCell = Annotated[
    LSTMCell | GRUCell | SimpleCell | ElementwiseCell,
    Field(discriminator="kind"),
]
