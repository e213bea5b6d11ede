// LSTM and GRU over maps: the recurrent product of a place is that of a window of places around it, a convolution.
//
// An image walks through time on its own. Its states lie in a map with zeros around, so that a tap of the kernel is a
// fixed distance in memory, and a product of many places is one of a tap after the other.
#pragma once

#include "cells.h"
#include "threads.h"

namespace {

struct MapCall {
  int64_t b, t, y, x, h, kernel_y, kernel_x, top, left;
  bool reverse;
  const float *projected, *recurrent, *recurrent_bias;  // [b, t, y, x, gates h], [ky, kx, h, gates h], [h]
  const float *hidden, *cell;                           // [b, y, x, h], before the first step
  float *outputs, *last_hidden, *last_cell;             // [b, t, y, x, h], [b, y, x, h]
  float *gates, *cells;                                 // [b, t, y, x, 4, h], [b, t, y, x, h]
  const float *d_outputs, *d_last_hidden, *d_last_cell;
  float *d_projected, *d_recurrent, *d_recurrent_bias, *d_hidden, *d_cell;

  int64_t hp() const { return padded(h); }
  int64_t map() const { return y * x; }
  int64_t taps() const { return kernel_y * kernel_x; }
  int64_t step(int64_t i) const { return reverse ? t - 1 - i : i; }
  int64_t at(int64_t image, int64_t i) const { return (image * t + step(i)) * map(); }  // the first place of a step
  // The map with zeros around, as many on either side.
  int64_t above() const { return std::max(top, kernel_y - 1 - top); }
  int64_t beside() const { return std::max(left, kernel_x - 1 - left); }
  int64_t wide() const { return x + 2 * beside(); }
  int64_t around() const { return (y + 2 * above()) * wide(); }
  int64_t inside(int64_t row) const { return (row + above()) * wide() + beside(); }
  int64_t surrounded(int64_t p) const { return inside(p / x) + p % x; }  // of the p-th place of the map
  int64_t distance(int64_t tap) const { return (tap / kernel_x - top) * wide() + tap % kernel_x - left; }
};

constexpr int64_t kMapWork = 1 << 19;  // least multiply-adds that are worth a thread

int map_lanes(const xla::ffi::ThreadPool& pool, const MapCall& s) {
  const int64_t work = s.b * s.t * s.map() * s.taps() * s.h * 4 * s.h;
  return std::max<int64_t>(1, std::min({pool.num_threads(), work / kMapWork, s.b}));
}

// Copies the places of a map into the map with zeros around.
void surround(const MapCall& s, const float* from, float* to) {
  for (int64_t p = 0; p < s.map(); ++p) copy(to + s.surrounded(p) * s.hp(), from + p * s.h, s.h);
}

template <class Cell>
struct MapForward {
  const MapCall& s;
  float* packed = nullptr;  // [tiles of kLanes units][taps][h][gates][kLanes]
  static constexpr int kRow = Cell::kGates * kLanes;

  int64_t tile_floats() const { return s.taps() * s.h * kRow; }

  void run(xla::ffi::ThreadPool& pool) {
    const AtEnd at_end{call_arena};
    call_arena.begin(s.hp() / kLanes * tile_floats());
    packed = call_arena.take(s.hp() / kLanes * tile_floats());
    float* to = packed;
    for (int64_t j = 0; j < s.h; j += kLanes)
      for (int64_t k = 0; k < s.taps() * s.h; ++k)
        for (int g = 0; g < Cell::kGates; ++g, to += kLanes)
          store(to, load(s.recurrent + (k * Cell::kGates + g) * s.h + j, s.h - j));
    in_lanes(pool, map_lanes(pool, s), s.b, [&](int, int64_t begin, int64_t end) {
      for (int64_t image = begin; image < end; ++image) walk(image);
    });
  }

  void walk(int64_t image) const {
    const int64_t hp = s.hp(), map = s.map();
    const AtEnd at_end{lane_arena};
    lane_arena.begin((2 * s.around() + map) * hp);
    float* states[2] = {lane_arena.take(s.around() * hp), lane_arena.take(s.around() * hp)};
    float* cells = lane_arena.take(map * hp);
    for (float* state : states) clear(state, s.around() * hp);
    surround(s, s.hidden + image * map * s.h, states[0]);
    clear(cells, map * hp);
    if (Cell::kCell)
      for (int64_t p = 0; p < map; ++p) copy(cells + p * hp, s.cell + (image * map + p) * s.h, s.h);
    for (int64_t i = 0; i < s.t; ++i)
      for (int64_t j = 0; j < s.h; j += kLanes)
        for (int64_t row = 0; row < s.y; ++row) advance(image, i, j, row, states[i % 2], states[(i + 1) % 2], cells);
    for (int64_t p = 0; p < map; ++p) {
      const int64_t to = (image * map + p) * s.h;
      copy(s.last_hidden + to, states[s.t % 2] + s.surrounded(p) * hp, s.h);
      if (Cell::kCell) copy(s.last_cell + to, cells + p * hp, s.h);
    }
  }

