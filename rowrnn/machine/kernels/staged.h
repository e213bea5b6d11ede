// Sequences of cells whose step has stages, forward and backward. The gradients of their kernels are products over all
// steps, which are left to XLA.
#pragma once

#include "forward.h"
#include "normalized_cells.h"

namespace {

struct StagedCall {
  int64_t b, t, o, h, others;  // o: size of the hidden state, h: units, others: of `d_other` at a step
  bool reverse;
  const int32_t *lengths, *resets;                // [b], [b, t]
  const float* dropout;                           // [b, o]
  const float *projected, *first, *second, *own;  // [b, t, gates, h], [o, first gates, h], [h, outputs], [kOwn, h]
  const float *hidden, *cell;                     // [b, o], [b, h], before the first step
  float *outputs, *last_hidden, *last_cell;       // [b, t, o], [b, o], [b, h]
  float *kept, *cells;                            // [b, t, kGates, h], [b, t, h]
  const float *d_outputs, *d_last_hidden, *d_last_cell, *d_cells;
  float *d_projected, *d_other, *d_own, *d_hidden, *d_cell;  // [b, t, others], [b, kOwn, h]
  float *left, *left_of_second;                              // sides of the products, [b, t, o], [b, t, h]

  int64_t hp() const { return padded(h); }
  int64_t op() const { return padded(o); }
  int64_t step(int64_t i) const { return reverse ? t - 1 - i : i; }
  int64_t at(int64_t sequence, int64_t step) const { return sequence * t + step; }
  bool is_valid(int64_t sequence, int64_t step) const {
    return step >= 0 && step < t && (!lengths || step < lengths[sequence]);
  }
  bool resets_at(int64_t sequence, int64_t i) const { return resets && resets[at(sequence, step(i))]; }
  int64_t earlier(int64_t i) const { return reverse ? step(i) + 1 : step(i) - 1; }

  // What of a hidden state enters products.
  void see(int64_t sequence, const float* state, float* seen) const {
    for (int64_t k = 0; k < o; ++k) seen[k] = dropout ? state[k] * dropout[sequence * o + k] : state[k];
  }

  // f(origin, rows) for groups of sequences, of which each thread takes some.
  template <class F>
  void in_groups(xla::ffi::ThreadPool& pool, int64_t columns, F&& f) const {
    const int lanes = std::max<int64_t>(1, std::min({pool.num_threads(), b * t * o * columns / kWork, b / 2}));
    in_lanes(pool, lanes, b, [&](int, int64_t begin, int64_t end) { groups(begin, end, f); });
  }
};

// The first n values that lie `step` apart, the others zero.
inline Vector gather(const float* from, int64_t step, int64_t n) {
  Vector v{};
  for (int64_t i = 0; i < std::min<int64_t>(kLanes, n); ++i) v[i] = from[i * step];
  return v;
}

// A matrix as `add_product` takes it from the right: [tiles of kTile columns][depth][kTile].
struct Right {
  int64_t depth, columns;
  float* packed;

  static int64_t floats(int64_t depth, int64_t columns) { return tiles(columns) * depth * kTile; }

  // Of vectors at(k, column) of the values from a column on.
  template <class At>
  static Right of(int64_t depth, int64_t columns, At&& at) {
    Right right{depth, columns, call_arena.take(floats(depth, columns))};
    float* to = right.packed;
    for (int64_t first = 0; first < columns; first += kTile)
      for (int64_t k = 0; k < depth; ++k)
        for (int64_t n = first; n < first + kTile; n += kLanes, to += kLanes)
          store(to, n < columns ? at(k, n) : Vector{});
    return right;
  }

  void add_times(int rows, const float* left, int64_t left_row, float* to) const {
    add_product(rows, columns, depth, left, left_row, 1, packed, kTile, depth * kTile, to, columns);
  }
};

// Zeroed arrays of the rows that walk together, each `width` a row.
struct ZeroedArrays {
  const AtEnd at_end{lane_arena};
  const int64_t count;
  ZeroedArrays(int64_t count, int64_t width) : count(count) { lane_arena.begin(count * width); }
  float* take(int64_t width) const {
    float* piece = lane_arena.take(count * width);
    clear(piece, count * width);
    return piece;
  }
};

template <class Cell>
struct StagedForward {
  const StagedCall& s;
  const int64_t hp = s.hp(), op = s.op(), gates = Cell::kGates, firsts = Cell::kFirst, products = firsts * hp;
  Right first{}, second{};

  void run(xla::ffi::ThreadPool& pool) {
    const AtEnd at_end{call_arena};
    call_arena.begin(Right::floats(s.o, products) + Right::floats(s.h, op));
    first = Right::of(s.o, products, [&](int64_t k, int64_t n) {
      return load(s.first + (k * firsts + n / hp) * s.h + n % hp, s.h - n % hp);
    });
    if (Cell::kSecond)
      second = Right::of(s.h, op, [&](int64_t k, int64_t n) { return load(s.second + k * s.o + n, s.o - n); });
    s.in_groups(pool, (firsts + Cell::kSecond) * s.h, [&](int64_t origin, int rows) { walk(origin, rows); });
  }

