// LSTM and GRU over whole sequences on a CPU, forward and backward, called by XLA through its foreign function interface.
//
// A call runs all steps. The batch is cut into lanes, one a thread, and a lane into groups of rows whose state stays in
// the cache: a group walks through time on its own, so that threads meet only at the end. A step is one matrix product
// in tiles that stay in registers until their gates are applied.
//
// All arrays are row-major, sequences batch-major. A row of the product's left side is [x, 1, h]: the biases are the
// weights of the 1.

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "cells.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

constexpr int kGroup = 96;         // most rows that walk through time together
constexpr int kDepth = 96;         // least rows, of one step or several, in a product for the weights' gradient
constexpr int64_t kWork = 1 << 19;  // least multiply-adds that are worth a thread

// Weights for the forward products: [tiles of kLanes units][rows: input, bias, recurrent][gates][kLanes].
template <class Cell>
int64_t packed_rows(const Call& s) { return s.d + 1 + Cell::kRecurrentBias + s.h; }

template <class Cell>
void pack_forward(const Call& s, float* packed) {
  const int64_t columns = Cell::kGates * s.h;
  for (int64_t j = 0; j < s.h; j += kLanes) {
    const auto pack = [&](const float* line) {
      for (int g = 0; g < Cell::kGates; ++g, packed += kLanes) store(packed, load(line + g * s.h + j, s.h - j));
    };
    for (int64_t k = 0; k < s.d; ++k) pack(s.input + k * columns);
    pack(s.bias);
    if constexpr (Cell::kRecurrentBias) {
      clear(packed, (Cell::kGates - 1) * kLanes);
      packed += (Cell::kGates - 1) * kLanes;
      store(packed, load(s.recurrent_bias + j, s.h - j));
      packed += kLanes;
    }
    for (int64_t k = 0; k < s.h; ++k) pack(s.recurrent + k * columns);
  }
}

// A kernel [lines, gates h] transposed: [tiles of kTile lines][gates hp][kTile], its gates in the given order.
template <class Cell>
void pack_backward(const Call& s, const float* kernel, int64_t lines, const int* gates, float* packed) {
  const int64_t columns = Cell::kGates * s.h;
  for (int64_t first = 0; first < lines; first += kTile)
    for (int g = 0; g < Cell::kGates; ++g)
      for (int64_t u = 0; u < s.hp(); ++u, packed += kTile) {
        const float* from = kernel + first * columns + gates[g] * s.h + u;
        const int64_t n = u < s.h ? std::min<int64_t>(kTile, lines - first) : 0;
        for (int64_t i = 0; i < n; ++i) packed[i] = from[i * columns];
        clear(packed + n, kTile - n);
      }
}

// Groups of a lane: f(first, rows).
template <class F>
void groups(int64_t begin, int64_t end, F&& f) {
  for (int64_t count = (end - begin + kGroup - 1) / kGroup; count > 0; --count) {
    const int rows = (end - begin + count - 1) / count;
    f(begin, rows);
    begin += rows;
  }
}

template <class Cell>
void forward(const Call& s, const float* packed, int64_t begin, int64_t end) {
  const int64_t row = s.row(), hp = s.hp(), tile = packed_rows<Cell>(s) * Cell::kGates * kLanes;
  lane_arena.begin(kGroup * (2 * row + hp));
  float *left[] = {lane_arena.take(kGroup * row), lane_arena.take(kGroup * row)}, *cells = lane_arena.take(kGroup * hp);
  groups(begin, end, [&](int64_t origin, int rows) {
    for (int r = 0; r < rows; ++r) {
      for (float* l : left) {
        clear(l + r * row, row);
        l[r * row + s.d] = 1.0f;
      }
      copy(left[0] + r * row + s.d + 1, s.hidden + (origin + r) * s.h, s.h);
      clear(cells + r * hp, hp);
      if (Cell::kCell) copy(cells + r * hp, s.cell + (origin + r) * s.h, s.h);
    }
    for (int64_t i = 0; i < s.t; ++i) {
      const int64_t step = s.reverse ? s.t - 1 - i : i;
      float *now = left[i % 2], *next = left[(i + 1) % 2];
      for (int r = 0; r < rows; ++r)
        if (step < s.valid(origin + r)) copy(now + r * row, s.x + s.at(origin + r, step) * s.d, s.d);
      for (int64_t j = 0; j < s.h; j += kLanes) {
        const int n = std::min<int64_t>(kLanes, s.h - j);
        blocks(rows, [&](int top, auto height) {
          constexpr int M = decltype(height)::value;
          Vector gate[M][4] = {};
          Cell::template products<M>(s, now + top * row, packed + j / kLanes * tile, gate);
          for (int m = 0; m < M; ++m) {
            const int r = top + m;
            const int64_t at = s.at(origin + r, step);
            const Vector before = load(now + r * row + s.d + 1 + j);
            const bool valid = step < s.valid(origin + r);
            Vector cell = load(cells + r * hp + j);
            const Vector hidden = valid ? Cell::apply(gate[m], before, cell) : before;
            store(next + r * row + s.d + 1 + j, hidden);
            store(s.outputs + at * s.h + j, valid ? hidden : Vector{}, n);
            if (!valid) continue;
            if (Cell::kCell) store(cells + r * hp + j, cell);
            if (!s.gates[0]) continue;
            const int64_t saved = s.saved(origin + r, step) + j;
            for (int g = 0; g < 4; ++g) store(s.gates[g] + saved, gate[m][g], n);
            if (Cell::kCell) store(s.cells + saved, cell, n);
          }
        });
      }
    }
    for (int r = 0; r < rows; ++r) {
      copy(s.last_hidden + (origin + r) * s.h, left[s.t % 2] + r * row + s.d + 1, s.h);
      if (Cell::kCell) copy(s.last_cell + (origin + r) * s.h, cells + r * hp, s.h);
    }
  });
}

