// Elman, LSTM and GRU over whole sequences on a CPU, forward and backward, called by XLA through its foreign function
// interface.
//
// A call runs all steps. The batch is cut into lanes, one a thread, and a lane into groups of rows whose state stays in
// the cache: a group walks through time on its own, so that threads meet only at the end. Few rows are not cut: their
// threads share the units and meet after each step. A step is two matrix products, of the inputs and of the state, in
// tiles that stay in registers until their gates are applied; of few rows those of the inputs run some steps ahead.
//
// All arrays are row-major, sequences batch-major. Rows of the products' left sides are [x, 1] and [1, h], backward
// [x, 1, h]: the biases are the weights of the 1.

#include "backward.h"
#include "buffers.h"

namespace ffi = xla::ffi;

namespace {

Call call_of(Array x, Array input, Array bias, Array recurrent, Array own, Array hidden, Array cell, Marks lengths,
             Marks resets, Array dropout, Array hold_hidden, Array hold_cell, bool reverse) {
  Call s{};
  s.b = x.dimensions()[0], s.t = x.dimensions()[1], s.d = x.dimensions()[2], s.h = hidden.dimensions()[1];
  s.reverse = reverse;
  s.lengths = given(lengths), s.resets = given(resets), s.dropout = given(dropout);
  s.hold_hidden = given(hold_hidden), s.hold_cell = given(hold_cell);
  s.x = x.typed_data(), s.input = input.typed_data(), s.bias = bias.typed_data();
  s.recurrent = recurrent.typed_data(), s.own = own.typed_data();
  s.hidden = hidden.typed_data(), s.cell = cell.typed_data();
  return s;
}

template <class Cell>
ffi::Error forward(Threads pool, Array x, Array input, Array bias, Array recurrent, Array own, Array hidden, Array cell,
                   Marks lengths, Marks resets, Array dropout, Array hold_hidden, Array hold_cell, Result outputs,
                   Result last_hidden, Result last_cell, Result gate0, Result gate1, Result gate2, Result gate3,
                   Result cells, Reverse reverse) {
  Call s =
      call_of(x, input, bias, recurrent, own, hidden, cell, lengths, resets, dropout, hold_hidden, hold_cell, *reverse);
  s.outputs = given(outputs), s.last_hidden = given(last_hidden), s.last_cell = given(last_cell);
  s.gates[0] = given(gate0), s.gates[1] = given(gate1), s.gates[2] = given(gate2), s.gates[3] = given(gate3);
  s.cells = given(cells);
  Forward<Cell>{s}.run(pool);
  return ffi::Error::Success();
}

template <class Cell>
ffi::Error backward(Threads pool, Array x, Array input, Array bias, Array recurrent, Array own, Array hidden,
                    Array cell, Marks lengths, Marks resets, Array dropout, Array hold_hidden, Array hold_cell,
                    Array outputs, Array gate0, Array gate1, Array gate2, Array gate3, Array cells, Array d_outputs,
                    Array d_last_hidden, Array d_last_cell, Array d_cells, Result d_x, Result d_input, Result d_bias,
                    Result d_recurrent, Result d_own, Result d_hidden, Result d_cell, Reverse reverse) {
  Call s =
      call_of(x, input, bias, recurrent, own, hidden, cell, lengths, resets, dropout, hold_hidden, hold_cell, *reverse);
  s.outputs = outputs.typed_data(), s.cells = cells.typed_data();
  s.gates[0] = gate0.typed_data(), s.gates[1] = gate1.typed_data();
  s.gates[2] = gate2.typed_data(), s.gates[3] = gate3.typed_data();
  s.d_outputs = d_outputs.typed_data(), s.d_last_hidden = d_last_hidden.typed_data();
  s.d_last_cell = d_last_cell.typed_data(), s.d_cells = given(d_cells);
  s.d_x = given(d_x), s.d_input = given(d_input), s.d_bias = given(d_bias), s.d_recurrent = given(d_recurrent);
  s.d_own = given(d_own), s.d_hidden = given(d_hidden), s.d_cell = given(d_cell);
  Backward<Cell>{s}.run(pool);
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(elman_forward, forward<Elman>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(elman_backward, backward<Elman>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(lstm_forward, forward<Lstm>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(lstm_backward, backward<Lstm>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(peephole_lstm_forward, forward<PeepholeLstm>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(peephole_lstm_backward, backward<PeepholeLstm>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(gru_forward, forward<Gru>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(gru_backward, backward<Gru>);
