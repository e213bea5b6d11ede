// Cells that need all units of a sequence between their products, called by XLA through its foreign function interface.

#include "buffers.h"
#include "staged.h"

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
ffi::Error forward(ffi::ThreadPool pool, Array first, Array second, Array own, Array hidden, Array cell, Marks lengths,
                   Marks resets, Array dropout, Array projected, Result outputs, Result last_hidden, Result last_cell,
                   Result kept, Result cells, int64_t units, bool reverse) {
  StagedCall s = call_of(first, second, own, hidden, cell, lengths, resets, dropout, units, reverse);
  s.t = projected.dimensions()[1], s.projected = given(projected);
  s.outputs = given(outputs), s.last_hidden = given(last_hidden), s.last_cell = given(last_cell);
  s.kept = given(kept), s.cells = given(cells);
  StagedForward<Cell>{s}.run(pool);
  return ffi::Error::Success();
}

template <class Cell>
ffi::Error backward(ffi::ThreadPool pool, Array first, Array second, Array own, Array hidden, Array cell, Marks lengths,
                    Marks resets, Array dropout, Array projected, Array outputs, Array kept, Array cells, Array d_outputs,
                    Array d_last_hidden, Array d_last_cell, Array d_cells, Result d_projected, Result d_other,
                    Result d_own, Result d_hidden, Result d_cell, Result left, Result left_of_second, int64_t units,
                    bool reverse) {
  StagedCall s = call_of(first, second, own, hidden, cell, lengths, resets, dropout, units, reverse);
  s.t = outputs.dimensions()[1], s.others = d_other->dimensions()[2], s.projected = given(projected);
  s.outputs = given(outputs), s.kept = given(kept), s.cells = given(cells);
  s.d_outputs = given(d_outputs), s.d_last_hidden = given(d_last_hidden), s.d_last_cell = given(d_last_cell);
  s.d_cells = given(d_cells), s.d_projected = given(d_projected), s.d_other = given(d_other), s.d_own = given(d_own);
  s.d_hidden = given(d_hidden), s.d_cell = given(d_cell), s.left = given(left);
  s.left_of_second = given(left_of_second);
  StagedBackward<Cell>{s}.run(pool);
  return ffi::Error::Success();
}

auto inputs() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>()
      .Arg<Marks>().Arg<Marks>().Arg<Array>().Arg<Array>();
}

auto forward_binding() {
  return inputs()
      .Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>()
      .Attr<int64_t>("units").Attr<bool>("reverse");
}

auto backward_binding() {
  return inputs()
      .Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>()
      .Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>()
      .Attr<int64_t>("units").Attr<bool>("reverse");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(mgu_forward, forward<Mgu>, forward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(mgu_backward, backward<Mgu>, backward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(reset_first_gru_forward, forward<ResetFirstGru>, forward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(reset_first_gru_backward, backward<ResetFirstGru>, backward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(projected_lstm_forward, forward<ProjectedLstm>, forward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(projected_lstm_backward, backward<ProjectedLstm>, backward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(layer_norm_lstm_forward, forward<LayerNormLstm>, forward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(layer_norm_lstm_backward, backward<LayerNormLstm>, backward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(layer_norm_gru_forward, forward<LayerNormGru>, forward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(layer_norm_gru_backward, backward<LayerNormGru>, backward_binding());
