// Cells whose step needs all units of a sequence between its products: where one gate enters a second product, the output
// is projected, or gates are normalized.
//
// A step is `enter`, after the product of the hidden state, and `leave`, after the second product where there is one; the
// gradients are taken the other way. What a step reads of its input is projected before.
#pragma once

#include <cmath>

#include "cells.h"

namespace {

// f(j, n) for each vector of units: they begin with j, n of its lanes are units.
template <class F>
inline void units(int64_t h, F&& f) {
  for (int64_t j = 0; j < h; j += kLanes) f(j, static_cast<int>(std::min<int64_t>(kLanes, h - j)));
}

// One sequence at one step. Rows of padded arrays are zero beyond the units.
struct RowStep {
  int64_t o, h, hp;               // size of the hidden state, units, units padded
  const float *projected, *own;   // [gates, h], [kOwn, h]
  const float *seen, *second;     // what of the hidden state enters products, and the second product, padded
  float *hidden, *cell, *middle;  // the state, to be replaced, and the left side of the second product, padded
  float *product, *scratch;       // [first gates, hp] each
  float* kept;                    // [kKept, h], null where no gradient is asked for

  void keep(int k, int64_t j, Vector v, int n) const {
    if (kept) store(kept + k * h + j, v, n);
  }
  Vector input(int gate, int64_t j, int n) const { return load(projected + gate * h + j, n); }
};

// Its gradients. `d_hidden` is that of the state after the step, and becomes what of it reaches the state before other
// than through `seen`; `through` is what reaches that, without the first product.
struct RowGradient {
  int64_t o, h, hp;
  const float *projected, *own, *kept;           // [gates, h], [kOwn, h], [kKept, h]
  const float *cell_before, *cell;               // [h]
  float *before, *seen;                          // the hidden state before the step, padded
  float *d_hidden, *d_cell, *d_second, *d_middle, *through;  // padded
  float *d_product, *scratch;                                // [first gates, hp], three times as much
  float *d_projected, *d_other;                              // [gates, h], as the cell has it
  float* d_own;                                              // [kOwn, hp], summed over sequences
  float* left_of_second;                                     // [h], where there is a second product

  Vector saved(int k, int64_t j, int n) const { return load(kept + k * h + j, n); }
  // The gradient of a gate whose input half and recurrent half are added.
  void of_gate(int gate, int64_t j, Vector d, int n) const {
    store(d_product + gate * hp + j, d);
    of_input(gate, j, d, n);
  }
  void of_input(int gate, int64_t j, Vector d, int n) const { store(d_projected + gate * h + j, d, n); }
  void add_own(int k, int64_t j, Vector d) const {
    float* to = d_own + k * hp + j;
    store(to, load(to) + d);
  }
};

// f = σ(a_f), n = tanh(x_n + U_n (f s)) with s the state that is seen, h' = h + f (n − h).
struct Mgu {
  static constexpr int kGates = 2, kFirst = 1, kOwn = 0, kKept = 2;
  static constexpr bool kCell = false, kSecond = true;

  static void enter(const RowStep& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector f = sigmoid(s.input(0, j, n) + load(s.product + j));
      store(s.product + j, f);
      store(s.middle + j, f * load(s.seen + j));
    });
  }

  static void leave(const RowStep& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector f = load(s.product + j), before = load(s.hidden + j);
      const Vector candidate = tanh(s.input(1, j, n) + load(s.second + j));
      store(s.hidden + j, before + f * (candidate - before));
      s.keep(0, j, f, n), s.keep(1, j, candidate, n);
    });
  }

  // δa_n = δh' f (1 − n²), δm = U_nᵀ δa_n, δa_f = (δh' (n − h) + δm s) f (1 − f); δh' (1 − f) and δm f reach the state.
  static void leave_gradient(const RowGradient& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector f = s.saved(0, j, n), candidate = s.saved(1, j, n);
      const Vector d = load(s.d_hidden + j) * f * (1.0f - candidate * candidate);
      store(s.d_second + j, d);
      s.of_input(1, j, d, n);
    });
  }

  static void enter_gradient(const RowGradient& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector f = s.saved(0, j, n), candidate = s.saved(1, j, n), d_hidden = load(s.d_hidden + j);
      const Vector d_middle = load(s.d_middle + j);
      const Vector d = d_hidden * (candidate - load(s.before + j)) + d_middle * load(s.seen + j);
      s.of_gate(0, j, d * f * (1.0f - f), n);
      store(s.left_of_second + j, f * load(s.seen + j), n);
      store(s.through + j, d_middle * f);
      store(s.d_hidden + j, d_hidden * (1.0f - f));
    });
  }
};

