// LSTM and GRU over maps on a CPU, forward and backward, called by XLA through its foreign function interface.

#include "maps.h"

#include "buffers.h"

namespace ffi = xla::ffi;

namespace {

template <class State, class Steps>
MapCall call_of(const Array& recurrent, const State& state, const Steps& steps, int64_t top, int64_t left,
                bool reverse) {
  const auto of_steps = steps.dimensions(), kernel = recurrent.dimensions();
  MapCall s{of_steps[0], of_steps[1], of_steps[2], of_steps[3], state.dimensions()[3], kernel[0], kernel[1], top, left};
  s.reverse = reverse, s.recurrent = recurrent.typed_data();
  return s;
}

template <class Cell>
ffi::Error forward(Threads pool, Array projected, Array recurrent, Array recurrent_bias, Array hidden, Array cell,
                   Result outputs, Result last_hidden, Result last_cell, Result gates, Result cells, Top top, Left left,
                   Reverse reverse) {
  MapCall s = call_of(recurrent, hidden, projected, *top, *left, *reverse);
  s.projected = projected.typed_data(), s.recurrent_bias = recurrent_bias.typed_data();
  s.hidden = hidden.typed_data(), s.cell = cell.typed_data();
  s.outputs = given(outputs), s.last_hidden = given(last_hidden), s.last_cell = given(last_cell);
  s.gates = given(gates), s.cells = given(cells);
  MapForward<Cell>{s}.run(pool);
  return ffi::Error::Success();
}

template <class Cell>
ffi::Error backward(Threads pool, Array recurrent, Array hidden, Array cell, Array outputs, Array gates, Array cells,
                    Array d_outputs, Array d_last_hidden, Array d_last_cell, Result d_projected, Result d_recurrent,
                    Result d_recurrent_bias, Result d_hidden, Result d_cell, Top top, Left left, Reverse reverse) {
  MapCall s = call_of(recurrent, hidden, outputs, *top, *left, *reverse);
  s.hidden = hidden.typed_data(), s.cell = cell.typed_data();
  s.outputs = outputs.typed_data(), s.gates = gates.typed_data(), s.cells = cells.typed_data();
  s.d_outputs = d_outputs.typed_data(), s.d_last_hidden = d_last_hidden.typed_data();
  s.d_last_cell = d_last_cell.typed_data();
  s.d_projected = given(d_projected), s.d_recurrent = given(d_recurrent), s.d_recurrent_bias = given(d_recurrent_bias);
  s.d_hidden = given(d_hidden), s.d_cell = given(d_cell);
  MapBackward<Cell>{s}.run(pool);
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(lstm_maps_forward, forward<Lstm>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(lstm_maps_backward, backward<Lstm>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(gru_maps_forward, forward<Gru>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(gru_maps_backward, backward<Gru>);
