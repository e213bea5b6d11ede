// Cells that need all units of a sequence between their products, called by XLA through its foreign function interface.

#include "staged.h"

#include "buffers.h"

namespace ffi = xla::ffi;

namespace {

StagedCall call_of(const Array& first, const Array& second, const Array& own, const Array& hidden, const Array& cell,
                   const Marks& lengths, const Marks& resets, const Array& dropout, int64_t units, bool reverse) {
  StagedCall s{};
  s.b = hidden.dimensions()[0], s.o = hidden.dimensions()[1], s.h = units, s.reverse = reverse;
  s.first = given(first), s.second = given(second), s.own = given(own), s.hidden = given(hidden), s.cell = given(cell);
  s.lengths = given(lengths), s.resets = given(resets), s.dropout = given(dropout);
  return s;
}

template <class Cell>
ffi::Error forward(Threads pool, Array first, Array second, Array own, Array hidden, Array cell, Marks lengths,
                   Marks resets, Array dropout, Array projected, Result outputs, Result last_hidden, Result last_cell,
                   Result kept, Result cells, Units units, Reverse reverse) {
  StagedCall s = call_of(first, second, own, hidden, cell, lengths, resets, dropout, *units, *reverse);
  s.t = projected.dimensions()[1], s.projected = given(projected);
  s.outputs = given(outputs), s.last_hidden = given(last_hidden), s.last_cell = given(last_cell);
  s.kept = given(kept), s.cells = given(cells);
  StagedForward<Cell>{s}.run(pool);
  return ffi::Error::Success();
}

template <class Cell>
ffi::Error backward(Threads pool, Array first, Array second, Array own, Array hidden, Array cell, Marks lengths,
                    Marks resets, Array dropout, Array projected, Array outputs, Array kept, Array cells,
                    Array d_outputs, Array d_last_hidden, Array d_last_cell, Array d_cells, Result d_projected,
                    Result d_other, Result d_own, Result d_hidden, Result d_cell, Result left, Result left_of_second,
                    Units units, Reverse reverse) {
  StagedCall s = call_of(first, second, own, hidden, cell, lengths, resets, dropout, *units, *reverse);
  s.t = outputs.dimensions()[1], s.others = d_other->dimensions()[2], s.projected = given(projected);
  s.outputs = given(outputs), s.kept = given(kept), s.cells = given(cells);
  s.d_outputs = given(d_outputs), s.d_last_hidden = given(d_last_hidden), s.d_last_cell = given(d_last_cell);
  s.d_cells = given(d_cells), s.d_projected = given(d_projected), s.d_other = given(d_other), s.d_own = given(d_own);
  s.d_hidden = given(d_hidden), s.d_cell = given(d_cell), s.left = given(left);
  s.left_of_second = given(left_of_second);
  StagedBackward<Cell>{s}.run(pool);
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(mgu_forward, forward<Mgu>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(mgu_backward, backward<Mgu>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(reset_first_gru_forward, forward<ResetFirstGru>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(reset_first_gru_backward, backward<ResetFirstGru>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(projected_lstm_forward, forward<ProjectedLstm>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(projected_lstm_backward, backward<ProjectedLstm>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(layer_norm_lstm_forward, forward<LayerNormLstm>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(layer_norm_lstm_backward, backward<LayerNormLstm>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(layer_norm_gru_forward, forward<LayerNormGru>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(layer_norm_gru_backward, backward<LayerNormGru>);