// What the lanes of a backward call share, and where each sums its weights' gradient.
template <class Cell>
struct Backward {
  static constexpr int kBias = Cell::kRecurrentBias;
  const Call& s;
  const int64_t columns = Cell::kGates * s.hp();
  float *input = nullptr, *recurrent = nullptr, *sums = nullptr;

  int64_t lane_floats() const { return (s.d + 1 + kBias + s.h) * columns; }
  int64_t input_floats() const { return s.d_x ? tiles(s.d) * columns * kTile : 0; }
  int64_t recurrent_floats() const { return s.few() ? 0 : tiles(s.h) * columns * kTile; }

  void pack(int lanes) {
    static constexpr int kInOrder[] = {0, 1, 2, 3};
    call_arena.begin(input_floats() + recurrent_floats() + lanes * lane_floats());
    input = call_arena.take(input_floats());
    recurrent = call_arena.take(recurrent_floats());
    sums = call_arena.take(lanes * lane_floats());
    if (s.d_x) pack_backward<Cell>(s, s.input, s.d, Cell::kInputGates, input);
    if (!s.few()) pack_backward<Cell>(s, s.recurrent, s.h, kInOrder, recurrent);
  }

  void run(int lane, int64_t begin, int64_t end) const {
    const int64_t row = s.row(), hp = s.hp(), dp = padded(s.d), wide = 4 * hp + kLanes, most = kGroup + kDepth;
    float *input_sum = sums + lane * lane_floats(), *recurrent_sum = input_sum + (s.d + 1) * columns;
    clear(input_sum, lane_floats());
    lane_arena.begin(most * (row + wide) + kGroup * (2 * hp + dp));
    float *left = lane_arena.take(most * row), *d_gates = lane_arena.take(most * wide);
    float *d_hidden = lane_arena.take(kGroup * hp), *d_cell = lane_arena.take(kGroup * hp);
    float* d_x = lane_arena.take(kGroup * dp);
    groups(begin, end, [&](int64_t origin, int rows) {
      clear(d_hidden, rows * hp);
      clear(d_cell, rows * hp);
      for (int r = 0; r < rows; ++r) {
        copy(d_hidden + r * hp, s.d_last_hidden + (origin + r) * s.h, s.h);
        if (Cell::kCell) copy(d_cell + r * hp, s.d_last_cell + (origin + r) * s.h, s.h);
      }
      int waiting = 0;  // rows whose gate gradients have not met the weights yet
      for (int64_t i = s.t - 1; i >= 0; --i) {
        const int64_t step = s.reverse ? s.t - 1 - i : i;
        float *now = left + waiting * row, *d_now = d_gates + waiting * wide;
        for (int r = 0; r < rows; ++r)
          of_row(origin + r, step, now + r * row, d_now + r * wide, d_hidden + r * hp, d_cell + r * hp);
        const float* d_recurrent = d_now + Cell::kRecurrentFrom * hp;
        if (s.few())
          add_dots(rows, s.h, columns, d_recurrent, wide, s.recurrent, columns, d_hidden, hp);
        else
          add_product(rows, hp, columns, d_recurrent, wide, 1, recurrent, kTile, columns * kTile, d_hidden, hp);
        if (s.d_x) {
          clear(d_x, rows * dp);
          add_product(rows, dp, columns, d_now, wide, 1, input, kTile, columns * kTile, d_x, dp);
          for (int r = 0; r < rows; ++r) copy(s.d_x + s.at(origin + r, step) * s.d, d_x + r * dp, s.d);
        }
        waiting += rows;
        if (waiting < kDepth && i > 0) continue;
        add_product(s.d + 1, columns, waiting, left, 1, row, d_gates, wide, kTile, input_sum, columns);
        add_product(kBias + s.h, columns, waiting, left + s.d + 1 - kBias, 1, row, d_gates + Cell::kRecurrentFrom * hp,
                    wide, kTile, recurrent_sum, columns);
        waiting = 0;
      }
      for (int r = 0; r < rows; ++r) {
        copy(s.d_hidden + (origin + r) * s.h, d_hidden + r * hp, s.h);
        if (Cell::kCell) copy(s.d_cell + (origin + r) * s.h, d_cell + r * hp, s.h);
      }
    });
  }

