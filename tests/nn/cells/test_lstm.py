"""LSTM layers against the equations, PyTorch's cell and packed sequences."""

import torch
from torch import nn

from s2s.nn.cells.lstm import LoopLSTM, LSTMLayer
from s2s.nn.encoders.recurrent import RecurrentEncoder
from s2s.nn.reverse import reversal, reverse
from s2s.recipe.model import Encoder


def layer(input_width: int = 3, width: int = 5) -> LSTMLayer:
    torch.manual_seed(0)
    made = LSTMLayer(input_width, width)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def test_step_is_the_textbook_equations() -> None:
    made = layer()
    x, h, c = torch.randn(4, 3), torch.randn(4, 5), torch.randn(4, 5)
    w_i, w_f, w_g, w_o = made.lstm.weight_ih_l0.chunk(4)
    u_i, u_f, u_g, u_o = made.lstm.weight_hh_l0.chunk(4)
    b_i, b_f, b_g, b_o = (made.lstm.bias_ih_l0 + made.lstm.bias_hh_l0).chunk(4)
    i = torch.sigmoid(x @ w_i.T + h @ u_i.T + b_i)
    f = torch.sigmoid(x @ w_f.T + h @ u_f.T + b_f)
    o = torch.sigmoid(x @ w_o.T + h @ u_o.T + b_o)
    g = torch.tanh(x @ w_g.T + h @ u_g.T + b_g)
    expected_c = f * c + i * g
    found_h, found_c = made.step(x, (h, c))
    torch.testing.assert_close(found_c, expected_c)
    torch.testing.assert_close(found_h, o * torch.tanh(expected_c))


def test_step_is_pytorchs_cell() -> None:
    made = layer()
    cell = nn.LSTMCell(3, 5)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    cell.load_state_dict({name: getattr(made.lstm, f"{name}_l0") for name in names})
    x, h, c = torch.randn(4, 3), torch.randn(4, 5), torch.randn(4, 5)
    torch.testing.assert_close(made.step(x, (h, c)), cell(x, (h, c)))


def test_steps_are_the_whole_sequence() -> None:
    made = layer()
    x, h, c = torch.randn(7, 4, 3), torch.randn(4, 5), torch.randn(4, 5)
    whole, last = made(x, (h, c))
    for t in range(7):
        h, c = made.step(x[t], (h, c))
        torch.testing.assert_close(h, whole[t])
    torch.testing.assert_close((h, c), last)


def test_input_may_be_projected_in_parts() -> None:
    made = layer(input_width=3 + 4)
    x, rest = torch.randn(2, 3), torch.randn(2, 4)
    state = torch.randn(2, 5), torch.randn(2, 5)
    in_parts = LoopLSTM(made, start=3)(rest, state, made.project(x))
    torch.testing.assert_close(in_parts, made.step(torch.cat((x, rest), dim=-1), state))


def test_a_loop_of_steps_is_the_whole_sequence_in_gradients_too() -> None:
    made = layer()
    x, h, c = torch.randn(7, 4, 3), torch.randn(4, 5), torch.randn(4, 5)
    whole, _ = made(x, (h, c))
    step, state, found = LoopLSTM(made), (h, c), []
    for x_ND in x:
        state = step(x_ND, state)
        found.append(state[0])
    parameters = list(made.parameters())
    expected = torch.autograd.grad(whole.square().sum(), parameters)
    torch.testing.assert_close(torch.stack(found), whole)
    gradients = torch.autograd.grad(torch.stack(found).square().sum(), parameters)
    torch.testing.assert_close(gradients, expected)


def test_reversing_flips_each_sentence_and_twice_gives_the_input() -> None:
    x = torch.randn(6, 3, 2)
    lengths = torch.tensor([6, 4, 1])
    order = reversal(lengths, 6)
    reversed_x = reverse(x, order)
    for b, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(reversed_x[:length, b], x[:length, b].flip(0))
        torch.testing.assert_close(reversed_x[length:, b], x[length:, b])
    torch.testing.assert_close(reverse(reversed_x, order), x)


def test_gradient_of_reversal() -> None:
    order = reversal(torch.tensor([5, 2]), 5)
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: reverse(y, order) ** 2, (x,))


def encoder(layers: int) -> RecurrentEncoder:
    torch.manual_seed(1)
    return RecurrentEncoder(Encoder(layers=layers, width=5), embeddings=3, dropout=0.5).eval()


def test_bidirectional_stack_is_pytorchs_on_packed_sequences() -> None:
    ours = encoder(layers=2)
    theirs = nn.LSTM(3, 5, num_layers=2, bidirectional=True)
    stacks = (("", ours.forward_layers), ("_reverse", ours.backward_layers))
    with torch.no_grad():
        for suffix, stack in stacks:
            for index, module in enumerate(stack):
                for name, value in module.lstm.named_parameters():
                    stem = name.removesuffix("_l0")
                    getattr(theirs, f"{stem}_l{index}{suffix}").copy_(value)
    x, lengths = torch.randn(7, 4, 3), torch.tensor([7, 5, 2, 1])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths)
    expected, (h, _) = theirs(packed)
    states, final = ours(x, lengths)
    torch.testing.assert_close(states, nn.utils.rnn.pad_packed_sequence(expected)[0])
    torch.testing.assert_close(final, torch.cat((h[-2], h[-1]), dim=-1))


def test_padding_reaches_nothing() -> None:
    ours = encoder(layers=2)
    x, lengths = torch.randn(7, 2, 3), torch.tensor([4, 7])
    states, final = ours(x, lengths)
    alone, alone_final = ours(x[:4, :1], lengths[:1])
    torch.testing.assert_close(states[:4, :1], alone)
    torch.testing.assert_close(final[:1], alone_final)
    assert torch.equal(states[4:, 0], torch.zeros(3, 10))


def test_one_direction() -> None:
    torch.manual_seed(1)
    ours = RecurrentEncoder(Encoder(layers=1, width=5, bidirectional=False), 3, dropout=0.0)
    x = torch.randn(6, 2, 3)
    states, final = ours(x, torch.tensor([6, 6]))
    assert states.shape == (6, 2, 5)
    torch.testing.assert_close(final, states[-1])
