// Backward over all steps, last to first.
#pragma once

#include "forward.h"

namespace {

// The lines [begin, end) of a kernel [lines, gates h] transposed: [tiles of kTile lines][gates hp][kTile], its gates in
// the given order.
template <class Cell>
void pack_transposed(const Call& s, const float* kernel, int64_t begin, int64_t end, const int* gates, float* packed) {
  const int64_t columns = Cell::kGates * s.h;
  for (int64_t first = begin; first < end; first += kTile)
    for (int g = 0; g < Cell::kGates; ++g)
      for (int64_t u = 0; u < s.hp(); ++u, packed += kTile) {
        const float* from = kernel + first * columns + gates[g] * s.h + u;
        const int64_t n = u < s.h ? std::min<int64_t>(kTile, end - first) : 0;
        for (int64_t i = 0; i < n; ++i) packed[i] = from[i * columns];
        clear(packed + n, kTile - n);
      }
}

// What the threads of a call share, and where each sums its weights' gradient.
template <class Cell>
struct Backward {
  static constexpr int kBias = Cell::kRecurrentBias, kInOrder[] = {0, 1, 2, 3};
  const Call& s;
  const int64_t columns = Cell::kGates * s.hp(), row = s.row(), hp = s.hp(), dp = padded(s.d);
  const int64_t wide = 4 * hp + kLanes;  // a row of gate gradients, out of step with the cache's ways
  float *input = nullptr, *recurrent = nullptr, *sums = nullptr;

  int64_t lines() const { return s.d + 1 + kBias + s.h; }
  int64_t lane_floats() const { return lines() * columns + Cell::kPeepholes * hp; }
  int64_t input_floats() const { return s.d_x ? tiles(s.d) * columns * kTile : 0; }
  int64_t recurrent_floats(int parts) const { return tiles((s.h / parts + kLanes)) * columns * kTile; }  // of a part

  void run(xla::ffi::ThreadPool& pool) {
    const int threads = lanes_of(pool, s), lanes = s.few() ? 1 : threads, parts = s.few() ? threads : 1;
    const AtEnd at_end{call_arena};
    call_arena.begin(input_floats() + parts * recurrent_floats(parts) + lanes * lane_floats());
    input = call_arena.take(input_floats());
    recurrent = call_arena.take(parts * recurrent_floats(parts));
    sums = call_arena.take(lanes * lane_floats());
    if (s.d_x) pack_transposed<Cell>(s, s.input, 0, s.d, Cell::kInputGates, input);
    if (s.few()) return share(pool, threads);
    pack_transposed<Cell>(s, s.recurrent, 0, s.h, kInOrder, recurrent);
    in_lanes(pool, lanes, s.b, [&](int lane, int64_t begin, int64_t end) {
      clear(sums + lane * lane_floats(), lane_floats());
      groups(begin, end, [&](int64_t origin, int rows) { walk(lane, origin, rows); });
    });
    for (int g = 0; g < Cell::kGates; ++g) sum(lanes, g);
  }

  // The gradients of the state of rows that walk together, and those of the gates that wait to meet the weights.
  struct Rows {
    int64_t origin;
    int count;
    float *d_hidden, *d_cell, *d_x, *left, *d_gates, *through, *d_own;
  };

  // Room for `waiting` rows of gate gradients; with dropout also for what passes through the recurrent product.
  Rows begin(int64_t origin, int count, int64_t waiting) const {
    lane_arena.begin(waiting * (row + wide + dp) + (count * 3 + Cell::kPeepholes) * hp);
    Rows rows{origin, count, lane_arena.take(count * hp), lane_arena.take(count * hp), lane_arena.take(waiting * dp)};
    rows.left = lane_arena.take(waiting * row), rows.d_gates = lane_arena.take(waiting * wide);
    rows.through = s.dropout ? lane_arena.take(count * hp) : rows.d_hidden;
    rows.d_own = lane_arena.take(Cell::kPeepholes * hp);
    clear(rows.d_own, Cell::kPeepholes * hp);
    clear(rows.d_hidden, count * hp);
    clear(rows.d_cell, count * hp);
    for (int r = 0; r < count; ++r) {
      copy(rows.d_hidden + r * hp, s.d_last_hidden + (origin + r) * s.h, s.h);
      if (Cell::kCell) copy(rows.d_cell + r * hp, s.d_last_cell + (origin + r) * s.h, s.h);
    }
    return rows;
  }