  // The left side that a sequence had at a step, and the gradient of its gates; past its length both are zero.
  void of_row(int64_t sequence, int64_t step, float* left, float* d_gates, float* d_hidden, float* d_cell) const {
    const int64_t hp = s.hp(), valid = s.valid(sequence), at = s.at(sequence, step), saved = s.saved(sequence, step);
    if (step >= valid) {
      clear(left, s.row());
      clear(d_gates, 4 * hp);
      return;
    }
    const int64_t before = s.reverse ? step + 1 : step - 1;
    const bool first = before < 0 || before >= valid;
    const float* hidden = first ? s.hidden + sequence * s.h : s.outputs + s.at(sequence, before) * s.h;
    const float* state = !Cell::kCell ? hidden : first ? s.cell + sequence * s.h : s.cells + s.saved(sequence, before);
    copy(left, s.x + at * s.d, s.d);
    left[s.d] = 1.0f;
    copy(left + s.d + 1, hidden, s.h);
    for (int64_t j = 0; j < s.h; j += kLanes) {
      const int n = std::min<int64_t>(kLanes, s.h - j);
      Vector gate[4], d_gate[4], d_c = load(d_cell + j);
      for (int g = 0; g < 4; ++g) gate[g] = load(s.gates[g] + saved + j, n);
      const Vector cell = Cell::kCell ? load(s.cells + saved + j, n) : Vector{};
      const Vector d_h = load(d_hidden + j) + load(s.d_outputs + at * s.h + j, n);
      store(d_hidden + j, Cell::gradient(gate, load(state + j, n), cell, d_h, d_c, d_gate));
      store(d_cell + j, d_c);
      for (int g = 0; g < 4; ++g) store(d_gates + g * hp + j, d_gate[g]);
    }
  }

  // Adds up the lanes, always in the same order.
  void sum(int lanes) const {
    const auto line = [&](int64_t k, int block, float* to) {
      for (int64_t j = 0; j < s.h; j += kLanes) {
        Vector total{};
        for (int lane = 0; lane < lanes; ++lane)
          total += load(sums + lane * lane_floats() + k * columns + block * s.hp() + j);
        store(to + j, total, std::min<int64_t>(kLanes, s.h - j));
      }
    };
    for (int g = 0; g < Cell::kGates; ++g) {
      const int64_t to = Cell::kInputGates[g] * s.h;
      for (int64_t k = 0; k < s.d; ++k) line(k, g, s.d_input + k * Cell::kGates * s.h + to);
      line(s.d, g, s.d_bias + to);
      for (int64_t k = 0; k < s.h; ++k)
        line(s.d + 1 + kBias + k, g, s.d_recurrent + (k * Cell::kGates + g) * s.h);
    }
    if (kBias) line(s.d + 1, Cell::kGates - 1, s.d_recurrent_bias);
  }
};

int lanes_of(const ffi::ThreadPool& pool, const Call& s) {
  const int64_t work = s.b * s.t * (s.d + s.h) * 4 * s.h;
  return std::max<int64_t>(1, std::min({pool.num_threads(), work / kWork, s.b / 2}));
}

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// f(lane, begin, end) for every lane. The caller works too, and waits only for lanes that a thread has begun: a pool
// whose threads are busy, perhaps with a call that waits for this one, delays nothing.
template <class F>
void in_lanes(ffi::ThreadPool& pool, int lanes, int64_t rows, F&& f) {
  struct Progress {
    std::atomic<int> begun{0}, done{0};
    std::mutex mutex;
    std::condition_variable finished;
  };
  const auto progress = std::make_shared<Progress>();
  const auto work = [progress, lanes, rows, &f] {
    for (int lane; (lane = progress->begun.fetch_add(1)) < lanes;) {
      f(lane, rows * lane / lanes, rows * (lane + 1) / lanes);
      std::lock_guard<std::mutex> lock(progress->mutex);
      if (progress->done.fetch_add(1) + 1 == lanes) progress->finished.notify_one();
    }
  };
  for (int i = 1; i < lanes; ++i) pool.Schedule(std::decay_t<decltype(work)>(work));
  work();
  // Lanes are of one size: the others are nearly done, and sleeping would take longer.
  for (int i = 0; i < 20000 && progress->done.load() < lanes; ++i) pause();
  std::unique_lock<std::mutex> lock(progress->mutex);
  progress->finished.wait(lock, [&] { return progress->done.load() == lanes; });
}

