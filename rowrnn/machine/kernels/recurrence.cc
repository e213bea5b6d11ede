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
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

using Input = ffi::Buffer<ffi::F32>;
using Marks = ffi::Buffer<ffi::S32>;
using Output = ffi::Result<ffi::Buffer<ffi::F32>>;

float* data(Output& array) { return array->element_count() ? array->typed_data() : nullptr; }

Call call_of(Input x, Input input, Input bias, Input recurrent, Input own, Input hidden, Input cell, Marks lengths,
             Marks resets, Input dropout, bool reverse) {
  Call s{};
  s.b = x.dimensions()[0], s.t = x.dimensions()[1], s.d = x.dimensions()[2], s.h = hidden.dimensions()[1];
  s.reverse = reverse;
  s.lengths = lengths.element_count() ? lengths.typed_data() : nullptr;
  s.resets = resets.element_count() ? resets.typed_data() : nullptr;
  s.dropout = dropout.element_count() ? dropout.typed_data() : nullptr;
  s.x = x.typed_data(), s.input = input.typed_data(), s.bias = bias.typed_data();
  s.recurrent = recurrent.typed_data(), s.own = own.typed_data();
  s.hidden = hidden.typed_data(), s.cell = cell.typed_data();
  return s;
}

template <class Cell>
ffi::Error forward(ffi::ThreadPool pool, Input x, Input input, Input bias, Input recurrent, Input own, Input hidden,
                   Input cell, Marks lengths, Marks resets, Input dropout, Output outputs, Output last_hidden,
                   Output last_cell, Output gate0, Output gate1, Output gate2, Output gate3, Output cells,
                   bool reverse) {
  Call s = call_of(x, input, bias, recurrent, own, hidden, cell, lengths, resets, dropout, reverse);
  s.outputs = data(outputs), s.last_hidden = data(last_hidden), s.last_cell = data(last_cell);
  s.gates[0] = data(gate0), s.gates[1] = data(gate1), s.gates[2] = data(gate2), s.gates[3] = data(gate3);
  s.cells = data(cells);
  Forward<Cell>{s}.run(pool);
  return ffi::Error::Success();
}

template <class Cell>
ffi::Error backward(ffi::ThreadPool pool, Input x, Input input, Input bias, Input recurrent, Input own, Input hidden,
                    Input cell, Marks lengths, Marks resets, Input dropout, Input outputs, Input gate0, Input gate1,
                    Input gate2, Input gate3, Input cells, Input d_outputs, Input d_last_hidden, Input d_last_cell,
                    Input d_cells, Output d_x, Output d_input, Output d_bias, Output d_recurrent, Output d_own,
                    Output d_hidden, Output d_cell, bool reverse) {
  Call s = call_of(x, input, bias, recurrent, own, hidden, cell, lengths, resets, dropout, reverse);
  s.outputs = outputs.typed_data(), s.cells = cells.typed_data();
  s.gates[0] = gate0.typed_data(), s.gates[1] = gate1.typed_data();
  s.gates[2] = gate2.typed_data(), s.gates[3] = gate3.typed_data();
  s.d_outputs = d_outputs.typed_data(), s.d_last_hidden = d_last_hidden.typed_data();
  s.d_last_cell = d_last_cell.typed_data(), s.d_cells = d_cells.element_count() ? d_cells.typed_data() : nullptr;
  s.d_x = data(d_x), s.d_input = data(d_input), s.d_bias = data(d_bias), s.d_recurrent = data(d_recurrent);
  s.d_own = data(d_own), s.d_hidden = data(d_hidden), s.d_cell = data(d_cell);
  Backward<Cell>{s}.run(pool);
  return ffi::Error::Success();
}

using Array = ffi::Buffer<ffi::F32>;

// x, weights and state.
auto inputs() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>()
      .Arg<Marks>().Arg<Marks>().Arg<Array>();
}

auto forward_binding() {
  return inputs()
      .Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>()
      .Attr<bool>("reverse");
}

auto backward_binding() {
  return inputs()
      .Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>()
      .Arg<Array>().Arg<Array>()
      .Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>()
      .Attr<bool>("reverse");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(elman_forward, forward<Elman>, forward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(elman_backward, backward<Elman>, backward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(lstm_forward, forward<Lstm>, forward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(lstm_backward, backward<Lstm>, backward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(peephole_lstm_forward, forward<PeepholeLstm>, forward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(peephole_lstm_backward, backward<PeepholeLstm>, backward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(gru_forward, forward<Gru>, forward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(gru_backward, backward<Gru>, backward_binding());