  void end(const Rows& rows) const {
    for (int r = 0; r < rows.count; ++r) {
      copy(s.d_hidden + (rows.origin + r) * s.h, rows.d_hidden + r * hp, s.h);
      if (Cell::kCell) copy(s.d_cell + (rows.origin + r) * s.h, rows.d_cell + r * hp, s.h);
    }
  }

  // Gradients of the gates of the units [from, to) at the i-th step, as rows from `first` of those that wait.
  void differentiate(const Rows& rows, int64_t i, int64_t first, int64_t from, int64_t to) const {
    for (int r = 0; r < rows.count; ++r)
      of_row(rows.origin + r, i, rows.left + (first + r) * row, rows.d_gates + (first + r) * wide,
             rows.d_hidden + r * hp, rows.d_cell + r * hp, rows.d_own, from, to);
  }

  // From the gate gradients of the i-th step, which wait as rows from `first`, to the state before it, of the units
  // [from, to), whose weights are `packed`. Where the step began with a zero state, nothing reaches the one before.
  void recur(const Rows& rows, int64_t i, int64_t first, const float* packed, int64_t from, int64_t to) const {
    for (int r = 0; s.dropout && r < rows.count; ++r) clear(rows.through + r * hp + from, to - from);
    add_product(rows.count, to - from, columns, rows.d_gates + first * wide + Cell::kRecurrentFrom * hp, wide, 1,
                packed, kTile, columns * kTile, rows.through + from, hp);
    for (int r = 0; (s.dropout || s.resets) && r < rows.count; ++r) {
      float *d_hidden = rows.d_hidden + r * hp, *d_cell = rows.d_cell + r * hp;
      for (int64_t j = from; s.dropout && j < to; j += kLanes) {
        const Vector left = load(s.dropout + (rows.origin + r) * s.h + j, std::min<int64_t>(kLanes, s.h - j));
        store(d_hidden + j, load(d_hidden + j) + left * load(rows.through + r * hp + j));
      }
      if (!s.resets_at(rows.origin + r, i)) continue;
      clear(d_hidden + from, to - from);
      clear(d_cell + from, to - from);
    }
  }

  // Gradients of the inputs of rows that have waited since the i-th step, of one part of these rows.
  void inputs(const Rows& rows, int64_t i, int64_t first, int64_t count, int part, int parts) const {
    if (!s.d_x) return;
    const int64_t begin = count * part / parts, end = count * (part + 1) / parts;
    float* d_x = rows.d_x + begin * dp;
    clear(d_x, (end - begin) * dp);
    add_product(end - begin, dp, columns, rows.d_gates + (first + begin) * wide, wide, 1, input, kTile, columns * kTile,
                d_x, dp);
    for (int64_t n = begin; n < end; ++n, d_x += dp)
      copy(s.d_x + s.at(rows.origin + n % rows.count, s.step(i - n / rows.count)) * s.d, d_x, s.d);
  }

  // Gradients of the weights of one part of the left side, of rows that have waited.
  void weights(const Rows& rows, int lane, int64_t first, int64_t count, int part, int parts) const {
    float* to = sums + lane * lane_floats();
    const float *left = rows.left + first * row, *d_gates = rows.d_gates + first * wide;
    const auto lines = [&](int64_t n, const float* from, const float* d, float* sum) {
      const int64_t begin = n * part / parts, end = n * (part + 1) / parts;
      add_product(end - begin, columns, count, from + begin, 1, row, d, wide, kTile, sum + begin * columns, columns);
    };
    lines(s.d + 1, left, d_gates, to);
    lines(kBias + s.h, left + s.d + 1 - kBias, d_gates + Cell::kRecurrentFrom * hp, to + (s.d + 1) * columns);
  }