// r = σ(a_r), z = σ(a_z), n = tanh(x_n + U_n (r s)), h' = n + z (h − n).
struct ResetFirstGru {
  static constexpr int kGates = 3, kFirst = 2, kOwn = 0, kKept = 3;
  static constexpr bool kCell = false, kSecond = true;

  static void enter(const RowStep& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector r = sigmoid(s.input(0, j, n) + load(s.product + j));
      store(s.product + s.hp + j, sigmoid(s.input(1, j, n) + load(s.product + s.hp + j)));
      store(s.middle + j, r * load(s.seen + j));
      s.keep(0, j, r, n);
    });
  }

  static void leave(const RowStep& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector z = load(s.product + s.hp + j), before = load(s.hidden + j);
      const Vector candidate = tanh(s.input(2, j, n) + load(s.second + j));
      store(s.hidden + j, candidate + z * (before - candidate));
      s.keep(1, j, z, n), s.keep(2, j, candidate, n);
    });
  }

  // δa_n = δh' (1 − z)(1 − n²), δm = U_nᵀ δa_n, δa_z = δh' (h − n) z (1 − z), δa_r = δm s r (1 − r); δh' z and δm r reach
  // the state.
  static void leave_gradient(const RowGradient& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector z = s.saved(1, j, n), candidate = s.saved(2, j, n);
      const Vector d = load(s.d_hidden + j) * (1.0f - z) * (1.0f - candidate * candidate);
      store(s.d_second + j, d);
      s.of_input(2, j, d, n);
    });
  }

  static void enter_gradient(const RowGradient& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector r = s.saved(0, j, n), z = s.saved(1, j, n), d_hidden = load(s.d_hidden + j);
      const Vector d_middle = load(s.d_middle + j);
      s.of_gate(0, j, d_middle * load(s.seen + j) * r * (1.0f - r), n);
      s.of_gate(1, j, d_hidden * (load(s.before + j) - s.saved(2, j, n)) * z * (1.0f - z), n);
      store(s.left_of_second + j, r * load(s.seen + j), n);
      store(s.through + j, d_middle * r);
      store(s.d_hidden + j, d_hidden * z);
    });
  }
};

// As an LSTM, but h' = P (o tanh(c')).
struct ProjectedLstm {
  static constexpr int kGates = 4, kFirst = 4, kOwn = 0, kKept = 4;
  static constexpr bool kCell = true, kSecond = true;

  static void enter(const RowStep& s) {
    units(s.h, [&](int64_t j, int n) {
      Vector gate[4], cell = load(s.cell + j);
      for (int g = 0; g < 4; ++g) gate[g] = s.input(g, j, n) + load(s.product + g * s.hp + j);
      store(s.middle + j, Lstm::apply(gate, Vector{}, cell, nullptr));
      store(s.cell + j, cell);
      for (int g = 0; g < 4; ++g) s.keep(g, j, gate[g], n);
    });
  }

  static void leave(const RowStep& s) { copy(s.hidden, s.second, s.o); }

  // The gradient of the second product is the other one that is returned.
  static void leave_gradient(const RowGradient& s) {
    copy(s.d_second, s.d_hidden, s.o);
    copy(s.d_other, s.d_hidden, s.o);
    clear(s.d_hidden, s.o);
  }

  static void enter_gradient(const RowGradient& s) {
    units(s.h, [&](int64_t j, int n) {
      Vector gate[4], d_gate[4], d_cell = load(s.d_cell + j);
      for (int g = 0; g < 4; ++g) gate[g] = s.saved(g, j, n);
      Lstm::gradient(gate, load(s.cell_before + j, n), load(s.cell + j, n), load(s.d_middle + j), d_cell, d_gate, nullptr,
                     nullptr);
      store(s.d_cell + j, d_cell);
      store(s.left_of_second + j, gate[3] * tanh(load(s.cell + j, n)), n);
      for (int g = 0; g < 4; ++g) s.of_gate(g, j, d_gate[g], n);
    });
  }
};

inline float total(Vector v) {
  float sum = 0.0f;
  for (int i = 0; i < kLanes; ++i) sum += v[i];
  return sum;
}

// The lanes that are units, the others zero.
inline Vector only(Vector v, int n) {
  float lanes[kLanes];
  if (n < kLanes) store(lanes, v), v = load(lanes, n);
  return v;
}

// Normalizes a padded row to mean 0 and variance 1; returns by what its deviations were multiplied.
inline float normalize(float* row, int64_t h) {
  Vector sum{}, squares{};
  units(h, [&](int64_t j, int) { sum += load(row + j); });
  const float mean = total(sum) / h;
  units(h, [&](int64_t j, int n) {
    const Vector centred = only(load(row + j) - mean, n);
    store(row + j, centred);
    squares += centred * centred;
  });
  const float scale = 1.0f / std::sqrt(total(squares) / h + 1e-5f);
  units(h, [&](int64_t j, int) { store(row + j, load(row + j) * scale); });
  return scale;
}