  // The i-th step of a row of the map, of the units that begin with j.
  void advance(int64_t image, int64_t i, int64_t j, int64_t row, const float* now, float* next, float* cells) const {
    const int64_t hp = s.hp(), first = s.inside(row), first_place = s.at(image, i) + row * s.x;
    const int n = std::min<int64_t>(kLanes, s.h - j);
    const float* weights = packed + j / kLanes * tile_floats();
    blocks(s.x, [&](int column, auto width) {
      constexpr int M = decltype(width)::value;
      Vector sum[M][Cell::kGates] = {}, gate[M][4];
      for (int64_t tap = 0; tap < s.taps(); ++tap)
        product<M, Cell::kGates>(s.h, now + (first + column + s.distance(tap)) * hp, hp, 1, weights + tap * s.h * kRow,
                                 kRow, sum);
      for (int m = 0; m < M; ++m) {
        const int64_t place = first_place + column + m;
        for (int g = 0; g < Cell::kGates; ++g) {
          const Vector of_x = load(s.projected + (place * Cell::kGates + g) * s.h + j, n);
          if (Cell::kRecurrentBias && g == Cell::kGates - 1)
            gate[m][g] = of_x, gate[m][3] = sum[m][g] + load(s.recurrent_bias + j, n);
          else
            gate[m][g] = sum[m][g] + of_x;
        }
        float* to = cells + (row * s.x + column + m) * hp + j;
        Vector cell = load(to);
        const Vector hidden = Cell::apply(gate[m], load(now + (first + column + m) * hp + j), cell, nullptr);
        store(next + (first + column + m) * hp + j, hidden);
        store(s.outputs + place * s.h + j, hidden, n);
        if (Cell::kCell) store(to, cell);
        if (!s.gates) continue;
        for (int g = 0; g < 4; ++g) store(s.gates + (place * 4 + g) * s.h + j, gate[m][g], n);
        if (Cell::kCell) store(s.cells + place * s.h + j, cell, n);
      }
    });
  }
};

template <class Cell>
struct MapBackward {
  const MapCall& s;
  const int64_t hp = s.hp(), columns = Cell::kGates * hp, map = s.map(), around = s.around();
  float *packed = nullptr, *sums = nullptr;  // [taps][tiles of kTile units][gates hp][kTile]; what each lane adds up

  int64_t tap_floats() const { return tiles(s.h) * columns * kTile; }
  int64_t lane_floats() const { return s.taps() * s.h * columns + hp; }

  void run(xla::ffi::ThreadPool& pool) {
    const int lanes = map_lanes(pool, s);
    const AtEnd at_end{call_arena};
    call_arena.begin(s.taps() * tap_floats() + lanes * lane_floats());
    packed = call_arena.take(s.taps() * tap_floats());
    sums = call_arena.take(lanes * lane_floats());
    pack();
    in_lanes(pool, lanes, s.b, [&](int lane, int64_t begin, int64_t end) {
      clear(sums + lane * lane_floats(), lane_floats());
      for (int64_t image = begin; image < end; ++image) walk(image, sums + lane * lane_floats());
    });
    add_up(lanes);
  }

  void pack() const {
    float* to = packed;
    for (int64_t tap = 0; tap < s.taps(); ++tap)
      for (int64_t first = 0; first < s.h; first += kTile)
        for (int g = 0; g < Cell::kGates; ++g)
          for (int64_t u = 0; u < hp; ++u, to += kTile) {
            clear(to, kTile);
            const float* from = s.recurrent + ((tap * s.h + first) * Cell::kGates + g) * s.h + u;
            const int64_t n = u < s.h ? std::min<int64_t>(kTile, s.h - first) : 0;
            for (int64_t k = 0; k < n; ++k) to[k] = from[k * Cell::kGates * s.h];
          }
  }