  float* own_sums(int lane) const { return sums + lane * lane_floats() + lines() * columns; }

  // Adds what the peepholes' gradient has become since the last time, of the units [from, to): in one sum of all rows
  // and steps each term would be rounded to the size of the whole.
  void add_own(const Rows& rows, int lane, int64_t from, int64_t to) const {
    for (int k = 0; k < Cell::kPeepholes; ++k)
      for (int64_t j = k * hp + from; j < k * hp + to; j += kLanes) {
        store(own_sums(lane) + j, load(own_sums(lane) + j) + load(rows.d_own + j));
        store(rows.d_own + j, Vector{});
      }
  }

  void walk(int lane, int64_t origin, int count) const {
    const AtEnd at_end{lane_arena};
    const Rows rows = begin(origin, count, kGroup + kDepth);
    int waiting = 0;
    for (int64_t i = s.t - 1; i >= 0; --i) {
      differentiate(rows, i, waiting, 0, s.h);
      recur(rows, i, waiting, recurrent, 0, hp);
      waiting += count;
      if (waiting < kDepth && i > 0) continue;
      inputs(rows, i + waiting / count - 1, 0, waiting, 0, 1);
      weights(rows, lane, 0, waiting, 0, 1);
      add_own(rows, lane, 0, hp);
      waiting = 0;
    }
    end(rows);
  }

  // Few rows: threads share the units of each step, and each keeps the weights of its own. Steps wait in two halves by
  // turns: one meets the weights while the other fills.
  void share(xla::ffi::ThreadPool& pool, int parts) const {
    const int64_t steps = (kDepth + s.b - 1) / s.b;
    const AtEnd at_end{lane_arena};
    const Rows rows = begin(0, s.b, 2 * steps * s.b);
    const auto place = [&](int64_t n) { return n % (2 * steps) * s.b; };
    in_stages(pool, s.t + 2, parts, [&](int64_t stage, int part) {
      const int64_t from = s.part(part, parts), to = s.part(part + 1, parts), n = stage - 1;
      if (stage == 0) {
        const int64_t first = lines() * part / parts, end = lines() * (part + 1) / parts;
        clear(sums + first * columns, (end - first) * columns);
        for (int k = 0; k < Cell::kPeepholes; ++k) clear(own_sums(0) + k * hp + from, to - from);
        pack_transposed<Cell>(s, s.recurrent, from, to, kInOrder, recurrent + part * recurrent_floats(parts));
        return differentiate(rows, s.t - 1, 0, from, to);
      }
      if (n == s.t) {
        for (int g = part; g < Cell::kGates; g += parts) sum(1, g);
        return;
      }
      recur(rows, s.t - 1 - n, place(n), recurrent + part * recurrent_floats(parts), from, to);
      const int64_t waiting = n % steps + 1, earliest = n - waiting + 1;
      if (waiting == steps || n == s.t - 1) {
        inputs(rows, s.t - 1 - earliest, place(earliest), waiting * s.b, part, parts);
        weights(rows, 0, place(earliest), waiting * s.b, part, parts);
        add_own(rows, 0, from, to);
      }
      if (n < s.t - 1) differentiate(rows, s.t - 2 - n, place(n + 1), from, to);
    });
    end(rows);
  }