  void walk(int64_t origin, int count) const {
    const ZeroedArrays arrays(count, 3 * op + 2 * hp + products + gates * hp);
    float *hidden = arrays.take(op), *seen = arrays.take(op), *of_middle = arrays.take(op);
    float *cells = arrays.take(hp), *middle = arrays.take(hp), *product = arrays.take(products);
    float* normal = arrays.take(gates * hp);
    for (int r = 0; r < count; ++r) {
      copy(hidden + r * op, s.hidden + (origin + r) * s.o, s.o);
      if (Cell::kCell) copy(cells + r * hp, s.cell + (origin + r) * s.h, s.h);
    }
    for (int64_t i = 0; i < s.t; ++i) {
      const auto row = [&](int r) {
        const int64_t of_gates = s.at(origin + r, s.step(i)) * Cell::kGates * s.h;
        StagedStep step{};
        step.o = s.o, step.h = s.h, step.hp = hp, step.own = s.own, step.projected = s.projected + of_gates;
        step.kept = s.kept ? s.kept + of_gates : nullptr;
        step.seen = seen + r * op, step.second = of_middle + r * op, step.hidden = hidden + r * op;
        step.cell = cells + r * hp, step.middle = middle + r * hp;
        step.product = product + r * products, step.normal_input = normal + r * gates * hp;
        return step;
      };
      for (int r = 0; r < count; ++r) {
        if (s.resets_at(origin + r, i)) clear(hidden + r * op, op), clear(cells + r * hp, hp);
        s.see(origin + r, hidden + r * op, seen + r * op);
      }
      clear(product, count * products);
      first.add_times(count, seen, op, product);
      for (int r = 0; r < count; ++r)
        if (s.is_valid(origin + r, s.step(i))) Cell::enter(row(r));
      if (Cell::kSecond) {
        clear(of_middle, count * op);
        second.add_times(count, middle, hp, of_middle);
      }
      for (int r = 0; r < count; ++r) {
        const int64_t at = s.at(origin + r, s.step(i));
        if (s.is_valid(origin + r, s.step(i))) {
          Cell::leave(row(r));
          copy(s.outputs + at * s.o, hidden + r * op, s.o);
        } else {
          clear(s.outputs + at * s.o, s.o);
          if (s.kept) clear(s.kept + at * Cell::kGates * s.h, Cell::kGates * s.h);
        }
        if (Cell::kCell && s.kept) copy(s.cells + at * s.h, cells + r * hp, s.h);
      }
    }
    for (int r = 0; r < count; ++r) {
      copy(s.last_hidden + (origin + r) * s.o, hidden + r * op, s.o);
      if (Cell::kCell) copy(s.last_cell + (origin + r) * s.h, cells + r * hp, s.h);
    }
  }
};

template <class Cell>
struct StagedBackward {
  const StagedCall& s;
  const int64_t hp = s.hp(), op = s.op(), gates = Cell::kGates, firsts = Cell::kFirst, products = firsts * hp;
  Right first{}, second{};

  void run(xla::ffi::ThreadPool& pool) {
    const AtEnd at_end{call_arena};
    call_arena.begin(Right::floats(products, op) + Right::floats(s.o, hp));
    first = Right::of(products, op, [&](int64_t k, int64_t n) {
      if (k % hp >= s.h) return Vector{};
      return gather(s.first + (n * firsts + k / hp) * s.h + k % hp, firsts * s.h, s.o - n);
    });
    if (Cell::kSecond)
      second = Right::of(s.o, hp, [&](int64_t k, int64_t n) { return gather(s.second + n * s.o + k, s.o, s.h - n); });
    s.in_groups(pool, (firsts + Cell::kSecond) * s.h, [&](int64_t origin, int rows) { walk(origin, rows); });
  }

