// What a call is given, and what its cell is: Elman, LSTM and GRU by the equations of rowrnn/recurrence/fused.py.
#pragma once

#include "tile.h"

namespace {

// One call: its arrays, null where a cell or a direction has none of them.
struct Call {
  int64_t b, t, d, h;
  bool reverse;
  const int32_t *lengths, *resets;            // [b], [b, t]
  const float* dropout;                       // [b, h], times the hidden state in the recurrent product
  const float *hold_hidden, *hold_cell;       // [b, t, h], zoneout's rates or masks of the state
  const float *x, *input, *bias, *recurrent;  // [b, t, d], [d, gates h], [gates h], [h, gates h]
  const float* own;                           // a unit's own weights: a recurrent bias, [h], or peepholes, [3, h]
  const float *hidden, *cell;                 // [b, h], before the first step
  float *outputs, *last_hidden, *last_cell;   // [b, t, h], [b, h]
  float *gates[4], *cells;                    // [t, b, h]
  const float *d_outputs, *d_last_hidden, *d_last_cell, *d_cells;
  float *d_x, *d_input, *d_bias, *d_recurrent, *d_own, *d_hidden, *d_cell;

  int64_t hp() const { return padded(h); }
  int64_t state_row() const { return 1 + hp(); }   // [1, hidden state], padded
  int64_t row() const { return d + state_row(); }  // [x, 1, hidden state]
  int64_t step(int64_t i) const { return reverse ? t - 1 - i : i; }
  int64_t at(int64_t sequence, int64_t step) const { return sequence * t + step; }
  int64_t saved(int64_t sequence, int64_t step) const { return (step * b + sequence) * h; }
  // Few rows are not cut: threads share the units, so that each reads a part of the weights only.
  bool few() const { return b > 0 && b <= 4 && h % kLanes == 0; }
  // Where one of the parts of the units begins, in whole vectors.
  int64_t part(int part, int parts) const { return h / kLanes * part / parts * kLanes; }
  // Whether the state before the i-th step is zero. Only valid steps reset.
  bool resets_at(int64_t sequence, int64_t i) const { return resets && i < t && resets[at(sequence, step(i))]; }
  int64_t valid(int64_t sequence) const { return lengths ? std::clamp<int64_t>(lengths[sequence], 0, t) : t; }
};

// Zoneout: (1 - hold) value + hold before; what is held whole keeps its bits.
inline Vector held(Vector value, Vector before, Vector hold) {
  return hold == 1.0f ? before : value + hold * (before - value);
}

// What a cell is. `kRecurrentBias`: whether the 1 belongs to the recurrent product too. `kPeepholes`: how many vectors
// of weights meet the cell, `own` in the functions, whose gradients are added up in `d_own`. `kSaved`: how many arrays
// of gates are kept for the backward pass. The gate gradients lie side by side in four columns of hp; those of the
// input product begin with column 0, in the order `kInputGates` of the weights' gates, those of the recurrent product
// with column `kRecurrentFrom`.

// h' = tanh(a).
struct Elman {
  static constexpr int kGates = 1, kPeepholes = 0, kSaved = 0, kRecurrentFrom = 0, kInputGates[] = {0};
  static constexpr bool kRecurrentBias = false, kCell = false;

  template <int M>
  static inline __attribute__((always_inline)) void products(const Call& s, const float* left, const float* recurrent,
                                                             const Vector (&of_x)[M][1], Vector (&sum)[M][4]) {
    Vector part[M][1];
    for (int m = 0; m < M; ++m) part[m][0] = of_x[m][0];
    product<M, 1>(s.h, left + 1, s.state_row(), 1, recurrent, kLanes, part);
    for (int m = 0; m < M; ++m) sum[m][0] = part[m][0];
  }

  static inline Vector apply(Vector (&gate)[4], Vector, Vector&, const Vector*) { return tanh(gate[0]); }

  // What `gradient` reads as `after`, of a step before zoneout; zero where a unit is held whole, which has no gradient.
  static inline Vector released(const Vector (&)[4], Vector before, Vector after, Vector hold) {
    return hold == 1.0f ? Vector{} : (after - hold * before) / (1.0f - hold);
  }

  // δa = δh (1 − h'²).
  static inline Vector gradient(const Vector (&)[4], Vector, Vector after, Vector d_hidden, Vector&,
                                Vector (&d_gate)[4], const Vector*, Vector*) {
    d_gate[0] = d_hidden * (1.0f - after * after);
    return Vector{};
  }
};

// i f g o: c' = f c + i g, h' = o tanh(c').
struct Lstm {
  static constexpr int kGates = 4, kPeepholes = 0, kSaved = 4, kRecurrentFrom = 0, kInputGates[] = {0, 1, 2, 3};
  static constexpr bool kRecurrentBias = false, kCell = true;

  // Adds the recurrent products to those of the inputs, `of_x`: the gates before they are activated.
  template <int M>
  static inline __attribute__((always_inline)) void products(const Call& s, const float* left, const float* recurrent,
                                                             const Vector (&of_x)[M][4], Vector (&sum)[M][4]) {
    for (int m = 0; m < M; ++m)
      for (int g = 0; g < 4; ++g) sum[m][g] = of_x[m][g];
    product<M, 4>(s.h, left + 1, s.state_row(), 1, recurrent, 4 * kLanes, sum);
  }

  // Activates the gates in place and returns the new hidden state.
  static inline Vector apply(Vector (&gate)[4], Vector, Vector& cell, const Vector*) {
    gate[0] = sigmoid(gate[0]), gate[1] = sigmoid(gate[1]), gate[2] = tanh(gate[2]), gate[3] = sigmoid(gate[3]);
    cell = gate[1] * cell + gate[0] * gate[2];
    return gate[3] * tanh(cell);
  }

