// Forward over all steps.
#pragma once

#include "cells.h"
#include "threads.h"

namespace {

constexpr int kGroup = 96;          // most rows that walk through time together
constexpr int kDepth = 96;          // about so many rows, of one step or several, meet the weights together
constexpr int64_t kWork = 1 << 19;  // least multiply-adds that are worth a thread

// How many threads a call is worth: of few rows each takes some of the units, else some of the rows.
int lanes_of(const xla::ffi::ThreadPool& pool, const Call& s) {
  const int64_t work = s.b * s.t * (s.d + s.h) * 4 * s.h, most = s.few() ? s.h / kLanes : s.b / 2;
  return std::max<int64_t>(1, std::min({pool.num_threads(), work / kWork, most}));
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
struct Forward {
  const Call& s;
  // Weights: [tiles of kLanes units][rows: input, bias, recurrent][gates][kLanes].
  float* packed = nullptr;

  int64_t tile_floats() const { return (s.d + 1 + Cell::kRecurrentBias + s.h) * Cell::kGates * kLanes; }

  void run(xla::ffi::ThreadPool& pool) {
    const int lanes = lanes_of(pool, s);
    const int64_t floats = s.hp() / kLanes * tile_floats();
    const AtEnd at_end{call_arena};
    call_arena.begin(floats);
    packed = call_arena.take(floats);
    if (s.few() && lanes > 1) return share(pool, lanes);
    for (int64_t j = 0; j < s.h; j += kLanes) pack(j);
    in_lanes(pool, lanes, s.b, [&](int, int64_t begin, int64_t end) {
      groups(begin, end, [&](int64_t origin, int rows) { walk(origin, rows); });
    });
  }

  void pack(int64_t j) const {
    const int64_t columns = Cell::kGates * s.h;
    float* to = packed + j / kLanes * tile_floats();
    const auto line = [&](const float* from) {
      for (int g = 0; g < Cell::kGates; ++g, to += kLanes) store(to, load(from + g * s.h + j, s.h - j));
    };
    for (int64_t k = 0; k < s.d; ++k) line(s.input + k * columns);
    line(s.bias);
    if constexpr (Cell::kRecurrentBias) {
      clear(to, (Cell::kGates - 1) * kLanes);
      to += (Cell::kGates - 1) * kLanes;
      store(to, load(s.own + j, s.h - j));
      to += kLanes;
    }
    for (int64_t k = 0; k < s.h; ++k) line(s.recurrent + k * columns);
  }

  // Rows that walk together: the left sides [1, hidden state] of this step and the next, by turns, and the cells. With
  // dropout the left sides have what is left of the hidden state, which is then kept beside them. Where there are at
  // most kDepth / 2, the inputs of several steps, `ahead`, meet the weights together, which are then read once for all
  // of them: the left sides [x, 1] of these steps, and by units and gates the products.
  struct Rows {
    int64_t origin, ahead;
    int count;
    float *left[2], *cells, *inputs, *of_inputs, *hidden;
  };

  // In blocks of nearly equal length: a short last one would multiply rows of the one before again.
  int64_t steps_ahead(int count) const {
    const int64_t most = std::max(1, kDepth / count), turns = std::max<int64_t>(1, (s.t + most - 1) / most);
    return std::max<int64_t>(1, (s.t + turns - 1) / turns);
  }

  Rows begin(int64_t origin, int count) const {
    const int64_t row = s.state_row(), hp = s.hp(), ahead = steps_ahead(count);
    const int64_t waiting = ahead * count, products = ahead > 1 ? waiting * Cell::kGates * hp : 0;
    lane_arena.begin(count * (2 * row + 2 * hp) + waiting * (s.d + 1) + products);
    Rows rows{origin, ahead, count, {lane_arena.take(count * row), lane_arena.take(count * row)}};
    rows.cells = lane_arena.take(count * hp);
    rows.inputs = lane_arena.take(waiting * (s.d + 1)), rows.of_inputs = lane_arena.take(products);
    rows.hidden = s.dropout ? lane_arena.take(count * hp) : nullptr;
    for (int r = 0; r < count; ++r) {
      for (float* l : rows.left) {
        clear(l + r * row, row);
        l[r * row] = 1.0f;
      }
      clear(rows.cells + r * hp, hp);
      if (s.dropout) clear(rows.hidden + r * hp, hp);
      if (s.resets_at(origin + r, 0)) continue;
      float* hidden = rows.left[0] + r * row + 1;
      copy(hidden, s.hidden + (origin + r) * s.h, s.h);
      if (s.dropout) {
        copy(rows.hidden + r * hp, hidden, s.h);
        for (int64_t k = 0; k < s.h; ++k) hidden[k] *= s.dropout[(origin + r) * s.h + k];
      }
      if (Cell::kCell) copy(rows.cells + r * hp, s.cell + (origin + r) * s.h, s.h);
    }
    clear(rows.inputs, waiting * (s.d + 1));
    for (int64_t r = 0; r < waiting; ++r) rows.inputs[r * (s.d + 1) + s.d] = 1.0f;
    return rows;
  }

  // The inputs of the i-th step and those ahead.
  void take_inputs(const Rows& rows, int64_t i) const {
    float* to = rows.inputs;
    for (const int64_t last = std::min(i + rows.ahead, s.t); i < last; ++i)
      for (int r = 0; r < rows.count; ++r, to += s.d + 1)
        if (s.step(i) < s.valid(rows.origin + r)) copy(to, s.x + s.at(rows.origin + r, s.step(i)) * s.d, s.d);
  }

  // The products of the inputs that were taken, of the units that begin with j.
  void multiply_inputs(const Rows& rows, int64_t j) const {
    constexpr int kRow = Cell::kGates * kLanes;
    blocks(rows.ahead * rows.count, [&](int top, auto height) {
      constexpr int M = decltype(height)::value;
      Vector sum[M][Cell::kGates] = {};
      product<M, Cell::kGates>(s.d + 1, rows.inputs + top * (s.d + 1), s.d + 1, 1, packed + j / kLanes * tile_floats(),
                               kRow, sum);
      float* to = rows.of_inputs + (j / kLanes * rows.ahead * rows.count + top) * kRow;
      for (int m = 0; m < M; ++m)
        for (int g = 0; g < Cell::kGates; ++g) store(to + m * kRow + g * kLanes, sum[m][g]);
    });
  }

  // The i-th step of the units that begin with j.
  void advance(const Rows& rows, int64_t i, int64_t j) const {
    constexpr int kRow = Cell::kGates * kLanes;
    const int64_t row = s.state_row(), hp = s.hp(), step = s.step(i);
    const int n = std::min<int64_t>(kLanes, s.h - j);
    const float* weights = packed + j / kLanes * tile_floats();
    const float* products_of_x = rows.of_inputs + (j / kLanes * rows.ahead + i % rows.ahead) * rows.count * kRow;
    float *now = rows.left[i % 2], *next = rows.left[(i + 1) % 2];
    Vector own[Cell::kPeepholes + 1];
    for (int k = 0; k < Cell::kPeepholes; ++k) own[k] = load(s.own + k * s.h + j, n);
    blocks(rows.count, [&](int top, auto height) {
      constexpr int M = decltype(height)::value;
      Vector of_x[M][Cell::kGates] = {}, gate[M][4];
      if (rows.ahead == 1)
        product<M, Cell::kGates>(s.d + 1, rows.inputs + top * (s.d + 1), s.d + 1, 1, weights, kRow, of_x);
      else
        for (int m = 0; m < M; ++m)
          for (int g = 0; g < Cell::kGates; ++g) of_x[m][g] = load(products_of_x + (top + m) * kRow + g * kLanes);
      Cell::template products<M>(s, now + top * row, weights + (s.d + 1) * kRow, of_x, gate);
      for (int m = 0; m < M; ++m) {
        const int r = top + m;
        const int64_t at = s.at(rows.origin + r, step);
        const Vector before = s.dropout ? load(rows.hidden + r * hp + j) : load(now + r * row + 1 + j);
        const bool valid = step < s.valid(rows.origin + r);
        const Vector cell_before = load(rows.cells + r * hp + j);
        Vector cell = cell_before, hidden = valid ? Cell::apply(gate[m], before, cell, own) : before;
        if (s.hold_hidden && valid) {
          hidden = held(hidden, before, load(s.hold_hidden + at * s.h + j, n));
          if (Cell::kCell) cell = held(cell, cell_before, load(s.hold_cell + at * s.h + j, n));
        }
        const bool keeps = !s.resets_at(rows.origin + r, i + 1);
        const Vector kept = keeps ? hidden : Vector{};
        store(next + r * row + 1 + j, s.dropout ? kept * load(s.dropout + (rows.origin + r) * s.h + j, n) : kept);
        if (s.dropout) store(rows.hidden + r * hp + j, kept);
        store(s.outputs + at * s.h + j, valid ? hidden : Vector{}, n);
        if (Cell::kCell) store(rows.cells + r * hp + j, keeps ? cell : Vector{});
        if (!s.gates[0]) continue;
        const int64_t saved = s.saved(rows.origin + r, step) + j;
        for (int g = 0; g < Cell::kSaved; ++g) store(s.gates[g] + saved, valid ? gate[m][g] : Vector{}, n);
        if (Cell::kCell) store(s.cells + saved, cell, n);
      }
    });
  }

  void end(const Rows& rows) const {
    for (int r = 0; r < rows.count; ++r) {
      const float* hidden = s.dropout ? rows.hidden + r * s.hp() : rows.left[s.t % 2] + r * s.state_row() + 1;
      copy(s.last_hidden + (rows.origin + r) * s.h, hidden, s.h);
      if (Cell::kCell) copy(s.last_cell + (rows.origin + r) * s.h, rows.cells + r * s.hp(), s.h);
    }
  }

  void walk(int64_t origin, int count) const {
    const AtEnd at_end{lane_arena};
    const Rows rows = begin(origin, count);
    for (int64_t i = 0; i < s.t; ++i) {
      const bool begins = i % rows.ahead == 0;
      if (begins) take_inputs(rows, i);
      for (int64_t j = 0; j < s.h; j += kLanes) {
        if (begins && rows.ahead > 1) multiply_inputs(rows, j);
        advance(rows, i, j);
      }
    }
    end(rows);
  }

  // Few rows: threads share the units of each step, and each packs and keeps the weights of its own.
  void share(xla::ffi::ThreadPool& pool, int parts) const {
    const AtEnd at_end{lane_arena};
    const Rows rows = begin(0, s.b);
    take_inputs(rows, 0);
    in_stages(pool, s.t + 1, parts, [&](int64_t stage, int part) {
      const int64_t from = s.part(part, parts), to = s.part(part + 1, parts);
      if (stage == 0) {
        for (int64_t j = from; j < to; j += kLanes) pack(j);
        return;
      }
      for (int64_t j = from; j < to; j += kLanes) {
        if (rows.ahead > 1 && (stage - 1) % rows.ahead == 0) multiply_inputs(rows, j);
        advance(rows, stage - 1, j);
      }
      if (part == 0 && stage < s.t && stage % rows.ahead == 0) take_inputs(rows, stage);
    });
    end(rows);
  }
};

}  // namespace