  void walk(int64_t image, float* sum) const {
    const AtEnd at_end{lane_arena};
    lane_arena.begin(2 * map * hp + around * 5 * hp);
    float *d_hidden = lane_arena.take(map * hp), *d_cell = lane_arena.take(map * hp);
    float *d_gates = lane_arena.take(around * 4 * hp), *before = lane_arena.take(around * hp);
    clear(d_hidden, map * hp);
    clear(d_cell, map * hp);
    clear(d_gates, around * 4 * hp);
    clear(before, around * hp);
    for (int64_t p = 0; p < map; ++p) {
      copy(d_hidden + p * hp, s.d_last_hidden + (image * map + p) * s.h, s.h);
      if (Cell::kCell) copy(d_cell + p * hp, s.d_last_cell + (image * map + p) * s.h, s.h);
    }
    for (int64_t i = s.t - 1; i >= 0; --i) {
      const float* hidden = i ? s.outputs + s.at(image, i - 1) * s.h : s.hidden + image * map * s.h;
      const float* cell = i ? s.cells + s.at(image, i - 1) * s.h : s.cell + image * map * s.h;
      surround(s, hidden, before);
      for (int64_t p = 0; p < map; ++p) differentiate(s.at(image, i) + p, p, hidden, cell, d_hidden, d_cell, d_gates);
      const float* d_recurrent = d_gates + Cell::kRecurrentFrom * hp;
      const int64_t first = s.inside(0), depth = s.inside(s.y - 1) + s.x - first;
      for (int64_t tap = 0; tap < s.taps(); ++tap) {
        for (int64_t row = 0; row < s.y; ++row)
          add_product(s.x, hp, columns, d_recurrent + (s.inside(row) - s.distance(tap)) * 4 * hp, 4 * hp, 1,
                      packed + tap * tap_floats(), kTile, columns * kTile, d_hidden + row * s.x * hp, hp);
        // Of the whole map at once: the gate gradients around it are zero.
        add_product(s.h, columns, depth, before + (first + s.distance(tap)) * hp, 1, hp, d_recurrent + first * 4 * hp,
                    4 * hp, kTile, sum + tap * s.h * columns, columns);
      }
      if (Cell::kRecurrentBias)
        for (int64_t p = 0; p < map; ++p)
          for (int64_t j = 0; j < hp; j += kLanes) {
            float* to = sum + s.taps() * s.h * columns + j;
            store(to, load(to) + load(d_gates + s.surrounded(p) * 4 * hp + 3 * hp + j));
          }
    }
    for (int64_t p = 0; p < map; ++p) {
      copy(s.d_hidden + (image * map + p) * s.h, d_hidden + p * hp, s.h);
      if (Cell::kCell) copy(s.d_cell + (image * map + p) * s.h, d_cell + p * hp, s.h);
    }
  }

  // Gradients of the gates of a place.
  void differentiate(int64_t place, int64_t p, const float* hidden, const float* cell, float* d_hidden, float* d_cell,
                     float* d_gates) const {
    const float* state = Cell::kCell ? cell : hidden;
    for (int64_t j = 0; j < s.h; j += kLanes) {
      const int n = std::min<int64_t>(kLanes, s.h - j);
      Vector gate[4], d_gate[4], d_c = load(d_cell + p * hp + j);
      for (int g = 0; g < 4; ++g) gate[g] = load(s.gates + (place * 4 + g) * s.h + j, n);
      const Vector after = Cell::kCell ? load(s.cells + place * s.h + j, n) : Vector{};
      const Vector d_h = load(d_hidden + p * hp + j) + load(s.d_outputs + place * s.h + j, n);
      const Vector before = load(state + p * s.h + j, n);
      store(d_hidden + p * hp + j, Cell::gradient(gate, before, after, d_h, d_c, d_gate, nullptr, nullptr));
      store(d_cell + p * hp + j, d_c);
      for (int g = 0; g < 4; ++g) store(d_gates + (s.surrounded(p) * 4 + g) * hp + j, d_gate[g]);
      for (int g = 0; g < Cell::kGates; ++g)
        store(s.d_projected + (place * Cell::kGates + Cell::kInputGates[g]) * s.h + j, d_gate[g], n);
    }
  }

  // Adds up the lanes' gradients, always in the same order.
  void add_up(int lanes) const {
    const auto line = [&](int64_t from, float* to, int64_t j) {
      Vector total{};
      for (int lane = 0; lane < lanes; ++lane) total += load(sums + lane * lane_floats() + from + j);
      store(to + j, total, std::min<int64_t>(kLanes, s.h - j));
    };
    for (int64_t j = 0; j < s.h; j += kLanes) {
      for (int64_t k = 0; k < s.taps() * s.h; ++k)
        for (int g = 0; g < Cell::kGates; ++g)
          line(k * columns + g * hp, s.d_recurrent + (k * Cell::kGates + g) * s.h, j);
      if (Cell::kRecurrentBias) line(s.taps() * s.h * columns, s.d_recurrent_bias, j);
    }
  }
};

}  // namespace