  static inline Vector released(const Vector (&gate)[4], Vector before, Vector, Vector) {
    return gate[1] * before + gate[0] * gate[2];
  }

  // δc += δh o (1 − tanh² c'); δi = δc g i(1−i), δf = δc c f(1−f), δg = δc i (1−g²), δo = δh tanh(c') o(1−o).
  // Then δc becomes δc f. Returns what of δh reaches the state before without the recurrent product: nothing.
  static inline Vector gradient(const Vector (&gate)[4], Vector before, Vector cell, Vector d_hidden, Vector& d_cell,
                                Vector (&d_gate)[4], const Vector*, Vector*) {
    const Vector shown = tanh(cell);
    d_cell += d_hidden * gate[3] * (1.0f - shown * shown);
    d_gate[0] = d_cell * gate[2] * gate[0] * (1.0f - gate[0]);
    d_gate[1] = d_cell * before * gate[1] * (1.0f - gate[1]);
    d_gate[2] = d_cell * gate[0] * (1.0f - gate[2] * gate[2]);
    d_gate[3] = d_hidden * shown * gate[3] * (1.0f - gate[3]);
    d_cell = d_cell * gate[1];
    return Vector{};
  }
};

// As an LSTM, but i and f also see p_i c and p_f c, and o sees p_o c'.
struct PeepholeLstm : Lstm {
  static constexpr int kPeepholes = 3;

  static inline Vector apply(Vector (&gate)[4], Vector, Vector& cell, const Vector* own) {
    gate[0] = sigmoid(gate[0] + own[0] * cell), gate[1] = sigmoid(gate[1] + own[1] * cell), gate[2] = tanh(gate[2]);
    cell = gate[1] * cell + gate[0] * gate[2];
    gate[3] = sigmoid(gate[3] + own[2] * cell);
    return gate[3] * tanh(cell);
  }

  // δc also has δo p_o, and what reaches the cell before δi p_i + δf p_f; δp_i = δi c, δp_f = δf c, δp_o = δo c'.
  static inline Vector gradient(const Vector (&gate)[4], Vector before, Vector cell, Vector d_hidden, Vector& d_cell,
                                Vector (&d_gate)[4], const Vector* own, Vector* d_own) {
    const Vector shown = tanh(cell);
    d_gate[3] = d_hidden * shown * gate[3] * (1.0f - gate[3]);
    d_cell += d_hidden * gate[3] * (1.0f - shown * shown) + d_gate[3] * own[2];
    d_gate[0] = d_cell * gate[2] * gate[0] * (1.0f - gate[0]);
    d_gate[1] = d_cell * before * gate[1] * (1.0f - gate[1]);
    d_gate[2] = d_cell * gate[0] * (1.0f - gate[2] * gate[2]);
    d_cell = d_cell * gate[1] + d_gate[0] * own[0] + d_gate[1] * own[1];
    d_own[0] += d_gate[0] * before, d_own[1] += d_gate[1] * before, d_own[2] += d_gate[3] * cell;
    return Vector{};
  }
};

// r z n, and q = U_n h + b_hn: n = tanh(x_n + r q), h' = n + z (h − n).
struct Gru {
  static constexpr int kGates = 3, kPeepholes = 0, kSaved = 4, kRecurrentFrom = 1, kInputGates[] = {2, 0, 1};
  static constexpr bool kRecurrentBias = true, kCell = false;

  template <int M>
  static inline __attribute__((always_inline)) void products(const Call& s, const float* left, const float* recurrent,
                                                             const Vector (&of_x)[M][3], Vector (&sum)[M][4]) {
    Vector part[M][3];
    for (int m = 0; m < M; ++m) part[m][0] = of_x[m][0], part[m][1] = of_x[m][1], part[m][2] = Vector{};
    product<M, 3>(1 + s.h, left, s.state_row(), 1, recurrent, 3 * kLanes, part);
    for (int m = 0; m < M; ++m)
      sum[m][0] = part[m][0], sum[m][1] = part[m][1], sum[m][2] = of_x[m][2], sum[m][3] = part[m][2];
  }

  static inline Vector apply(Vector (&gate)[4], Vector hidden, Vector&, const Vector*) {
    gate[0] = sigmoid(gate[0]), gate[1] = sigmoid(gate[1]), gate[2] = tanh(gate[2] + gate[0] * gate[3]);
    return gate[2] + gate[1] * (hidden - gate[2]);
  }

  static inline Vector released(const Vector (&)[4], Vector, Vector after, Vector) { return after; }

  // δz = δh (h − n) z(1−z), δn = δh (1−z)(1−n²), δr = δn q r(1−r), δq = δn r; δh z reaches the state before.
  // Order of the gradients: n r z q.
  static inline Vector gradient(const Vector (&gate)[4], Vector before, Vector, Vector d_hidden, Vector&,
                                Vector (&d_gate)[4], const Vector*, Vector*) {
    d_gate[0] = d_hidden * (1.0f - gate[1]) * (1.0f - gate[2] * gate[2]);
    d_gate[1] = d_gate[0] * gate[3] * gate[0] * (1.0f - gate[0]);
    d_gate[2] = d_hidden * (before - gate[2]) * gate[1] * (1.0f - gate[1]);
    d_gate[3] = d_gate[0] * gate[0];
    return d_hidden * gate[1];
  }
};

}  // namespace