using Input = ffi::Buffer<ffi::F32>;
using Lengths = ffi::Buffer<ffi::S32>;
using Output = ffi::Result<ffi::Buffer<ffi::F32>>;

float* data(Output& array) { return array->element_count() ? array->typed_data() : nullptr; }

Call call_of(Input x, Input input, Input bias, Input recurrent, Input recurrent_bias, Input hidden, Input cell,
             Lengths lengths, bool reverse) {
  Call s{};
  s.b = x.dimensions()[0], s.t = x.dimensions()[1], s.d = x.dimensions()[2], s.h = hidden.dimensions()[1];
  s.reverse = reverse;
  s.lengths = lengths.element_count() ? lengths.typed_data() : nullptr;
  s.x = x.typed_data(), s.input = input.typed_data(), s.bias = bias.typed_data();
  s.recurrent = recurrent.typed_data(), s.recurrent_bias = recurrent_bias.typed_data();
  s.hidden = hidden.typed_data(), s.cell = cell.typed_data();
  return s;
}

template <class Cell>
ffi::Error Forward(ffi::ThreadPool pool, Input x, Input input, Input bias, Input recurrent, Input recurrent_bias,
                   Input hidden, Input cell, Lengths lengths, Output outputs, Output last_hidden, Output last_cell,
                   Output gate0, Output gate1, Output gate2, Output gate3,
                   Output cells, bool reverse) {
  Call s = call_of(x, input, bias, recurrent, recurrent_bias, hidden, cell, lengths, reverse);
  s.outputs = data(outputs), s.last_hidden = data(last_hidden), s.last_cell = data(last_cell);
  s.gates[0] = data(gate0), s.gates[1] = data(gate1), s.gates[2] = data(gate2), s.gates[3] = data(gate3);
  s.cells = data(cells);
  const int64_t floats = s.hp() * packed_rows<Cell>(s) * Cell::kGates;
  call_arena.begin(floats);
  float* packed = call_arena.take(floats);
  pack_forward<Cell>(s, packed);
  in_lanes(pool, lanes_of(pool, s), s.b,
           [&](int, int64_t begin, int64_t end) { forward<Cell>(s, packed, begin, end); });
  return ffi::Error::Success();
}

template <class Cell>
ffi::Error Backprop(ffi::ThreadPool pool, Input x, Input input, Input bias, Input recurrent, Input recurrent_bias,
                    Input hidden, Input cell, Lengths lengths, Input outputs, Input gate0, Input gate1, Input gate2,
                    Input gate3, Input cells, Input d_outputs,
                    Input d_last_hidden, Input d_last_cell, Output d_x, Output d_input, Output d_bias,
                    Output d_recurrent, Output d_recurrent_bias, Output d_hidden, Output d_cell, bool reverse) {
  Call s = call_of(x, input, bias, recurrent, recurrent_bias, hidden, cell, lengths, reverse);
  s.outputs = outputs.typed_data(), s.cells = cells.typed_data();
  s.gates[0] = gate0.typed_data(), s.gates[1] = gate1.typed_data();
  s.gates[2] = gate2.typed_data(), s.gates[3] = gate3.typed_data();
  s.d_outputs = d_outputs.typed_data(), s.d_last_hidden = d_last_hidden.typed_data();
  s.d_last_cell = d_last_cell.typed_data();
  s.d_x = data(d_x), s.d_input = data(d_input), s.d_bias = data(d_bias), s.d_recurrent = data(d_recurrent);
  s.d_recurrent_bias = data(d_recurrent_bias), s.d_hidden = data(d_hidden), s.d_cell = data(d_cell);
  const int lanes = lanes_of(pool, s);
  Backward<Cell> backward{s};
  backward.pack(lanes);
  in_lanes(pool, lanes, s.b,
           [&](int lane, int64_t begin, int64_t end) { backward.run(lane, begin, end); });
  backward.sum(lanes);
  return ffi::Error::Success();
}

using Array = ffi::Buffer<ffi::F32>;

// x, weights and state.
auto inputs() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>()
      .Arg<Lengths>();
}

auto forward_binding() {
  return inputs()
      .Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>()
      .Attr<bool>("reverse");
}

auto backward_binding() {
  return inputs()
      .Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>()
      .Arg<Array>()
      .Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>()
      .Attr<bool>("reverse");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(LstmForward, Forward<Lstm>, forward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(LstmBackward, Backprop<Lstm>, backward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(GruForward, Forward<Gru>, forward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(GruBackward, Backprop<Gru>, backward_binding());