// From the gradient `d` of a normalized row to that of the row: scale (d − mean(d) − row mean(row d)).
inline void normalize_gradient(const float* row, float scale, float* d, int64_t h) {
  Vector sum{}, along{};
  units(h, [&](int64_t j, int) { sum += load(d + j), along += load(d + j) * load(row + j); });
  const float mean = total(sum) / h, slope = total(along) / h;
  units(h, [&](int64_t j, int n) { store(d + j, only(scale * (load(d + j) - mean - slope * load(row + j)), n)); });
}

// What gates see of input and state, each normalized on its own: scale LN(U h) + input scale LN(W x) + bias, the first of
// the own weights. Its gradients need both products.
template <int kGates>
struct NormalizedGates {
  int64_t h, hp;
  const float* own;
  float *of_state, *of_input;  // normalized, [kGates, hp]
  float state_scale[kGates], input_scale[kGates];

  NormalizedGates(int64_t h, int64_t hp, const float* own, float* of_state, float* of_input, const float* projected)
      : h(h), hp(hp), own(own), of_state(of_state), of_input(of_input) {
    for (int g = 0; g < kGates; ++g) {
      copy(of_input + g * hp, projected + g * h, h);
      clear(of_input + g * hp + h, hp - h);
      input_scale[g] = normalize(of_input + g * hp, h);
      state_scale[g] = normalize(of_state + g * hp, h);
    }
  }

  Vector weight(int k, int64_t j, int n) const { return load(own + k * h + j, n); }
  Vector state(int g, int64_t j, int n) const { return weight(g, j, n) * load(of_state + g * hp + j); }
  Vector input(int g, int64_t j, int n) const {
    return weight(kGates + g, j, n) * load(of_input + g * hp + j) + weight(2 * kGates + g, j, n);
  }

  // From the gradients of both halves of the gates, [kGates, hp] each and the same array where they are added, which is
  // overwritten.
  void gradient(const RowGradient& s, float* d_state, float* d_input) const {
    for (int g = 0; g < kGates; ++g) {
      float *by_state = d_state + g * hp, *by_input = d_input + g * hp, *d = s.scratch + 2 * kGates * hp;
      units(h, [&](int64_t j, int n) {
        const Vector of = load(by_input + j);
        s.add_own(kGates + g, j, of * load(of_input + g * hp + j)), s.add_own(2 * kGates + g, j, of);
        store(d + j, of * weight(kGates + g, j, n));
      });
      normalize_gradient(of_input + g * hp, input_scale[g], d, h);
      copy(s.d_projected + g * h, d, h);
      units(h, [&](int64_t j, int n) {
        s.add_own(g, j, load(by_state + j) * load(of_state + g * hp + j));
        store(by_state + j, load(by_state + j) * weight(g, j, n));
      });
      normalize_gradient(of_state + g * hp, state_scale[g], by_state, h);
      copy(s.d_other + g * h, by_state, h);
    }
  }

  static NormalizedGates of(const RowStep& s) {
    for (int g = 0; s.kept && g < kGates; ++g) copy(s.kept + g * s.h, s.product + g * s.hp, s.h);
    return {s.h, s.hp, s.own, s.product, s.scratch, s.projected};
  }

  static NormalizedGates of(const RowGradient& s) {
    float* of_state = s.scratch + kGates * s.hp;
    for (int g = 0; g < kGates; ++g) {
      copy(of_state + g * s.hp, s.kept + g * s.h, s.h);
      clear(of_state + g * s.hp + s.h, s.hp - s.h);
    }
    return {s.h, s.hp, s.own, of_state, s.scratch, s.projected};
  }
};

// Gates i f g o from normalized halves, h' = o tanh(LN(c')). Own weights, after those of the gates: scale and shift of the
// cell.
struct LayerNormLstm {
  static constexpr int kGates = 4, kFirst = 4, kOwn = 14, kKept = 4, kScale = 12, kShift = 13;
  static constexpr bool kCell = true, kSecond = false;