  // The left side that a sequence had at the i-th step, and the gradient of its gates; past its length both are zero.
  void of_row(int64_t sequence, int64_t i, float* left, float* d_gates, float* d_hidden, float* d_cell, float* d_own,
              int64_t from, int64_t to) const {
    const int64_t step = s.step(i);
    const int64_t valid = s.valid(sequence), at = s.at(sequence, step), saved = s.saved(sequence, step);
    if (step >= valid) {
      if (from == 0) clear(left, row);
      for (int g = 0; g < 4; ++g) clear(d_gates + g * hp + from, padded(to) - from);
      return;
    }
    const int64_t before = s.reverse ? step + 1 : step - 1;
    const bool first = before < 0 || before >= valid, keeps = !s.resets_at(sequence, i);
    const float* hidden = first ? s.hidden + sequence * s.h : s.outputs + s.at(sequence, before) * s.h;
    const float* state = !Cell::kCell ? hidden : first ? s.cell + sequence * s.h : s.cells + s.saved(sequence, before);
    if (from == 0) {
      copy(left, s.x + at * s.d, s.d);
      left[s.d] = 1.0f;
      if (keeps)
        copy(left + s.d + 1, hidden, s.h);
      else
        clear(left + s.d + 1, s.h);
      for (int64_t k = 0; s.dropout && k < s.h; ++k) left[s.d + 1 + k] *= s.dropout[sequence * s.h + k];
    }
    for (int64_t j = from; j < to; j += kLanes) {
      const int n = std::min<int64_t>(kLanes, s.h - j);
      Vector gate[4], d_gate[4], d_c = load(d_cell + j);
      for (int g = 0; g < Cell::kSaved; ++g) gate[g] = load(s.gates[g] + saved + j, n);
      Vector after = Cell::kCell ? load(s.cells + saved + j, n) : load(s.outputs + at * s.h + j, n);
      Vector d_h = load(d_hidden + j) + load(s.d_outputs + at * s.h + j, n);
      if (s.d_cells) d_c += load(s.d_cells + saved + j, n);
      Vector own[Cell::kPeepholes + 1], d_own_j[Cell::kPeepholes + 1];
      for (int k = 0; k < Cell::kPeepholes; ++k)
        own[k] = load(s.own + k * s.h + j, n), d_own_j[k] = load(d_own + k * hp + j);
      const Vector state_before = keeps ? load(state + j, n) : Vector{};
      Vector d_h_held{}, d_c_held{};
      if (s.hold_hidden) {
        const Vector hold = load(s.hold_hidden + at * s.h + j, n);
        const Vector hold_cell = Cell::kCell ? load(s.hold_cell + at * s.h + j, n) : Vector{};
        d_h_held = hold * d_h, d_c_held = hold_cell * d_c;
        d_h -= d_h_held, d_c -= d_c_held;
        after = Cell::released(gate, state_before, after, hold);
      }
      store(d_hidden + j, d_h_held + Cell::gradient(gate, state_before, after, d_h, d_c, d_gate, own, d_own_j));
      store(d_cell + j, d_c_held + d_c);
      for (int k = 0; k < Cell::kPeepholes; ++k) store(d_own + k * hp + j, d_own_j[k]);
      for (int g = 0; g < Cell::kGates + Cell::kRecurrentBias; ++g) store(d_gates + g * hp + j, d_gate[g]);
    }
  }

  // Adds up the lanes' gradients of a gate, always in the same order.
  void sum(int lanes, int g) const {
    const auto line = [&](int64_t k, float* to) {
      for (int64_t j = 0; j < s.h; j += kLanes) {
        Vector total{};
        for (int lane = 0; lane < lanes; ++lane) total += load(sums + lane * lane_floats() + k * columns + g * hp + j);
        store(to + j, total, std::min<int64_t>(kLanes, s.h - j));
      }
    };
    const int64_t to = Cell::kInputGates[g] * s.h;
    for (int64_t k = 0; k < s.d; ++k) line(k, s.d_input + k * Cell::kGates * s.h + to);
    line(s.d, s.d_bias + to);
    for (int64_t k = 0; k < s.h; ++k) line(s.d + 1 + kBias + k, s.d_recurrent + (k * Cell::kGates + g) * s.h);
    if (kBias && g == Cell::kGates - 1) line(s.d + 1, s.d_own);
    for (int k = g; k < Cell::kPeepholes; k += Cell::kGates)
      for (int64_t j = 0; j < s.h; j += kLanes) {
        Vector total{};
        for (int lane = 0; lane < lanes; ++lane) total += load(own_sums(lane) + k * hp + j);
        store(s.d_own + k * s.h + j, total, std::min<int64_t>(kLanes, s.h - j));
      }
  }
};

}  // namespace