  void walk(int64_t origin, int count) const {
    const ZeroedArrays arrays(count, 5 * op + 2 * hp + products + (3 * gates + Cell::kOwn) * hp);
    float *before = arrays.take(op), *seen = arrays.take(op), *d_hidden = arrays.take(op), *d_second = arrays.take(op);
    float *through = arrays.take(op), *d_cells = arrays.take(hp), *d_middle = arrays.take(hp);
    float *d_product = arrays.take(products), *normals = arrays.take(3 * gates * hp);
    float* d_own = arrays.take(Cell::kOwn * hp);
    const std::vector<float> zero(s.h);
    for (int r = 0; r < count; ++r) {
      copy(d_hidden + r * op, s.d_last_hidden + (origin + r) * s.o, s.o);
      if (Cell::kCell) copy(d_cells + r * hp, s.d_last_cell + (origin + r) * s.h, s.h);
      clear(of_own(origin + r), Cell::kOwn * s.h);
    }
    for (int64_t i = s.t - 1; i >= 0; --i) {
      const auto row = [&](int r) {
        const int64_t sequence = origin + r, at = s.at(sequence, s.step(i));
        const bool starts = !s.is_valid(sequence, s.earlier(i));
        const float* cell = !Cell::kCell || s.resets_at(sequence, i) ? zero.data()
                            : starts                                 ? s.cell + sequence * s.h
                                                                     : s.cells + s.at(sequence, s.earlier(i)) * s.h;
        StagedGradient step{};
        step.o = s.o, step.h = s.h, step.hp = hp, step.own = s.own;
        step.projected = s.projected ? s.projected + at * gates * s.h : nullptr;
        step.kept = s.kept + at * gates * s.h, step.cell_before = cell;
        step.cell = Cell::kCell ? s.cells + at * s.h : nullptr;
        step.before = before + r * op, step.seen = seen + r * op, step.d_hidden = d_hidden + r * op;
        step.d_cell = d_cells + r * hp, step.d_second = d_second + r * op, step.d_middle = d_middle + r * hp;
        step.through = through + r * op, step.d_product = d_product + r * products;
        step.normal_input = normals + r * 3 * gates * hp, step.normal_state = step.normal_input + gates * hp;
        step.spare = step.normal_state + gates * hp;
        step.d_projected = s.d_projected + at * gates * s.h, step.d_own = d_own;
        step.d_other = s.others ? s.d_other + at * s.others : nullptr;
        step.left_of_second = Cell::kSecond ? s.left_of_second + at * s.h : nullptr;
        return step;
      };
      // Rows beyond their ends take part in the products as zeros.
      clear(d_product, count * products), clear(d_second, count * op), clear(through, count * op);
      for (int r = 0; r < count; ++r)
        if (s.is_valid(origin + r, s.step(i))) begin_step(row(r), origin + r, i);
      if (Cell::kSecond) {
        clear(d_middle, count * hp);
        second.add_times(count, d_second, op, d_middle);
      }
      for (int r = 0; r < count; ++r)
        if (s.is_valid(origin + r, s.step(i))) Cell::enter_gradient(row(r));
      first.add_times(count, d_product, products, through);
      for (int r = 0; r < count; ++r) end_step(row(r), origin + r, i);
      add_own(d_own, of_own(origin));
    }
    for (int r = 0; r < count; ++r) {
      copy(s.d_hidden + (origin + r) * s.o, d_hidden + r * op, s.o);
      if (Cell::kCell) copy(s.d_cell + (origin + r) * s.h, d_cells + r * hp, s.h);
    }
  }

  // Of the sequences that walk together only the first has the gradient of the own weights, of all of them.
  float* of_own(int64_t sequence) const { return s.d_own + sequence * Cell::kOwn * s.h; }

  // Adds what a step has summed, so that no sum has more terms than sequences, or steps.
  void add_own(float* of_step, float* to) const {
    for (int k = 0; k < Cell::kOwn; ++k)
      for (int64_t j = 0; j < s.h; ++j) to[k * s.h + j] += of_step[k * hp + j];
    clear(of_step, Cell::kOwn * hp);
  }

  // From the gradient of the state after a step to that of its second product.
  void begin_step(const StagedGradient& row, int64_t sequence, int64_t i) const {
    const int64_t at = s.at(sequence, s.step(i)), earlier = s.earlier(i);
    const float* state =
        s.is_valid(sequence, earlier) ? s.outputs + s.at(sequence, earlier) * s.o : s.hidden + sequence * s.o;
    if (s.resets_at(sequence, i))
      clear(row.before, s.o);
    else
      copy(row.before, state, s.o);
    s.see(sequence, row.before, row.seen);
    copy(s.left + at * s.o, row.seen, s.o);
    for (int64_t k = 0; k < s.o; ++k) row.d_hidden[k] += s.d_outputs[at * s.o + k];
    for (int64_t k = 0; s.d_cells && k < s.h; ++k) row.d_cell[k] += s.d_cells[at * s.h + k];
    Cell::leave_gradient(row);
  }

  // Ends a step with the gradient of the state before it.
  void end_step(const StagedGradient& row, int64_t sequence, int64_t i) const {
    if (!s.is_valid(sequence, s.step(i))) {
      clear(row.d_projected, Cell::kGates * s.h);
      clear(row.d_other, s.others);
      clear(s.left + s.at(sequence, s.step(i)) * s.o, s.o);
      if (Cell::kSecond) clear(row.left_of_second, s.h);
      return;
    }
    for (int64_t k = 0; k < s.o; ++k)
      row.d_hidden[k] += s.dropout ? s.dropout[sequence * s.o + k] * row.through[k] : row.through[k];
    if (s.resets_at(sequence, i)) clear(row.d_hidden, s.o), clear(row.d_cell, s.h);
  }
};

}  // namespace