  static void enter(const RowStep& s) {
    const auto gates = NormalizedGates<4>::of(s);
    float* normal = s.middle;
    units(s.h, [&](int64_t j, int n) {
      Vector gate[4], cell = load(s.cell + j);
      for (int g = 0; g < 4; ++g) gate[g] = gates.input(g, j, n) + gates.state(g, j, n);
      Lstm::apply(gate, Vector{}, cell, nullptr);
      store(s.cell + j, cell);
      store(normal + j, cell);
      store(s.hidden + j, gate[3]);
    });
    normalize(normal, s.h);
    units(s.h, [&](int64_t j, int n) {
      const Vector shown = gates.weight(kScale, j, n) * load(normal + j) + gates.weight(kShift, j, n);
      store(s.hidden + j, only(load(s.hidden + j) * tanh(shown), n));
    });
  }

  static void leave(const RowStep&) {}

  static void leave_gradient(const RowGradient&) {}

  // Gradients of o and of the normalized cell, then those of the cell and the other gates.
  static void enter_gradient(const RowGradient& s) {
    const auto gates = NormalizedGates<4>::of(s);
    float *normal = s.scratch + 2 * 4 * s.hp, *d_normal = s.d_middle;
    copy(normal, s.cell, s.h);
    clear(normal + s.h, s.hp - s.h);
    const float scale = normalize(normal, s.h);
    units(s.h, [&](int64_t j, int n) {
      const Vector o = sigmoid(gates.input(3, j, n) + gates.state(3, j, n)), weight = gates.weight(kScale, j, n);
      const Vector d_hidden = load(s.d_hidden + j), shown = tanh(weight * load(normal + j) + gates.weight(kShift, j, n));
      const Vector d = d_hidden * o * (1.0f - shown * shown);
      s.add_own(kScale, j, d * load(normal + j)), s.add_own(kShift, j, d);
      store(d_normal + j, d * weight);
      store(s.d_product + 3 * s.hp + j, d_hidden * shown * o * (1.0f - o));
      store(s.d_hidden + j, Vector{});
    });
    normalize_gradient(normal, scale, d_normal, s.h);
    units(s.h, [&](int64_t j, int n) {
      const Vector i = sigmoid(gates.input(0, j, n) + gates.state(0, j, n));
      const Vector f = sigmoid(gates.input(1, j, n) + gates.state(1, j, n));
      const Vector g = tanh(gates.input(2, j, n) + gates.state(2, j, n)), d = load(s.d_cell + j) + load(d_normal + j);
      store(s.d_product + j, d * g * i * (1.0f - i));
      store(s.d_product + s.hp + j, d * load(s.cell_before + j, n) * f * (1.0f - f));
      store(s.d_product + 2 * s.hp + j, d * i * (1.0f - g * g));
      store(s.d_cell + j, d * f);
    });
    gates.gradient(s, s.d_product, s.d_product);
  }
};

// r z n from normalized halves, of which the candidate's stay apart: n = tanh(x_n + r q). Own weights, after those of the
// gates: the bias of q.
struct LayerNormGru {
  static constexpr int kGates = 3, kFirst = 3, kOwn = 10, kKept = 3, kBias = 9;
  static constexpr bool kCell = false, kSecond = false;

  static void activate(const NormalizedGates<3>& gates, int64_t j, int n, Vector before, Vector (&gate)[4], Vector& hidden) {
    Vector none{};
    gate[0] = gates.input(0, j, n) + gates.state(0, j, n), gate[1] = gates.input(1, j, n) + gates.state(1, j, n);
    gate[2] = gates.input(2, j, n), gate[3] = gates.state(2, j, n) + gates.weight(kBias, j, n);
    hidden = Gru::apply(gate, before, none, nullptr);
  }

  static void enter(const RowStep& s) {
    const auto gates = NormalizedGates<3>::of(s);
    units(s.h, [&](int64_t j, int n) {
      Vector gate[4], hidden;
      activate(gates, j, n, load(s.hidden + j), gate, hidden);
      store(s.hidden + j, hidden);
    });
  }

  static void leave(const RowStep&) {}

  static void leave_gradient(const RowGradient&) {}

  static void enter_gradient(const RowGradient& s) {
    const auto gates = NormalizedGates<3>::of(s);
    float* d_input = s.scratch + 6 * s.hp;
    units(s.h, [&](int64_t j, int n) {
      Vector none{}, gate[4], d[4], hidden;
      activate(gates, j, n, load(s.before + j), gate, hidden);
      const Vector direct = Gru::gradient(gate, load(s.before + j), none, load(s.d_hidden + j), none, d, nullptr, nullptr);
      store(s.d_hidden + j, direct);
      for (int g = 0; g < 2; ++g) store(s.d_product + g * s.hp + j, d[1 + g]), store(d_input + g * s.hp + j, d[1 + g]);
      store(s.d_product + 2 * s.hp + j, d[3]), store(d_input + 2 * s.hp + j, d[0]);
      s.add_own(kBias, j, d[3]);
    });
    gates.gradient(s, s.d_product, d_input);
  }
};

}  // namespace
